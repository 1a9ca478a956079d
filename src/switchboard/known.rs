//! Carriers and we: whom SIP may listen to, by which name and password we know each other, whether they are there, and
//! whether we are registered with them.

use super::ask::CarrierView;
use super::{Output, Switchboard};
use crate::clock::{Now, Wall};
use crate::notice::{Kind, alert};
use crate::sip::{self, Asked, Flow, Login, Peer, Registration, Standing, Way};
use crate::store::Raise;
use crate::telemetry::name;
use crate::trunk::{Algorithm, Carrier, Challenge, Directory, Register, Route, Source, Transport};
use crate::types::CarrierId;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How we stand with a carrier, and since when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    up: Option<(bool, Wall)>,
    /// Registered, or the status that says why not.
    registered: Option<(Result<(), u16>, Wall)>,
}

/// The names in the certificates of those whom we call by TLS, and register with.
pub fn tls_names(directory: &Directory) -> Vec<(SocketAddr, Arc<str>)> {
    let of = |carrier: &Carrier| {
        let name: Arc<str> = carrier.tls_name.as_deref().map(Arc::from)?;
        let registrar = carrier.register.as_ref().map(|register| register.registrar);
        let ways = [carrier.route, registrar].into_iter().flatten();
        let ways: Vec<_> = ways.filter(|way| way.transport == Transport::Tls).map(|way| way.address).collect();
        Some(ways.into_iter().map(move |way| (way, name.clone())))
    };
    directory.carriers().iter().filter_map(of).flatten().collect()
}

impl Switchboard {
    /// Who has to prove something comes first: at no moment is somebody heard who should have been asked.
    pub(super) fn tell_sources(&mut self) {
        let usual = self.config.udp.or(self.config.tcp).or(self.config.tls);
        let advertised = usual.filter(|(bound, advertised)| bound != advertised).map(|(_, shown)| shown);
        let of = |carrier: &Carrier, source: &Source| sip::Source {
            network: source.network,
            prefix_len: source.prefix_len,
            port: source.port,
            advertise: carrier.advertise.or(advertised),
            old_syntax: carrier.old_syntax,
            tls_name: carrier.tls_name.as_deref().map(Arc::from),
        };
        let facts = self.facts.clone();
        let mut asked = Vec::new();
        let mut sources = Vec::new();
        for carrier in facts.directory.carriers() {
            let from: Vec<sip::Source> = carrier.places().map(|source| of(carrier, &source)).collect();
            let challenge = carrier.digest.as_ref().map(|digest| (digest.challenge, digest.algorithm));
            if let (Some((challenge @ (Challenge::Calls | Challenge::All), algorithm)), Some(login)) =
                (challenge, self.login_of(carrier))
            {
                asked.push(Asked {
                    login,
                    from: from.clone(),
                    options: challenge == Challenge::All,
                    sha256: algorithm != Algorithm::Md5,
                    md5: algorithm != Algorithm::Sha256,
                });
            }
            sources.extend(from);
        }
        self.say(Output::Sip(sip::Command::Asked(asked)));
        self.say(Output::Sip(sip::Command::Sources(sources)));
        self.say(Output::Sip(sip::Command::Names(tls_names(&facts.directory))));
        self.tell_peers();
    }

    /// With whom SIP keeps in touch. A carrier whose password is not read yet waits for it: a registration without would only
    /// be refused.
    fn tell_peers(&mut self) {
        let facts = self.facts.clone();
        let peers: Vec<Peer> = facts.directory.carriers().iter().filter_map(|carrier| self.peer_of(carrier)).collect();
        let kept: BTreeSet<&str> = peers.iter().map(|peer| peer.owner.as_str()).collect();
        self.standings.retain(|carrier, _| kept.contains(carrier.as_str()));
        // Whatever is not kept any more is neither up nor down.
        for (carrier, known) in &mut self.standings {
            let now = facts.directory.carrier(carrier);
            known.up = known.up.filter(|_| now.is_some_and(|carrier| carrier.ping_s.is_some()));
            known.registered = known.registered.filter(|_| now.is_some_and(|carrier| carrier.register.is_some()));
        }
        self.say(Output::Sip(sip::Command::Peers(peers)));
    }

    fn peer_of(&self, carrier: &Carrier) -> Option<Peer> {
        let login = self.login_of(carrier).map(Arc::new);
        if login.as_ref().is_some_and(|login| login.password.is_none()) {
            return None;
        }
        let every = carrier.ping_s.map(|s| Duration::from_secs(u64::from(s)));
        let ping = carrier.route.and_then(|route| self.way(carrier, route)).zip(every);
        let registration = |register: &Register| {
            let way = self.way(carrier, register.registrar)?;
            let (user, host) = (register.aor.user().to_owned(), register.aor.host().to_owned());
            Some(Registration { way, user, host, expires_s: register.expires_s })
        };
        let register = carrier.register.as_ref().and_then(registration);
        let is_kept = ping.is_some() || register.is_some();
        is_kept.then(|| Peer { owner: carrier.id.to_string(), login, ping, register })
    }

    /// From where of ours, and under which address, a carrier is spoken to there; `None` where we do not speak so.
    pub(super) fn way(&self, carrier: &Carrier, route: Route) -> Option<Way> {
        let (transport, addresses) = match route.transport {
            Transport::Udp => (sip::Transport::Udp, self.config.udp),
            Transport::Tcp => (sip::Transport::Tcp, self.config.tcp),
            Transport::Tls => (sip::Transport::Tls, self.config.tls),
        };
        let (bound, advertised) = addresses?;
        // What a carrier has of its own is the port of plain SIP.
        let contact = match (carrier.advertise, transport) {
            (Some(shown), sip::Transport::Tls) => SocketAddr::new(shown.ip(), bound.port()),
            (shown, _) => shown.unwrap_or(advertised),
        };
        Some(Way { flow: Flow { transport, local: bound, peer: route.address }, contact })
    }

    /// SIP tells of a change.
    pub(super) fn stands(&mut self, now: Now, owner: &str, standing: Standing) {
        let Ok(carrier) = owner.parse::<CarrierId>() else { return };
        let Some(route) = self.facts.directory.carrier(&carrier).map(|carrier| carrier.route) else { return };
        let known = self.standings.entry(carrier).or_default();
        let was_down = known.up.is_some_and(|(up, _)| !up);
        let was_failed = known.registered.is_some_and(|(registered, _)| registered.is_err());
        let route = route.map(|route| route.to_string()).unwrap_or_default();
        let (gauge, value) = match standing {
            Standing::Up | Standing::Down => (name::CARRIER_UP, standing == Standing::Up),
            Standing::Registered { .. } | Standing::Unregistered { .. } => {
                (name::CARRIER_REGISTERED, matches!(standing, Standing::Registered { .. }))
            }
        };
        metrics::gauge!(gauge, "carrier" => owner.to_owned()).set(u32::from(value));
        let told = match standing {
            Standing::Up => {
                known.up = Some((true, now.wall));
                was_down.then(|| (Kind::CarrierBack, alert::facts([("carrier", owner.to_owned()), ("route", route)])))
            }
            Standing::Down => {
                known.up = Some((false, now.wall));
                Some((Kind::CarrierDown, alert::facts([("carrier", owner.to_owned()), ("route", route)])))
            }
            Standing::Registered { .. } => {
                known.registered = Some((Ok(()), now.wall));
                None
            }
            Standing::Unregistered { status } => {
                known.registered = Some((Err(status), now.wall));
                let facts = alert::facts([("carrier", owner.to_owned()), ("status", status.to_string())]);
                (!was_failed).then_some((Kind::CarrierUnregistered, facts))
            }
        };
        match standing {
            Standing::Up | Standing::Registered { .. } => tracing::info!(carrier = owner, ?standing, "carrier"),
            Standing::Down | Standing::Unregistered { .. } => tracing::warn!(carrier = owner, ?standing, "carrier"),
        }
        if let Some((kind, facts)) = told {
            let key = format!("{}:{owner}:{}", kind.slug(), now.wall.micros());
            self.say(Output::Raise(Raise { key, kind, organisation: None, at: now.wall, facts }));
        }
    }

    /// It has not answered for a while: no call goes there.
    pub(super) fn is_down(&self, carrier: &CarrierId) -> bool {
        self.standings.get(carrier).and_then(|known| known.up).is_some_and(|(up, _)| !up)
    }

    pub(super) fn carrier_views(&self) -> Vec<CarrierView> {
        let view = |carrier: &Carrier| {
            let known = self.standings.get(&carrier.id).copied().unwrap_or_default();
            let word = |known: Option<bool>, words: [&str; 2]| match known {
                None => "unknown".to_owned(),
                Some(good) => words[usize::from(!good)].to_owned(),
            };
            let up = known.up.map(|(up, _)| up);
            let registered = known.registered.map(|(registered, _)| registered.is_ok());
            CarrierView {
                id: carrier.id.to_string(),
                reach: carrier.ping_s.map(|_| word(up, ["up", "down"])),
                reach_since: known.up.map(|(_, since)| since.seconds()),
                registration: carrier.register.as_ref().map(|_| word(registered, ["registered", "failed"])),
                registration_since: known.registered.map(|(_, since)| since.seconds()),
                registration_status: known.registered.and_then(|(registered, _)| registered.err()),
                locked: carrier.locked.clone(),
            }
        };
        self.facts.directory.carriers().iter().map(view).collect()
    }

    /// The name and password of a carrier, if it has one.
    pub(super) fn login_of(&self, carrier: &Carrier) -> Option<Login> {
        let digest = carrier.digest.as_ref()?;
        Some(Login {
            owner: carrier.id.to_string(),
            username: digest.username.clone(),
            password: self.passwords.get(&digest.password).cloned(),
            realm: digest.realm.clone(),
        })
    }
}
