//! A node: the rooms wired together, started in their order and stopped in the other.

mod post;

use crate::api::Reception;
use crate::api::auth::Token;
use crate::api::io::Api;
use crate::api::money;
use crate::api::privacy::{self, Retention, RetentionOrder};
use crate::api::refusal::{Refusals, TOLD_EVERY, TURNS_AN_HOUR};
use crate::clock::{self, Now};
use crate::config::Settings;
use crate::leg;
use crate::media::io::Media;
use crate::media::recorder::io::Recorder;
use crate::media::{self, Codec};
use crate::meeting::{self, LobbyConfig};
use crate::notice::io::Office;
use crate::notice::{self, Smtp};
use crate::sip::dns::io::Servers;
use crate::sip::tls::{self, Tls};
use crate::sip::{self, Call, Command, Login, Password, Reason, Transport};
use crate::store::{AlertSettings, Facts, OpenError, Store, StoreError};
use crate::switchboard::io::{Desk, Handle, Wires};
use crate::switchboard::sound::{BadSound, Sounds};
use crate::switchboard::{self, Switchboard};
use crate::telemetry::name;
use crate::trunk::{GuardConfig, StirFiles, Trust};
use crate::types::{CarrierId, Cause, LegId};
use metrics_exporter_prometheus::PrometheusHandle;
use post::Postman;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Transactions for each call: its INVITE, ACK, BYE and a re-INVITE, each kept half a minute after its end.
const TRANSACTIONS_A_CALL: usize = 8;
/// How often files of certificates are looked at.
const CERTIFICATES_EVERY: Duration = Duration::from_secs(10);
/// Seconds in Retry-After where a later try may go well.
const RETRY_AFTER_S: u32 = 5;
/// How long a start waits for a carrier's password, with which its calls of the last life are ended.
const PASSWORD: Duration = Duration::from_millis(500);

/// Why a node does not start: one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error("the books of the last run cannot be closed: {0}")]
    Recovery(#[from] StoreError),
    #[error("prompts: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Sounds(Vec<BadSound>),
    #[error("sound: {0}")]
    Media(#[from] media::io::Error),
    #[error(transparent)]
    Recorder(#[from] media::recorder::io::Error),
    #[error(transparent)]
    Sip(#[from] sip::io::Error),
    #[error("sip, TLS: {0}")]
    Tls(#[from] sip::tls::Error),
    #[error("sip, STIR: {0}")]
    Stir(String),
    #[error("api.listen: cannot listen on {0}: {1}")]
    Api(SocketAddr, std::io::Error),
    #[error("{0}: {1}")]
    Token(PathBuf, std::io::Error),
    #[error("notice.ca_file: {0}")]
    Authorities(String),
}

/// Why a node goes on no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The switchboard has ended by itself: the log says why.
    Stopped,
    /// Another process has its name and its books. Its calls are to be ended: nobody can be charged for them.
    TakenOver,
}

/// A running node.
pub struct Node {
    desk: Desk,
    api: Api,
    office: Office,
    postman: JoinHandle<()>,
    store: Store,
    handle: Handle,
    /// What is done by itself, however long nobody asks for anything.
    chores: Vec<JoinHandle<()>>,
    refusals: Refusals,
    sip: Vec<(Transport, SocketAddr)>,
    token_file: PathBuf,
}

impl Node {
    /// Opens the store that the settings name, and starts on it.
    pub async fn start(settings: &Settings, metrics: Option<PrometheusHandle>) -> Result<Node, StartError> {
        let store = Store::open(&settings.store_url, settings.store_options()).await?;
        Node::start_on(store, settings, metrics).await
    }

    /// Starts on an open store. What an earlier life left open is settled and its dialogs are ended before any call.
    pub async fn start_on(
        store: Store,
        settings: &Settings,
        metrics: Option<PrometheusHandle>,
    ) -> Result<Node, StartError> {
        // Prompts take longest, and what the last run left waits for none of them.
        let folder = settings.prompts_dir.clone();
        let sounds = tokio::task::spawn_blocking(move || match &folder {
            Some(folder) => Sounds::of_folder(folder),
            None => Sounds::embedded(),
        });
        let listener = Api::bind(settings.api.listen).await;
        let listener = listener.map_err(|error| StartError::Api(settings.api.listen, error))?;
        let token_file = settings.api.token_file.clone().unwrap_or_else(|| store.folder().join(TOKEN));
        let token = read_or_make_token(&token_file).map_err(|error| StartError::Token(token_file.clone(), error))?;
        let (media, media_events) = Media::start(media_config(settings), rand::random())?;
        let recorder = start_recorder(settings)?;
        let (certificates, shown) = match &settings.sip.tls {
            Some(files) => {
                // First the bytes: whatever is written after them is news, however long the start takes.
                let known = files.bytes()?;
                let (sender, shown) = watch::channel(files.read()?);
                (Some((files.clone(), known, sender)), Some(shown))
            }
            None => (None, None),
        };
        let (believed, trust) = watch::channel(Arc::<Trust>::default());
        let signers = match &settings.sip.stir {
            Some(files) => {
                let known = files.bytes().map_err(StartError::Stir)?;
                believed.send_replace(read_signers(files).map_err(StartError::Stir)?);
                Some((files.clone(), known, believed))
            }
            None => None,
        };
        let (sip, sip_events) = start_sip(settings, shown)?;
        let addresses = sip.locals().to_vec();
        // Calls of the last life that went by TLS are ended by TLS.
        sip.command(Command::Names(switchboard::tls_names(&store.facts().directory))).await;
        let burials = bury(&store, &sip).await?;
        let sounds = sounds.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
        let sounds = Arc::new(sounds.map_err(StartError::Sounds)?);

        let config = switchboard_config(settings, &sip);
        let mut switchboard = Switchboard::new(config, store.facts(), sounds, rand::random());
        switchboard.owes(burials);
        switchboard.believe(trust.borrow().clone());
        let now = Now::read();
        match store.recent_sights(now.wall).await {
            Ok(sights) => switchboard.recall(now, &sights),
            Err(error) => tracing::error!(%error, "the watch for fraud does not know the last hour"),
        }
        match store.kept_tries(now.wall).await {
            Ok(kept) => switchboard.recall_tries(now, kept),
            Err(error) => tracing::error!(%error, "wrong conference IDs and PINs of before are not known"),
        }
        let memory = sip.memory();
        let wires = Wires { sip, sip_events, media, media_events, recorder, store: store.clone(), trust };
        let (desk, handle) = Desk::start(switchboard, wires);
        let notice = notice_config(settings)?;
        let gate = notice.gate.clone();
        let (office, inbox, wants) = Office::start(notice, rand::random());
        let postman = Postman { store: store.clone(), inbox, switchboard: handle.clone(), house: house(settings) };
        let postman = tokio::spawn(postman.walk(wants));
        let refusals = Refusals::default();
        let reception = Reception {
            switchboard: handle.clone(),
            store: store.clone(),
            memory,
            gate,
            token: Token::new(&token),
            refusals: refusals.clone(),
            masking: settings.masking.clone(),
            retention: settings.retention(),
            metrics,
        };
        let api = Api::start(listener, reception).map_err(|error| StartError::Api(settings.api.listen, error))?;
        let retention = tokio::spawn(retain_daily(store.clone(), settings.retention()));
        let audits = tokio::spawn(audit_regularly(store.clone(), settings.audit_every));
        let expiry = tokio::spawn(expire_hourly(store.clone()));
        let told = tokio::spawn(tell_refusals(store.clone(), refusals.clone()));
        let mut chores = vec![retention, audits, expiry, told];
        chores.extend(certificates.map(|(files, known, shown)| {
            let (bytes, read) = (tls::Files::bytes, tls::Files::read);
            tokio::spawn(renew("the certificates of TLS", files, bytes, read, |_| None, known, shown))
        }));
        chores.extend(signers.map(|(files, known, believed)| {
            let bytes = StirFiles::bytes;
            tokio::spawn(renew("the certificates of signers", files, bytes, read_signers, look_again, known, believed))
        }));
        Ok(Node { desk, api, office, postman, store, handle, chores, refusals, sip: addresses, token_file })
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn switchboard(&self) -> &Handle {
        &self.handle
    }

    /// Where carriers reach it, ports resolved.
    pub fn sip(&self, transport: Transport) -> Option<SocketAddr> {
        self.sip.iter().find(|(known, _)| *known == transport).map(|(_, address)| *address)
    }

    /// The same for whoever speaks the family of `peer`.
    pub fn sip_facing(&self, transport: Transport, peer: IpAddr) -> Option<SocketAddr> {
        let fits = |(known, own): &&(Transport, SocketAddr)| *known == transport && own.is_ipv4() == peer.is_ipv4();
        self.sip.iter().find(fits).map(|(_, address)| *address)
    }

    pub fn api(&self) -> SocketAddr {
        self.api.local()
    }

    pub fn token_file(&self) -> &Path {
        &self.token_file
    }

    /// Returns when the node has failed: nothing but a new start helps, which then settles what was open.
    pub async fn failed(&mut self) -> Failed {
        tokio::select! {
            () = self.desk.failed() => Failed::Stopped,
            () = self.store.taken_over() => Failed::TakenOver,
        }
    }

    /// No new calls.
    pub fn drain(&self) {
        self.desk.drain();
    }

    /// Legs that are not over, or whose account is not closed yet.
    pub fn legs(&self) -> usize {
        self.desk.legs()
    }

    /// Drains, and returns when no leg is left: those that run may go on for `limit`, then they are warned, and have
    /// [`WARNED`] to say goodbye. Or why the node has failed meanwhile.
    pub async fn wind_down(&mut self, limit: Duration) -> Result<(), Failed> {
        self.drain();
        for wait in [limit, WARNED] {
            let idle = timeout(wait, self.desk.idle());
            tokio::select! {
                ended = idle => if ended.is_ok() { break },
                failed = self.failed() => return Err(failed),
            }
            self.desk.warn();
        }
        Ok(())
    }

    /// Ends all calls, closes their accounts, and stops.
    pub async fn stop(self) {
        self.chores.iter().for_each(JoinHandle::abort);
        self.desk.stop().await;
        self.api.stop().await;
        self.refusals.tell(&self.store, true).await;
        // What the last calls have caused is in the books: the next start sends it.
        self.office.stop().await;
        // A panic in the task was told by the hook.
        let _ = self.postman.await;
    }
}

/// Between the warning that the bridge stops and the end of the calls that still run: as the prompt says.
pub const WARNED: Duration = Duration::from_secs(10);

/// After the start, when calls that wait have been taken.
const FIRST_CHORE: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Empties what is older than it may be kept.
async fn retain_daily(store: Store, retention: Retention) {
    tokio::time::sleep(FIRST_CHORE).await;
    loop {
        match privacy::retain_of(&store, &retention, RetentionOrder { dry_run: false }, clock::wall()).await {
            Ok(done) => tracing::info!(records = %done["records"], recordings = %done["recordings"], "retention"),
            Err(problem) => {
                metrics::counter!(name::RETENTION_FAILED).increment(1);
                tracing::error!(why = %problem.into_body(), "what is too old could not be emptied; tried again tomorrow");
            }
        }
        tokio::time::sleep(DAY).await;
    }
}

/// Takes back what has expired of customers that nobody calls for.
async fn expire_hourly(store: Store) {
    tokio::time::sleep(FIRST_CHORE).await;
    loop {
        match store.expire(clock::wall()).await {
            Ok(0) => {}
            Ok(organisations) => tracing::info!(organisations, "what has expired was taken back"),
            Err(error) => tracing::error!(%error, "what has expired was not taken back; tried again in an hour"),
        }
        tokio::time::sleep(HOUR).await;
    }
}

/// Tells who was not let in at the API.
async fn tell_refusals(store: Store, refusals: Refusals) {
    for turn in 1_u32.. {
        tokio::time::sleep(TOLD_EVERY).await;
        refusals.tell(&store, turn.is_multiple_of(TURNS_AN_HOUR)).await;
    }
}

/// Looks whether the books are right, before anybody asks.
async fn audit_regularly(store: Store, every: Option<Duration>) {
    let Some(every) = every else { return };
    tokio::time::sleep(every.min(FIRST_CHORE)).await;
    loop {
        match money::audit_of(&store, clock::wall()).await {
            Ok(told) => {
                let found = told["differences"].as_array().map_or(0, Vec::len);
                if found > 0 {
                    tracing::error!(found, first = %told["differences"][0], "the books are not right: tollbridge audit");
                } else {
                    tracing::info!("the books are right");
                }
            }
            Err(problem) => {
                metrics::counter!(name::AUDIT_FAILED).increment(1);
                tracing::error!(why = %problem.into_body(), "the books could not be audited; tried again in time");
            }
        }
        tokio::time::sleep(every).await;
    }
}

fn media_config(settings: &Settings) -> media::io::Config {
    let media = &settings.media;
    media::io::Config {
        threads: media.threads,
        bind: media.bind,
        ports: media.ports.0.clone(),
        dscp: media.dscp,
        sound: media::Config {
            silence_ms: (media.silence_s * 1_000) as u32,
            least_rate: media.rate_least,
            most_rate: media.rate_most,
            loudest: media.loudest,
            automatic_gain: media.automatic_gain,
            noise_suppression: media.noise_suppression,
            ..media::Config::default()
        },
    }
}

fn notice_config(settings: &Settings) -> Result<notice::Config, StartError> {
    let notice = &settings.notice;
    let smtp = notice.smtp.as_ref().zip(notice.from.as_ref()).map(|(server, from)| Smtp {
        host: server.host.clone(),
        port: server.port,
        tls: notice.smtp_tls,
        from: from.clone(),
        login: notice.smtp_user.clone().zip(notice.smtp_password.clone()),
    });
    let gate = notice.gate();
    let (tries, disable_after) = (notice.tries, notice.disable_after);
    let authorities = notice.ca_file.as_deref().map_or(Ok(Vec::new()), notice::io::read_authorities);
    let authorities = authorities.map_err(StartError::Authorities)?;
    Ok(notice::Config { smtp, gate, authorities, tries, disable_after, ..notice::Config::default() })
}

/// Whom the house wants told.
fn house(settings: &Settings) -> AlertSettings {
    let notice = &settings.notice;
    let hook = notice.webhook.clone().zip(notice.webhook_secret.clone());
    AlertSettings { mails: notice.emails.clone(), hook, ..AlertSettings::default() }
}

type RecorderParts = (Recorder, tokio::sync::mpsc::Receiver<media::recorder::Event>);

fn start_recorder(settings: &Settings) -> Result<Option<RecorderParts>, media::recorder::io::Error> {
    let Some(folder) = settings.recording.folder.clone() else { return Ok(None) };
    let floor_octets = settings.recording.keep_free_mib << 20;
    let config = media::recorder::io::Config { floor_octets, ..media::recorder::io::Config::new(folder) };
    Recorder::start(config).map(Some)
}

fn start_sip(
    settings: &Settings,
    tls: Option<watch::Receiver<Tls>>,
) -> Result<(sip::io::Sip, tokio::sync::mpsc::Receiver<(Now, sip::Event)>), sip::io::Error> {
    let listen = settings.sip.listen.iter().map(|listen| (listen.transport, listen.address)).collect();
    let config = sip::Config {
        max_calls: settings.sip.max_calls,
        max_transactions: settings.sip.max_calls.saturating_mul(TRANSACTIONS_A_CALL).max(1_000),
        product: concat!("tollbridge/", env!("CARGO_PKG_VERSION")).into(),
        retry_after_s: RETRY_AFTER_S,
        session_s: settings.sip.session_s,
        trying_s: settings.sip.trying_s,
        is_focus: true,
        pace: settings.sip.pace,
    };
    let dns = settings.sip.dns.clone().map_or_else(Servers::of_system, Servers::These);
    sip::io::Sip::start(listen, tls, settings.sip.dscp, dns, config, rand::random())
}

fn switchboard_config(settings: &Settings, sip: &sip::io::Sip) -> switchboard::Config {
    let (meeting, recording) = (&settings.meeting, &settings.recording);
    let tone = (recording.tone_s > 0).then_some(Duration::from_secs(recording.tone_s));
    switchboard::Config {
        leg: leg::Config {
            longest_ms: meeting.longest_call_s * 1_000,
            payer_ms: meeting.payer_s * 1_000,
            ..leg::Config::default()
        },
        meeting: meeting::Config {
            announce: meeting.announce,
            keypad_calls: meeting.keypad_calls,
            operator: meeting.operator,
            organiser_gone: meeting.organiser_gone_s.map(Duration::from_secs),
            recording: recording.folder.as_ref().map(|_| meeting::recording::Config { tone }),
        },
        keys: settings.keys.clone(),
        number_keys: settings.number_keys.clone(),
        lobby: LobbyConfig { conference_id_digits: meeting.conference_id_digits, ..LobbyConfig::default() },
        guard: GuardConfig::default(),
        patterns: settings.patterns,
        codecs: CODECS.to_vec(),
        comfort_noise: settings.media.comfort_noise,
        recording: recording.folder.as_ref().map(|_| switchboard::recording::Config {
            format: recording.format,
            rate: recording.rate,
            tracks: recording.tracks,
        }),
        ring_ms: meeting.ring_s * 1_000,
        locals: locals(settings, sip),
        sound: settings.media.shown(),
        retry_after_s: RETRY_AFTER_S,
        masking: settings.masking.for_outsiders(),
    }
}

/// What carriers are called from: of each transport and family the first listener. TLS comes last, which few speak; where it
/// is not listened for, calls out by it leave from any port of the first listener's address, and within such a call the
/// carrier reaches us by the connection that we made, and by nothing else.
fn locals(settings: &Settings, sip: &sip::io::Sip) -> Vec<sip::Local> {
    let shown = |bound: IpAddr| if bound.is_ipv4() { settings.sip.advertise } else { settings.sip.advertise_ipv6 };
    let mut locals: Vec<sip::Local> = Vec::new();
    let mut add = |transport: Transport, bound: SocketAddr, port: u16| {
        let is_there = |local: &sip::Local| local.transport == transport && local.bound.is_ipv4() == bound.is_ipv4();
        if !locals.iter().any(is_there) {
            let contact = SocketAddr::new(shown(bound.ip()).unwrap_or(bound.ip()), port);
            locals.push(sip::Local { transport, bound, contact });
        }
    };
    for wanted in [Transport::Udp, Transport::Tcp, Transport::Tls] {
        let listeners = sip.locals().iter().filter(|(transport, _)| *transport == wanted);
        listeners.for_each(|(transport, bound)| add(*transport, *bound, bound.port()));
    }
    if settings.sip.tls.is_some() && sip.local(Transport::Tls).is_none() {
        tracing::info!(
            "TLS for calls out alone, since sip.listen has no tls: carriers reach us by connections of ours"
        );
        for (_, bound) in sip.locals() {
            add(Transport::Tls, SocketAddr::new(bound.ip(), 0), Transport::Tls.usual_port());
        }
    }
    locals
}

/// Certificates end, and their successors lie in the same files: what begins after that goes by the new ones. What cannot be
/// read is told once, and the old goes on, and so it does until all of the new is read. `known` are the bytes of what is in use
/// now; `again` is that as of today, where that can be something else.
async fn renew<F, T, E>(
    what: &'static str,
    files: F,
    bytes: fn(&F) -> Result<Vec<Vec<u8>>, E>,
    read: fn(&F) -> Result<T, E>,
    again: fn(&T) -> Option<T>,
    known: Vec<Vec<u8>>,
    used: watch::Sender<T>,
) where
    F: Clone + Send + 'static,
    T: Clone + Send + Sync + 'static,
    E: fmt::Display + PartialEq + Send + 'static,
{
    let mut known = Ok(known);
    let mut turns = tokio::time::interval(CERTIFICATES_EVERY);
    loop {
        turns.tick().await;
        let (asked, old) = (files.clone(), used.borrow().clone());
        let looks = move || (bytes(&asked), again(&old));
        // A panic there has been told, and ends nothing but this look.
        let Ok((found, again)) = tokio::task::spawn_blocking(looks).await else { continue };
        again.into_iter().for_each(|again| drop(used.send_replace(again)));
        if found == known {
            continue;
        }
        let asked = files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read(&asked)).await else { continue };
        match read {
            Ok(read) => {
                used.send_replace(read);
                tracing::info!("{what} are read anew");
            }
            Err(error) => tracing::error!(%error, "{what} cannot be read: the old ones are used"),
        }
        known = found;
    }
}

/// Whose signatures count, as of this moment.
fn read_signers(files: &StirFiles) -> Result<Arc<Trust>, String> {
    files.read(clock::wall()).map(Arc::new)
}

/// Certificates and lists of revocations end without a change of their files.
fn look_again(trust: &Arc<Trust>) -> Option<Arc<Trust>> {
    let now = clock::wall();
    trust.is_old(now).then(|| Arc::new(Trust::clone(trust).as_of(now)))
}

/// What we speak with a carrier that names no codecs, the best sound first. Plain samples are for those who ask.
const CODECS: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcma, Codec::Pcmu];

/// Closes what an earlier life left open: the money first, then a BYE to every dialog, paid calls out first.
/// The books keep what SIP needs for that until each BYE has run its course: this life may die before, too.
async fn bury(store: &Store, sip: &sip::io::Sip) -> Result<Vec<(Call, LegId)>, StoreError> {
    let orphans = store.recover(clock::wall()).await?;
    let mut burials = Vec::with_capacity(orphans.len());
    let mut logins = Logins { facts: store.facts(), read: BTreeMap::new() };
    let cause = Cause::NodeDied;
    for (number, orphan) in (0..).zip(orphans) {
        tracing::warn!(leg = %orphan.leg, charge = %orphan.charge, "a leg of the last run is over");
        let reason = Some(Reason { q850: Some(cause.q850()), sip: None, text: cause.words().into() });
        let call = Call::past(number);
        let (login, tls_name) = match orphan.carrier {
            Some(carrier) => (logins.of(&carrier).await, logins.tls_name(&carrier)),
            None => (None, None),
        };
        sip.command(Command::Bury { call, journal: orphan.journal, reason, login, tls_name }).await;
        burials.push((call, orphan.leg));
    }
    Ok(burials)
}

/// Names and passwords of the carriers that calls of the last life went by, each read once.
struct Logins {
    facts: Arc<Facts>,
    read: BTreeMap<CarrierId, Option<Arc<Login>>>,
}

impl Logins {
    /// `None` where the carrier has none; and where it cannot be read, or not within [`PASSWORD`]: then the call is ended as
    /// far as one can without.
    async fn of(&mut self, carrier: &CarrierId) -> Option<Arc<Login>> {
        if let Some(known) = self.read.get(carrier) {
            return known.clone();
        }
        let digest = self.facts.directory.carrier(carrier).and_then(|carrier| carrier.digest.as_ref());
        let login = match digest {
            Some(digest) => match timeout(PASSWORD, notice::io::read_secret_of(digest.password.clone(), 1)).await {
                Ok(Ok(password)) => Some(Arc::new(Login {
                    owner: carrier.to_string(),
                    username: digest.username.clone(),
                    password: Some(Password::new(password.to_vec())),
                    realm: digest.realm.clone(),
                })),
                _ => None,
            },
            None => None,
        };
        self.read.insert(carrier.clone(), login.clone());
        login
    }

    fn tls_name(&self, carrier: &CarrierId) -> Option<Arc<str>> {
        self.facts.directory.carrier(carrier)?.tls_name.as_deref().map(Arc::from)
    }
}

/// The token's file where no other is set, among the files of the store.
pub const TOKEN: &str = "token";

/// Made at the first start, for its owner alone.
fn read_or_make_token(path: &Path) -> std::io::Result<String> {
    if let Some(found) = std::fs::read_to_string(path).ok().filter(|text| !text.trim().is_empty()) {
        return Ok(found.trim().to_owned());
    }
    let token: String = rand::random::<[u8; 24]>().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(token.as_bytes())?;
    file.sync_all()?;
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files that stay as they are, and new ones that cannot be read.
    #[tokio::test]
    async fn what_is_used_is_looked_at_again_while_there_is_nothing_newer() {
        for known in [vec![], vec![vec![1]]] {
            let (sender, mut used) = watch::channel(1);
            let (bytes, read) = (|_: &()| Ok(Vec::new()), |_: &()| Err("nonsense"));
            let task = tokio::spawn(renew("numbers", (), bytes, read, |used| Some(used + 1), known, sender));
            timeout(Duration::from_secs(20), used.changed()).await.expect("in time").unwrap();
            assert_eq!(*used.borrow(), 2);
            task.abort();
        }
    }
}
