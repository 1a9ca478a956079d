//! Settings: a TOML file, then the environment over it (`TOLLBRIDGE__SECTION__KEY`), then what is not said at its
//! default. All mistakes are told at once, each with its line.

use crate::api::privacy::Retention;
use crate::form::{Document, Form, Mistake};
use crate::media::Rate;
use crate::media::recorder::Format;
use crate::meeting::{Announce, KeyMap};
use crate::notice::address::Network;
use crate::notice::{Gate, HookUrl, Mailbox, SecretRef, Tls};
use crate::rating::report::Masking;
use crate::sip::{Pace, Transport, tls};
use crate::store;
use crate::trunk::{PatternConfig, StirFiles};
use crate::types::{Addresses, E164};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// The commented settings, as they stand in `config/tollbridge.toml`; a test holds them to the defaults below.
pub const COMMENTED: &str = include_str!("../config/tollbridge.toml");

/// Where to listen: `udp:127.0.0.1:5060`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

impl FromStr for Listen {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Listen, &'static str> {
        const EXPECTED: &str = "expected udp:, tcp: or tls:ADDRESS:PORT, like udp:127.0.0.1:5060";
        let (transport, address) = text.split_once(':').ok_or(EXPECTED)?;
        let transport = Transport::from_name(transport).ok_or(EXPECTED)?;
        let address = address.parse().map_err(|_| EXPECTED)?;
        Ok(Listen { transport, address })
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport.name(), self.address)
    }
}

/// A range of UDP ports, `10000-19999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports(pub RangeInclusive<u16>);

impl FromStr for Ports {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Ports, &'static str> {
        const EXPECTED: &str = "expected LOW-HIGH with 1024 <= LOW < HIGH <= 65535, like 10000-19999";
        let (low, high) = text.split_once('-').ok_or(EXPECTED)?;
        let (low, high): (u16, u16) = (low.parse().map_err(|_| EXPECTED)?, high.parse().map_err(|_| EXPECTED)?);
        if low < 1024 || low >= high { Err(EXPECTED) } else { Ok(Ports(low..=high)) }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sip {
    pub listen: Vec<Listen>,
    /// What we show over TLS, and whom we believe; wanted where TLS is listened for.
    pub tls: Option<tls::Files>,
    /// By whose signatures callers are known.
    pub stir: Option<StirFiles>,
    /// What we call ourselves in Contact and Via; the listen address where not set.
    pub advertise: Option<IpAddr>,
    /// The same where carriers speak IPv6.
    pub advertise_ipv6: Option<IpAddr>,
    /// Differentiated services code point of signalling (CS3, RFC 4594 section 2.1).
    pub dscp: u8,
    pub max_calls: usize,
    /// Seconds within which a call is to be refreshed (RFC 4028); 0: only where the far side asks for it.
    pub session_s: u32,
    /// Seconds within which a call out is to have a first answer, or the next address is tried; 0: 32 (RFC 3261, timer B).
    pub trying_s: u32,
    /// New calls a second.
    pub pace: Pace,
    /// How long calls may go on when the bridge is told to stop, seconds; 0: they are ended at once.
    pub drain_s: u64,
    /// Who is asked for names; those that the system asks where `None`.
    pub dns: Option<Vec<SocketAddr>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Media {
    /// Where sound is received: on one family of addresses or on both.
    pub bind: Addresses,
    /// What peers see in place of those of the same family.
    pub advertise: Option<Addresses>,
    pub ports: Ports,
    /// Code point of sound (EF).
    pub dscp: u8,
    /// Mixer threads; 0 is one a core.
    pub threads: usize,
    /// A leg whose RTP and RTCP are gone this long is ended (never while on hold).
    pub silence_s: u64,
    /// The lowest and highest rate of a room's sound.
    pub rate_least: Rate,
    pub rate_most: Rate,
    /// How many of the loudest are mixed; 0: all.
    pub loudest: u8,
    pub automatic_gain: bool,
    pub noise_suppression: bool,
    /// Silence is described to carriers that take it (RFC 3389).
    pub comfort_noise: bool,
}

impl Media {
    /// Where peers send sound to.
    pub fn shown(&self) -> Addresses {
        self.bind.shown_as(self.advertise)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    pub listen: SocketAddr,
    /// File with the bearer token; `token` beside the store where not set.
    pub token_file: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// Digits of every conference ID of this bridge.
    pub conference_id_digits: usize,
    /// Seconds a caller has to name a payer.
    pub payer_s: u64,
    /// Longest call, in seconds.
    pub longest_call_s: u64,
    /// How long a dialled phone may ring, in seconds.
    pub ring_s: u64,
    /// How comings and goings are told, in meetings that want to know.
    pub announce: Announce,
    /// Organisers may have phones rung by keys.
    pub keypad_calls: bool,
    /// Whom the operator's key rings; `None`: nobody.
    pub operator: Option<E164>,
    /// A meeting ends so many seconds after its organiser left; after 90 minutes where `None`.
    pub organiser_gone_s: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// Where the files go; `None`: nothing can be recorded.
    pub folder: Option<PathBuf>,
    pub format: Format,
    pub rate: Rate,
    /// A track of each participant beside the mix.
    pub tracks: bool,
    /// So often all hear a tone while they are recorded; 0: never.
    pub tone_s: u64,
    /// Space left on the disk for the store and the rest, MiB.
    pub keep_free_mib: u64,
}

/// How people are told, and whom of the house.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The mail server; `None`: no mail is sent.
    pub smtp: Option<MailServer>,
    pub smtp_tls: Tls,
    pub smtp_user: Option<String>,
    pub smtp_password: Option<SecretRef>,
    pub from: Option<Mailbox>,
    /// Whom the house wants told.
    pub emails: Vec<Mailbox>,
    pub webhook: Option<HookUrl>,
    pub webhook_secret: Option<SecretRef>,
    /// A PEM file of authorities whom TLS believes beside those of the open Internet.
    pub ca_file: Option<PathBuf>,
    /// Addresses that hooks may lead to, though they are not of the open Internet.
    pub allow_addresses: Vec<Network>,
    pub tries: u32,
    pub disable_after: u32,
}

impl Notice {
    /// Where hooks may lead.
    pub fn gate(&self) -> Gate {
        Gate { allowed: self.allow_addresses.clone() }
    }
}

/// `mail.example.com:587`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailServer {
    pub host: String,
    pub port: u16,
}

impl FromStr for MailServer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<MailServer, &'static str> {
        const EXPECTED: &str = "expected HOST:PORT, like mail.example.com:587";
        let (host, port) = text.rsplit_once(':').ok_or(EXPECTED)?;
        let sound = |b: u8| b.is_ascii_alphanumeric() || b == b'.' || b == b'-';
        match port.parse() {
            Ok(port @ 1..) if !host.is_empty() && host.bytes().all(sound) => Ok(MailServer { host: host.into(), port }),
            _ => Err(EXPECTED),
        }
    }
}

/// All settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub sip: Sip,
    pub media: Media,
    pub api: Api,
    pub meeting: Meeting,
    /// What keys do, and where the callers of one number have keys of their own.
    pub keys: KeyMap,
    pub number_keys: BTreeMap<E164, KeyMap>,
    pub recording: Recording,
    pub notice: Notice,
    /// `sqlite:PATH`.
    pub store_url: String,
    /// The node's own files, where the store is on a server.
    pub store_folder: PathBuf,
    /// The node's name in the store.
    pub node: String,
    /// So often the books are audited by themselves; never, where not set.
    pub audit_every: Option<Duration>,
    /// A folder of prompts that replaces the embedded ones.
    pub prompts_dir: Option<PathBuf>,
    pub log_level: String,
    /// How much of outside parties' numbers reports show.
    pub masking: Masking,
    /// From how much on calls look like fraud.
    pub patterns: PatternConfig,
    /// How long a raised limit waits.
    pub cooling_off: Duration,
    /// Without the folder, which is that of recordings: see [`Settings::retention`].
    retention: Retention,
}

impl Default for Settings {
    fn default() -> Settings {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Settings {
            sip: Sip {
                listen: vec![
                    Listen { transport: Transport::Udp, address: local(5060) },
                    Listen { transport: Transport::Tcp, address: local(5060) },
                ],
                tls: None,
                stir: None,
                advertise: None,
                advertise_ipv6: None,
                dscp: 24,
                max_calls: 4000,
                session_s: 1800,
                trying_s: 5,
                pace: Pace::default(),
                drain_s: 60,
                dns: None,
            },
            media: Media {
                bind: Addresses::only(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                advertise: None,
                ports: Ports(10_000..=19_999),
                dscp: 46,
                threads: 0,
                silence_s: 30,
                rate_least: Rate::Narrow,
                rate_most: Rate::Full,
                loudest: 0,
                automatic_gain: false,
                noise_suppression: false,
                comfort_noise: false,
            },
            api: Api { listen: local(8080), token_file: None },
            meeting: Meeting {
                conference_id_digits: 7,
                payer_s: 60,
                longest_call_s: 86_400,
                ring_s: 60,
                announce: Announce::Tone,
                keypad_calls: false,
                operator: None,
                organiser_gone_s: None,
            },
            keys: KeyMap::default(),
            number_keys: BTreeMap::new(),
            recording: Recording {
                folder: None,
                format: Format::Wav,
                rate: Rate::Wide,
                tracks: false,
                tone_s: 15,
                keep_free_mib: 1_024,
            },
            notice: Notice {
                smtp: None,
                smtp_tls: Tls::StartTls,
                smtp_user: None,
                smtp_password: None,
                from: None,
                emails: Vec::new(),
                webhook: None,
                webhook_secret: None,
                ca_file: None,
                allow_addresses: Vec::new(),
                tries: 5,
                disable_after: 20,
            },
            store_url: "sqlite:data/tollbridge.db".into(),
            store_folder: "data".into(),
            audit_every: Some(HOUR * 24),
            node: "bridge".into(),
            prompts_dir: None,
            log_level: "info".into(),
            masking: Masking::default(),
            patterns: PatternConfig::default(),
            cooling_off: store::Options::default().cooling_off,
            retention: Retention::default(),
        }
    }
}

impl Settings {
    /// Reads the file at `path` (none: defaults alone), then the environment given.
    pub fn load(path: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Settings, Vec<Mistake>> {
        let mut settings = Settings::default();
        let mut mistakes = Vec::new();
        if let Some(path) = path {
            let file = path.display().to_string();
            match std::fs::read_to_string(path) {
                Ok(text) => mistakes.extend(settings.overlay(&file, &text)),
                Err(error) => mistakes.push(Mistake { file, line: 0, text: format!("cannot be read: {error}") }),
            }
        }
        mistakes.extend(settings.overlay("environment", &environment(env)));
        mistakes.extend(settings.contradictions());
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    /// Takes what `text` says over what stands; gives the mistakes in it.
    pub fn overlay(&mut self, file: &str, text: &str) -> Vec<Mistake> {
        let document = Document::parse(file, text);
        let form = document.form();
        self.read(&form);
        form.finish();
        document.mistakes()
    }

    fn read(&mut self, form: &Form<'_>) {
        let sip = form.table("sip");
        set(&mut self.sip.listen, sip.texts("listen"));
        self.read_sip_tls(&sip);
        self.read_stir(&sip);
        self.read_advertised(&sip);
        set(&mut self.sip.dscp, sip.number("dscp", 0..=63).map(|n| n as u8));
        set(&mut self.sip.max_calls, sip.number("max_calls", 1..=1_000_000).map(|n| n as usize));
        set(&mut self.sip.session_s, session_s(&sip));
        set(&mut self.sip.trying_s, sip.number("trying_s", 0..=31).map(|n| n as u32));
        let pace = |key| sip.number(key, 1..=100_000).map(|n| n as u32);
        set_some(&mut self.sip.pace.all, pace("max_calls_per_second"));
        set_some(&mut self.sip.pace.source, pace("max_calls_per_second_of_source"));
        set(&mut self.sip.drain_s, sip.number("drain_s", 0..=86_400));
        set_some(&mut self.sip.dns, sip.texts("dns"));
        sip.finish();

        let media = form.table("media");
        self.read_media_addresses(&media);
        set(&mut self.media.ports, media.text("ports"));
        set(&mut self.media.dscp, media.number("dscp", 0..=63).map(|n| n as u8));
        set(&mut self.media.threads, media.number("threads", 0..=256).map(|n| n as usize));
        set(&mut self.media.silence_s, media.number("silence_s", 1..=86_400));
        set(&mut self.media.rate_least, rate(&media, "rate_least"));
        set(&mut self.media.rate_most, rate(&media, "rate_most"));
        set(&mut self.media.loudest, media.number("loudest", 0..=16).map(|n| n as u8));
        set(&mut self.media.automatic_gain, media.flag("automatic_gain"));
        set(&mut self.media.noise_suppression, media.flag("noise_suppression"));
        set(&mut self.media.comfort_noise, media.flag("comfort_noise"));
        media.finish();

        let api = form.table("api");
        set(&mut self.api.listen, api.text("listen"));
        set_some(&mut self.api.token_file, api.text("token_file"));
        api.finish();

        let meeting = form.table("meeting");
        set(&mut self.meeting.conference_id_digits, meeting.number("conference_id_digits", 7..=12).map(|n| n as usize));
        set(&mut self.meeting.payer_s, meeting.number("payer_s", 5..=3_600));
        set(&mut self.meeting.longest_call_s, meeting.number("longest_call_s", 10..=604_800));
        set(&mut self.meeting.ring_s, meeting.number("ring_s", 1..=180));
        set(&mut self.meeting.announce, meeting.text("announce"));
        set(&mut self.meeting.keypad_calls, meeting.flag("keypad_calls"));
        set_some(&mut self.meeting.operator, meeting.text("operator"));
        set_some(&mut self.meeting.organiser_gone_s, meeting.number("organiser_gone_s", 1..=5_400));
        meeting.finish();
        form.tables("keys").iter().for_each(|keys| self.read_keys(keys));

        let recording = form.table("recording");
        set_some(&mut self.recording.folder, recording.text("folder"));
        set(&mut self.recording.format, recording.text("format"));
        set(&mut self.recording.rate, rate(&recording, "rate"));
        set(&mut self.recording.tracks, recording.flag("tracks"));
        set(&mut self.recording.tone_s, recording.number("tone_s", 0..=3_600));
        set(&mut self.recording.keep_free_mib, recording.number("keep_free_mib", 0..=1 << 40));
        recording.finish();
        self.read_notice(&form.table("notice"));

        let privacy = form.table("privacy");
        set(&mut self.masking.rule, privacy.text("mask"));
        self.read_digits(&privacy.table("digits"));
        privacy.finish();

        let retention = form.table("retention");
        set(&mut self.retention.records, retention.number("records", 0..=36_500));
        set(&mut self.retention.recordings, retention.number("recordings", 0..=36_500));
        set(&mut self.retention.traces, retention.number("traces", 0..=36_500));
        retention.finish();

        self.read_fraud(&form.table("fraud"));

        let store = form.table("store");
        set(&mut self.store_url, store.text("url"));
        set(&mut self.store_folder, store.text("folder"));
        set(&mut self.node, store.text("node"));
        let hours = store.number("audit_hours", 0..=8_760).map(|hours| (hours > 0).then_some(HOUR * hours as u32));
        set(&mut self.audit_every, hours);
        store.finish();
        let prompts = form.table("prompts");
        set_some(&mut self.prompts_dir, prompts.text("dir"));
        prompts.finish();
        let log = form.table("log");
        set(&mut self.log_level, log.text("level"));
        log.finish();
    }

    /// What we call ourselves. A node of IPv6 alone may say it as one of IPv4 does.
    fn read_advertised(&mut self, sip: &Form<'_>) {
        for key in ["advertise", "advertise_ipv6"] {
            match sip.text::<IpAddr>(key) {
                Some(ip) if ip.is_ipv6() => self.sip.advertise_ipv6 = Some(ip),
                Some(_) if key == "advertise_ipv6" => sip.mistake(key, "expected an address of IPv6, like 2001:db8::7"),
                Some(ip) => self.sip.advertise = Some(ip),
                None => {}
            }
        }
    }

    /// What does not fit together is told here, with its line, where both stand in one place.
    fn read_media_addresses(&mut self, media: &Form<'_>) {
        let (bind, advertise) = (addresses(media, "bind"), addresses(media, "advertise"));
        match bind.and_then(|bind| unbound(bind, advertise)) {
            Some(why) => media.mistake("advertise", why),
            None => set_some(&mut self.media.advertise, advertise),
        }
        set(&mut self.media.bind, bind);
    }

    fn read_stir(&mut self, sip: &Form<'_>) {
        let (authorities, certificates) = (sip.text("stir_authorities"), sip.table("stir_certificates").entries());
        let revocations: Vec<PathBuf> = sip.texts("stir_revocations").unwrap_or_default();
        match authorities {
            Some(authorities) => {
                let certificates = certificates.into_iter().map(|(uri, path)| (uri, path.into())).collect();
                self.sip.stir = Some(StirFiles { authorities, certificates, revocations });
            }
            None if !certificates.is_empty() => {
                sip.mistake("stir_certificates", "of no use without stir_authorities, a PEM file");
            }
            None if !revocations.is_empty() => {
                sip.mistake("stir_revocations", "of no use without stir_authorities, a PEM file");
            }
            None => {}
        }
    }

    /// The files of TLS: both of ours or none, and not none where TLS is listened for.
    fn read_sip_tls(&mut self, sip: &Form<'_>) {
        let (certificate, key, trust) = (sip.text("tls_certificate"), sip.text("tls_key"), sip.text("tls_trust"));
        let listens = self.sip.listen.iter().any(|listen| listen.transport == Transport::Tls);
        match (certificate, key) {
            (Some(certificate), Some(key)) => self.sip.tls = Some(tls::Files { certificate, key, trust }),
            (None, None) if listens && self.sip.tls.is_none() => {
                sip.mistake("listen", "TLS wants tls_certificate and tls_key, PEM files");
            }
            (None, None) if trust.is_some() => {
                sip.mistake("tls_trust", "of no use without tls_certificate and tls_key")
            }
            (None, None) => {}
            (Some(_), None) => sip.mistake("tls_key", "the key of tls_certificate, a PEM file"),
            (None, Some(_)) => sip.mistake("tls_certificate", "the certificate of tls_key, a PEM file"),
        }
    }

    /// Hidden digits by country.
    fn read_digits(&mut self, form: &Form<'_>) {
        for (key, text) in form.entries() {
            match (key.to_ascii_uppercase().parse(), text.parse::<u8>().ok().filter(|digits| *digits <= 15)) {
                (Ok(country), Some(digits)) => drop(self.masking.digits.insert(country, digits)),
                (Err(why), _) => form.mistake(&key, why),
                (Ok(_), None) => form.mistake(&key, "expected a whole number from 0 to 15"),
            }
        }
        form.finish();
    }

    fn read_notice(&mut self, notice: &Form<'_>) {
        set_some(&mut self.notice.smtp, notice.text("smtp"));
        set(&mut self.notice.smtp_tls, notice.word("smtp_tls", Tls::WORDS));
        set_some(&mut self.notice.smtp_user, notice.text("smtp_user"));
        set_some(&mut self.notice.smtp_password, store::secret(notice, "smtp_password"));
        set_some(&mut self.notice.from, notice.text("from"));
        set(&mut self.notice.emails, notice.has("emails").then(|| store::mails(notice, "emails")));
        set_some(&mut self.notice.webhook, notice.text("webhook"));
        set_some(&mut self.notice.webhook_secret, store::secret(notice, "webhook_secret"));
        set_some(&mut self.notice.ca_file, notice.text("ca_file"));
        set(&mut self.notice.allow_addresses, notice.texts("allow_addresses"));
        set(&mut self.notice.tries, notice.number("tries", 1..=20).map(|n| n as u32));
        set(&mut self.notice.disable_after, notice.number("disable_after", 1..=10_000).map(|n| n as u32));
        notice.finish();
    }

    /// From how much on calls look like fraud.
    fn read_fraud(&mut self, form: &Form<'_>) {
        let hours = form.number("cooling_off_hours", 0..=720);
        set(&mut self.cooling_off, hours.map(|hours| Duration::from_secs(hours * 3_600)));
        let patterns = &mut self.patterns;
        set(&mut patterns.on, form.flag("alarms"));
        let counts: [(&str, &mut u32); 10] = [
            ("new_country_calls", &mut patterns.new_country_calls),
            ("block_calls", &mut patterns.block_calls),
            ("alike_calls", &mut patterns.alike_calls),
            ("sequence_numbers", &mut patterns.sequence_numbers),
            ("calls_a_minute", &mut patterns.calls_a_minute),
            ("block_minutes", &mut patterns.block_minutes),
            ("pumping_calls", &mut patterns.pumping_calls),
            ("pumping_calls_of_carrier", &mut patterns.pumping_calls_of_carrier),
            ("free_conference_minutes", &mut patterns.free_conference_minutes),
            ("sweep_tries", &mut patterns.sweep_tries),
        ];
        for (key, count) in counts {
            // More moments than this are not remembered of anybody.
            let most = if key.ends_with("minutes") { 100_000 } else { 200 };
            set(count, form.number(key, 2..=most).map(|number| number as u32));
        }
        form.finish();
    }

    /// A map of the keypad: of some numbers, or of all that have none of their own.
    fn read_keys(&mut self, form: &Form<'_>) {
        let numbers = form.texts::<E164>("numbers");
        let table = form.table("codes");
        let verb = |(code, word): (String, String)| match word.parse() {
            Ok(verb) => Some((code, verb)),
            Err(why) => {
                table.mistake(&code, why);
                None
            }
        };
        let codes = table.entries().into_iter().filter_map(verb).collect();
        form.finish();
        match (KeyMap::new(codes), numbers) {
            (Err(why), _) => form.mistake("codes", why),
            (Ok(map), None) => self.keys = map,
            (Ok(map), Some(numbers)) => {
                self.number_keys.extend(numbers.into_iter().map(|number| (number, map.clone())))
            }
        }
    }

    /// How long what tells of people is kept.
    pub fn retention(&self) -> Retention {
        Retention { folder: self.recording.folder.clone(), ..self.retention.clone() }
    }

    /// How the store is opened.
    pub fn store_options(&self) -> store::Options {
        let (node, folder) = (self.node.clone(), self.store_folder.clone());
        store::Options { node, folder, cooling_off: self.cooling_off, ..store::Options::default() }
    }

    fn contradictions(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut tell = |text: String| mistakes.push(Mistake { file: "settings".into(), line: 0, text });
        if self.sip.listen.is_empty() {
            tell("sip.listen: at least one address, else nobody can call".into());
        }
        let families = [(true, "advertise", self.sip.advertise), (false, "advertise_ipv6", self.sip.advertise_ipv6)];
        for (of_v4, key, shown) in families {
            let mut open = self.sip.listen.iter().map(|listen| listen.address.ip()).filter(IpAddr::is_unspecified);
            if shown.is_none() && open.any(|ip| ip.is_ipv4() == of_v4) {
                tell(format!("sip.{key}: say which address carriers reach, since sip.listen is every address"));
            }
        }
        if let Some(why) = unbound(self.media.bind, self.media.advertise) {
            tell(format!("media.advertise: {why}"));
        }
        if let Some(every) = self.media.shown().iter().find(IpAddr::is_unspecified) {
            tell(format!("media.advertise: say which address carriers reach, since {every} is every address"));
        }
        if self.media.rate_least > self.media.rate_most {
            tell("media.rate_least: no rate lies between it and media.rate_most".into());
        }
        if let Err(error) = store::check_url(&self.store_url) {
            tell(format!("store.url: {error}"));
        }
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if !(1..=64).contains(&self.node.len()) || !self.node.bytes().all(is_name) {
            tell(format!("store.node: expected 1 to 64 letters, digits and -, found \"{}\"", self.node));
        }
        let notice = &self.notice;
        if notice.smtp.is_some() && notice.from.is_none() {
            tell("notice.from: say whom mail is from, since notice.smtp is set".into());
        }
        if notice.smtp_user.is_some() != notice.smtp_password.is_some() {
            tell("notice.smtp_user and notice.smtp_password: neither without the other".into());
        }
        if notice.webhook.is_some() != notice.webhook_secret.is_some() {
            tell(
                "notice.webhook and notice.webhook_secret: neither without the other; what is posted is signed".into(),
            );
        }
        if let Some(dir) = self.prompts_dir.as_ref().filter(|dir| !dir.is_dir()) {
            tell(format!("prompts.dir: no such folder: {}", dir.display()));
        }
        mistakes
    }
}

/// An address, or a list with one of each family.
fn addresses(form: &Form<'_>, key: &str) -> Option<Addresses> {
    let list: Vec<IpAddr> = form.text_or_texts(key)?;
    Addresses::new(&list).map_err(|why| form.mistake(key, why)).ok()
}

/// What is advertised stands for what is bound, each for the one of its family.
fn unbound(bind: Addresses, advertise: Option<Addresses>) -> Option<String> {
    let lost = advertise?.iter().find(|ip| bind.like(*ip).is_none())?;
    Some(format!("{lost} stands for no address of its family in media.bind, where {bind} is"))
}

/// A rate in Hz that rooms can have.
fn rate(form: &Form<'_>, key: &str) -> Option<Rate> {
    let hz = form.number(key, 0..=48_000)?;
    let rate = Rate::from_hz(hz as u32);
    if rate.is_none() {
        form.mistake(key, "expected 8000, 16000, 24000 or 48000");
    }
    rate
}

const HOUR: Duration = Duration::from_secs(3_600);

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn set_some<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

/// The environment's variables as the TOML that they stand for. A value that TOML knows (a list, a number, true) is
/// taken as such; anything else is a text.
fn environment(env: impl Iterator<Item = (String, String)>) -> String {
    let mut lines: Vec<String> = env
        .filter_map(|(name, value)| {
            let key = name.strip_prefix("TOLLBRIDGE__")?.to_lowercase();
            let (section, key) = key.split_once("__")?;
            let bare = format!("v = {value}").parse::<toml::Table>().is_ok();
            let value = if bare { value } else { toml::Value::String(value).to_string() };
            Some(format!("{section}.{key} = {value}"))
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

/// RFC 4028 knows no session shorter than 90 s (section 4).
fn session_s(sip: &Form<'_>) -> Option<u32> {
    let seconds = sip.number("session_s", 0..=86_400)?;
    if (1..90).contains(&seconds) {
        sip.mistake("session_s", "no session is shorter than 90 seconds; 0 leaves it to the far side");
        return None;
    }
    Some(seconds as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn the_commented_file_says_the_defaults() {
        let mut settings = Settings::default();
        assert_eq!(settings.overlay("config/tollbridge.toml", COMMENTED), []);
        assert_eq!(settings, Settings::default());
        // With every comment mark taken from the settings, it is still well formed: no misspelt key hides in it.
        let uncommented: String =
            COMMENTED.lines().map(|l| l.strip_prefix("#= ").unwrap_or(l).to_owned() + "\n").collect();
        assert_eq!(settings.overlay("uncommented", &uncommented), []);
    }

    #[test]
    fn the_environment_has_the_last_word() {
        let vars = [
            ("TOLLBRIDGE__SIP__LISTEN", "[\"udp:127.0.0.1:0\"]"),
            ("TOLLBRIDGE__MEDIA__PORTS", "20000-20100"),
            ("TOLLBRIDGE__API__LISTEN", "127.0.0.1:0"),
            ("TOLLBRIDGE__SIP__MAX_CALLS", "12"),
            ("HOME", "/nowhere"),
        ];
        let settings = Settings::load(None, env(&vars)).unwrap();
        assert_eq!(settings.sip.listen.len(), 1);
        assert_eq!(settings.media.ports, Ports(20_000..=20_100));
        assert_eq!(settings.api.listen.port(), 0);
        assert_eq!(settings.sip.max_calls, 12);
    }

    #[test]
    fn who_listens_everywhere_says_where_they_are() {
        let vars = [("TOLLBRIDGE__SIP__LISTEN", "[\"udp:0.0.0.0:5060\"]"), ("TOLLBRIDGE__MEDIA__BIND", "0.0.0.0")];
        assert_eq!(Settings::load(None, env(&vars)).unwrap_err().len(), 2);
        let advertised = [("TOLLBRIDGE__SIP__ADVERTISE", "127.0.0.1"), ("TOLLBRIDGE__MEDIA__ADVERTISE", "127.0.0.1")];
        assert!(Settings::load(None, env(&[vars, advertised].concat())).is_ok());
    }

    #[test]
    fn each_family_of_addresses_has_its_own_to_show() {
        let open = ("TOLLBRIDGE__SIP__LISTEN", "[\"udp:0.0.0.0:5060\", \"udp:[::]:5060\"]");
        let (four, six) = (("TOLLBRIDGE__SIP__ADVERTISE", "192.0.2.7"), "TOLLBRIDGE__SIP__ADVERTISE_IPV6");
        assert_eq!(Settings::load(None, env(&[open])).unwrap_err().len(), 2);
        assert_eq!(Settings::load(None, env(&[open, four])).unwrap_err().len(), 1);
        let both = Settings::load(None, env(&[open, four, (six, "2001:db8::7")])).unwrap();
        assert_eq!(
            both.sip.advertise.zip(both.sip.advertise_ipv6).map(|(four, six)| (four.is_ipv4(), six.is_ipv6())),
            Some((true, true))
        );
        assert!(Settings::load(None, env(&[four, (six, "192.0.2.7")])).is_err());
        let six_alone = ("TOLLBRIDGE__SIP__LISTEN", "[\"udp:[::]:5060\"]");
        assert!(Settings::load(None, env(&[six_alone, ("TOLLBRIDGE__SIP__ADVERTISE", "2001:db8::7")])).is_ok());
    }

    #[test]
    fn sound_may_be_on_both_families() {
        let told = |text: &str| {
            let mut settings = Settings::default();
            let mistakes = settings.overlay("x.toml", &format!("[media]\n{text}\n"));
            mistakes.into_iter().chain(settings.contradictions()).map(|told| (told.line, told.text)).collect::<Vec<_>>()
        };
        for good in [
            "bind = \"::1\"",
            "bind = [\"127.0.0.1\", \"::1\"]",
            "bind = [\"0.0.0.0\", \"::\"]\nadvertise = [\"2001:db8::1\", \"192.0.2.1\"]",
            "bind = [\"0.0.0.0\", \"2001:db8::1\"]\nadvertise = \"192.0.2.1\"",
        ] {
            assert_eq!(told(good), [], "{good}");
        }
        for (wrong, line, word) in [
            ("bind = [\"127.0.0.1\", \"127.0.0.2\"]", 2, "one of IPv4 and one of IPv6"),
            ("bind = []", 2, "one of IPv4 and one of IPv6"),
            ("bind = [\"127.0.0.1\",\n\"localhost\"]", 3, "localhost"),
            ("bind = 1", 2, "list of texts"),
            ("bind = \"127.0.0.1\"\nadvertise = [\"192.0.2.1\", \"2001:db8::1\"]", 3, "2001:db8::1 stands for"),
            ("advertise = \"2001:db8::1\"", 0, "2001:db8::1 stands for"),
            ("bind = [\"0.0.0.0\", \"::\"]\nadvertise = \"192.0.2.1\"", 0, ":: is every address"),
            ("bind = \"::\"\nadvertise = \"::\"", 0, ":: is every address"),
        ] {
            let told = told(wrong);
            assert!(matches!(&told[..], [(at, text)] if *at == line && text.contains(word)), "{wrong}: {told:?}");
        }
    }

    #[test]
    fn a_number_may_have_keys_of_its_own() {
        let mut settings = Settings::default();
        let keys = "[[keys]]\nnumbers = [\"+390612345678\"]\ncodes = { 0 = \"mute-self\", \"#\" = \"end\" }\n";
        assert_eq!(settings.overlay("x.toml", keys), []);
        assert_eq!(settings.keys, KeyMap::default());
        let own = &settings.number_keys[&"+390612345678".parse().unwrap()];
        assert_eq!(own.code_of(crate::meeting::Verb::MuteSelf), Some("0"));
        for wrong in ["codes = { 0 = \"sing\" }", "codes = { x = \"end\" }", "code = {}"] {
            assert_eq!(settings.overlay("x.toml", &format!("[[keys]]\n{wrong}\n")).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn tls_wants_a_certificate_and_its_key() {
        let listen = ("TOLLBRIDGE__SIP__LISTEN", "[\"udp:127.0.0.1:5060\", \"tls:127.0.0.1:5061\"]");
        let certificate = ("TOLLBRIDGE__SIP__TLS_CERTIFICATE", "a.pem");
        let key = ("TOLLBRIDGE__SIP__TLS_KEY", "a.key");
        let trust = ("TOLLBRIDGE__SIP__TLS_TRUST", "them.pem");
        let settings = Settings::load(None, env(&[listen, certificate, key, trust])).unwrap();
        let tls = settings.sip.tls.unwrap();
        assert_eq!((tls.certificate, tls.key, tls.trust), ("a.pem".into(), "a.key".into(), Some("them.pem".into())));
        assert!(Settings::load(None, env(&[certificate, key])).unwrap().sip.tls.is_some());
        for wrong in [&[listen][..], &[listen, certificate], &[certificate], &[key], &[trust], &[listen, key, trust]] {
            assert_eq!(Settings::load(None, env(wrong)).unwrap_err().len(), 1, "{wrong:?}");
        }
    }

    #[test]
    fn signatures_want_authorities() {
        let authorities = ("TOLLBRIDGE__SIP__STIR_AUTHORITIES", "roots.pem");
        let certificates = ("TOLLBRIDGE__SIP__STIR_CERTIFICATES", "{ \"https://a.example/c.pem\" = \"c.pem\" }");
        let revocations = ("TOLLBRIDGE__SIP__STIR_REVOCATIONS", "[\"gone.crl\", \"gone.pem\"]");
        let stir = Settings::load(None, env(&[authorities, certificates, revocations])).unwrap().sip.stir.unwrap();
        assert_eq!(stir.authorities, PathBuf::from("roots.pem"));
        assert_eq!(stir.certificates["https://a.example/c.pem"], PathBuf::from("c.pem"));
        assert_eq!(stir.revocations, ["gone.crl", "gone.pem"].map(PathBuf::from));
        for wrong in [certificates, revocations] {
            assert_eq!(Settings::load(None, env(&[wrong])).unwrap_err().len(), 1, "{wrong:?}");
        }
        assert_eq!(Settings::load(None, env(&[])).unwrap().sip.stir, None);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let vars = [("TOLLBRIDGE__SIP__LISTEN", "[\"sctp:x\"]"), ("TOLLBRIDGE__MEDIA__PORT", "1")];
        let mistakes = Settings::load(None, env(&vars)).unwrap_err();
        let told: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told.iter().any(|t| t.contains("did you mean \"ports\"")), "{told:?}");
    }
}
