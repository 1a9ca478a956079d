//! Carriers and we: whom SIP may listen to, by which name and password we know each other, whether they are there, and
//! whether we are registered with them.

use super::ask::CarrierView;
use super::{Output, Switchboard};
use crate::clock::{Now, Wall};
use crate::notice::{Kind, alert};
use crate::sip::{self, Asked, Flow, Local, Login, Peer, Place, Registration, Standing, Toward, Way};
use crate::store::Raise;
use crate::trunk::{Algorithm, Carrier, Challenge, Directory, Register, Route, Source, Transport};
use crate::types::{CarrierId, HostName};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
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
        let registrar = carrier.register.as_ref().map(|register| &register.registrar);
        let routes = [carrier.route.as_ref(), registrar].into_iter().flatten();
        let by_tls = |route: &Route| route.address().filter(|_| route.transport() == Some(Transport::Tls));
        let ways: Vec<_> = routes.filter_map(by_tls).collect();
        Some(ways.into_iter().map(move |way| (way, name.clone())))
    };
    directory.carriers().iter().filter_map(of).flatten().collect()
}

fn spoken(transport: Transport) -> sip::Transport {
    match transport {
        Transport::Udp | Transport::UdpOnly => sip::Transport::Udp,
        Transport::Tcp => sip::Transport::Tcp,
        Transport::Tls => sip::Transport::Tls,
    }
}

impl Switchboard {
    /// Who has to prove something comes first: at no moment is somebody heard who should have been asked.
    pub(super) fn tell_sources(&mut self) {
        let advertised = |of_v4: bool| {
            let usual = self.config.locals.iter().find(|local| local.bound.is_ipv4() == of_v4);
            usual.filter(|local| local.bound != local.contact).map(|local| local.contact)
        };
        let advertised = [advertised(false), advertised(true)];
        let of = |carrier: &Carrier, source: &Source| sip::Source {
            network: source.network,
            prefix_len: source.prefix_len,
            port: source.port,
            owner: Some(Arc::from(carrier.id.as_str())),
            advertise: carrier.advertise.or(advertised[usize::from(source.network.is_ipv4())]),
            old_syntax: carrier.old_syntax,
            tls_name: carrier.tls_name.as_deref().map(Arc::from),
            tls_only: carrier.tls_only || carrier.calls_by_name(),
        };
        let facts = self.facts.clone();
        let named: BTreeSet<HostName> = facts.directory.carriers().iter().flat_map(Carrier::hosts).cloned().collect();
        self.hosts.retain(|host, _| named.contains(host));
        let mut asked = Vec::new();
        let mut sources = Vec::new();
        for carrier in facts.directory.carriers() {
            let mut from: Vec<sip::Source> =
                carrier.places(&self.hosts).iter().map(|source| of(carrier, source)).collect();
            if carrier.calls_by_name() {
                let anywhere = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
                from.extend(anywhere.map(|network| of(carrier, &Source { network, prefix_len: 0, port: None })));
            }
            // As long as nobody knows where its name leads it is not one that may call from anywhere.
            if from.is_empty() && !carrier.calls_from_anywhere() {
                continue;
            }
            let challenge = carrier.digest.as_ref().map(|digest| (digest.challenge, digest.algorithm));
            if let (Some((challenge @ (Challenge::Calls | Challenge::All), algorithm)), Some(login)) =
                (challenge, self.login_of(carrier))
            {
                let proof = Asked {
                    login,
                    from: from.clone(),
                    options: challenge == Challenge::All,
                    sha256: algorithm != Algorithm::Md5,
                    md5: algorithm != Algorithm::Sha256,
                };
                // Known by its certificate or, by other ways, by its password.
                asked.extend(
                    (carrier.calls_from_anywhere() && !from.is_empty())
                        .then(|| Asked { from: Vec::new(), ..proof.clone() }),
                );
                asked.push(proof);
            }
            sources.extend(from);
        }
        self.say(Output::Sip(sip::Command::Asked(asked)));
        self.say(Output::Sip(sip::Command::Sources(sources)));
        self.say(Output::Sip(sip::Command::Names(tls_names(&facts.directory))));
        self.say(Output::Sip(sip::Command::Watch(named.into_iter().collect())));
        self.tell_peers();
    }

    /// A name of a source leads elsewhere now, or nowhere any more.
    pub(super) fn senders(&mut self, host: HostName, addresses: Vec<IpAddr>) {
        tracing::info!(%host, ?addresses, "a carrier's name leads here");
        self.hosts.insert(host, addresses);
        self.tell_sources();
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
        let ping = carrier.route.as_ref().and_then(|route| self.toward(carrier, route)).zip(every);
        let registration = |register: &Register| {
            let toward = self.toward(carrier, &register.registrar)?;
            let (user, host) = (register.aor.user().to_owned(), register.aor.host().to_owned());
            Some(Registration { toward, user, host, expires_s: register.expires_s })
        };
        let register = carrier.register.as_ref().and_then(registration);
        let is_kept = ping.is_some() || register.is_some();
        is_kept.then(|| Peer { owner: carrier.id.to_string(), login, ping, register })
    }

    /// From where of ours, and under which address, a carrier is spoken to there; `None` where we do not speak so.
    pub(super) fn toward(&self, carrier: &Carrier, route: &Route) -> Option<Toward> {
        let mut locals = self.locals(carrier);
        let (host, port) = match route {
            Route::Address(transport, peer) => {
                let transport = spoken(*transport);
                let fits = |local: &Local| local.transport == transport && local.bound.is_ipv4() == peer.is_ipv4();
                let local = locals.into_iter().find(fits)?;
                let flow = Flow { transport, local: local.bound, peer: *peer };
                return Some(Toward::Way(Way { flow, contact: local.contact }));
            }
            Route::Name(_, host, port) => (host.clone(), *port),
        };
        let transport = route.transport().map(spoken);
        locals.retain(|local| transport.is_none_or(|transport| local.transport == transport));
        let tls_name = Arc::from(carrier.tls_name.as_deref().unwrap_or(host.as_str()));
        (!locals.is_empty()).then(|| Toward::Place(Arc::new(Place { host, port, transport, locals, tls_name })))
    }

    /// The same place by TCP, for what is too long for a datagram; `None` where it goes by UDP all the same: that is what the
    /// carrier wants, or we do not speak TCP.
    pub(super) fn tcp_instead(&self, carrier: &Carrier, way: Way) -> Option<Way> {
        let Flow { transport, peer, .. } = way.flow;
        let said = carrier.route.as_ref().and_then(Route::transport);
        if transport != sip::Transport::Udp || said == Some(Transport::UdpOnly) {
            return None;
        }
        let fits = |local: &Local| local.transport == sip::Transport::Tcp && local.bound.is_ipv4() == peer.is_ipv4();
        let local = self.locals(carrier).into_iter().find(fits)?;
        let flow = Flow { transport: sip::Transport::Tcp, local: local.bound, peer };
        Some(Way { flow, contact: local.contact })
    }

    /// What we speak with a carrier, the most usual first.
    fn locals(&self, carrier: &Carrier) -> Vec<Local> {
        let of = |local: &Local| {
            // What a carrier has of its own is of one family, and its port that of plain SIP.
            let shown = carrier.advertise.filter(|shown| shown.is_ipv4() == local.bound.is_ipv4());
            let contact = match (shown, local.transport) {
                (Some(shown), sip::Transport::Tls) => SocketAddr::new(shown.ip(), local.contact.port()),
                (shown, _) => shown.unwrap_or(local.contact),
            };
            Local { contact, ..*local }
        };
        self.config.locals.iter().map(of).collect()
    }

    /// SIP tells of a change.
    pub(super) fn stands(&mut self, now: Now, owner: &str, standing: Standing) {
        let Ok(carrier) = owner.parse::<CarrierId>() else { return };
        let Some(route) = self.facts.directory.carrier(&carrier).map(|carrier| carrier.route.clone()) else { return };
        let known = self.standings.entry(carrier).or_default();
        let was_down = known.up.is_some_and(|(up, _)| !up);
        let was_failed = known.registered.is_some_and(|(registered, _)| registered.is_err());
        let route = route.map(|route| route.to_string()).unwrap_or_default();
        let told = match standing {
            Standing::Up => {
                known.up = Some((true, now.wall));
                was_down.then(|| (Kind::CarrierBack, alert::facts([("carrier", owner.to_owned()), ("route", route)])))
            }
            Standing::Down => {
                // One that is changed while it is down is asked anew, and found as it was.
                if !was_down {
                    known.up = Some((false, now.wall));
                }
                let facts = alert::facts([("carrier", owner.to_owned()), ("route", route)]);
                (!was_down).then_some((Kind::CarrierDown, facts))
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

    pub(super) fn carrier_views(&self, now: Now) -> Vec<CarrierView> {
        let live = self.live_calls();
        let view = |carrier: &Carrier| {
            let [inbound, outbound] = self.tally_views(&carrier.id, live.get(&carrier.id).copied().unwrap_or_default());
            let rest = self.resting.get(&carrier.id).map(|until| until.since(now.mono)).filter(|rest| !rest.is_zero());
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
                rests_until: rest.map(|rest| now.wall.seconds() + rest.as_secs().cast_signed()),
                inbound,
                outbound,
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
