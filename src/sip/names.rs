//! Names within the endpoint: for whom each is looked up, and what is done once it leads somewhere.
//!
//! Nobody waits who can do without: a request within a call goes where the call came from until the name of its next hop is
//! known. Only what has no other way waits: new calls, peers, and the BYE of a call whose connection is gone.

use super::desk::Alarm;
use super::dialog::Dialog;
use super::dns::{Found, Goal, Outcome, PATIENCE, Place, Question, Resolver, SHUNNED, Said, Target, UNSURE, Why};
use super::endpoint::Endpoint;
use super::peer::Way;
use super::{Call, Event, Flow, Output, Reason, Transport};
use crate::clock::Mono;
use crate::types::HostName;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Names that were told as not found, so that each is told once.
const MOST_UNFOUND: usize = 256;
/// Names of senders are looked up no more often, and no less often, than this.
const FRESH_LEAST: Duration = Duration::from_secs(5);
const FRESH_MOST: Duration = Duration::from_secs(3_600);
/// After a failure they are looked up again.
const FRESH_AGAIN: Duration = Duration::from_secs(15);
/// Names of senders that are kept fresh.
const MOST_SENDERS: usize = 1_024;

/// For whom a name is looked up.
#[derive(Debug)]
pub(in crate::sip) enum Errand {
    /// Our owner wants to dial.
    Dial(Call),
    Ping(u32),
    Register(u32),
    /// The next hop of requests within a call.
    Hop(Call),
    /// That of what a watcher is told.
    Notify(u64),
    /// The BYE that ends it.
    Part(Call),
    Senders(u64),
}

#[derive(Debug)]
struct Quest {
    errand: Errand,
    place: Option<Arc<Place>>,
}

#[derive(Debug)]
pub(in crate::sip) struct Names {
    resolver: Resolver,
    quests: BTreeMap<u64, Quest>,
    /// Hosts whose addresses say who rings, and what is known of them.
    senders: BTreeMap<u64, (HostName, Vec<IpAddr>)>,
    numbered: u64,
    /// Why a call is ended whose BYE waits for a name.
    farewells: HashMap<Call, Option<Reason>>,
    unfound: BTreeSet<HostName>,
}

impl Names {
    pub fn new(seed: u64) -> Names {
        Names {
            resolver: Resolver::new(seed),
            quests: BTreeMap::new(),
            senders: BTreeMap::new(),
            numbered: 0,
            farewells: HashMap::new(),
            unfound: BTreeSet::new(),
        }
    }

    /// What became of a request on this flow: whoever is silent or refuses all is asked last for a while.
    pub fn note(&mut self, now: Mono, flow: Flow, failed: Option<Duration>) {
        let target = Target { transport: flow.transport, peer: flow.peer };
        match failed {
            Some(wait) => self.resolver.shun(now, target, wait),
            None => self.resolver.trust(target),
        }
    }

    pub fn no_answer(&mut self, now: Mono, flow: Flow) {
        self.note(now, flow, Some(SHUNNED));
    }
}

impl Endpoint {
    /// DNS has answered, or could not.
    pub fn looked_up(&mut self, now: Mono, question: Question, outcome: Outcome) {
        self.desk.now = now;
        self.names.resolver.hear(now, question, outcome);
        self.drain_names();
    }

    pub(in crate::sip) fn seek(&mut self, errand: Errand, place: Arc<Place>) {
        self.begin_quest(Goal::Place(place.clone()), Quest { errand, place: Some(place) });
    }

    fn begin_quest(&mut self, goal: Goal, quest: Quest) {
        let search = match quest.errand {
            Errand::Hop(_) | Errand::Notify(_) => self.names.resolver.begin_for_others(self.desk.now, goal),
            _ => self.names.resolver.begin(self.desk.now, goal),
        };
        self.names.quests.insert(search, quest);
        self.desk.set(Alarm::Search(search), PATIENCE);
        self.drain_names();
    }

    /// A name has taken too long.
    pub(in crate::sip) fn search_alarm(&mut self) {
        self.names.resolver.wake(self.desk.now);
        self.drain_names();
    }

    fn drain_names(&mut self) {
        while let Some(said) = self.names.resolver.poll() {
            match said {
                Said::Ask(question) => {
                    self.desk.counters.names_asked += 1;
                    self.desk.out.push_back(Output::Ask(question));
                }
                Said::Done { search, found } => {
                    self.desk.timers.stop(Alarm::Search(search));
                    if let Some(quest) = self.names.quests.remove(&search) {
                        self.found(quest, found);
                    }
                }
            }
        }
    }

    fn found(&mut self, quest: Quest, found: Found) {
        let Quest { errand, place } = quest;
        let asks = matches!(errand, Errand::Dial(_) | Errand::Ping(_) | Errand::Register(_));
        let (ways, found) = match (&place, found) {
            (Some(place), Found::Targets(targets)) => match self.ways(place, &targets, asks) {
                (ways, true) if ways.is_empty() => (ways, Found::Nothing(Why::OtherName)),
                (ways, _) => (ways, Found::Targets(targets)),
            },
            (_, found) => (Vec::new(), found),
        };
        if let Some(place) = &place {
            self.tell_unfound(&place.host, &found);
        }
        match errand {
            Errand::Dial(call) => self.desk.tell(Event::Located { call, ways }),
            Errand::Ping(number) => self.ping_by(number, ways.first().copied()),
            Errand::Register(number) => self.register_by(number, ways),
            Errand::Hop(call) => self.hop_found(call, place.as_deref(), &ways),
            Errand::Notify(number) => {
                let dialog = self.watch_dialog(number).cloned();
                if let Some(found) = dialog.map(|dialog| self.found_hop(&dialog, place.as_deref(), &ways))
                    && let Some(dialog) = self.watch_dialog(number)
                {
                    dialog.found = Some(found);
                }
            }
            Errand::Part(call) => {
                self.hop_found(call, place.as_deref(), &ways);
                let reason = self.names.farewells.remove(&call).flatten();
                self.say_goodbye(call, reason);
            }
            Errand::Senders(number) => self.senders_found(number, found),
        }
    }

    /// Each name once, until it is found again.
    fn tell_unfound(&mut self, host: &HostName, found: &Found) {
        let Found::Nothing(why) = found else {
            self.names.unfound.remove(host);
            return;
        };
        self.desk.counters.names_unfound += 1;
        if self.names.unfound.len() < MOST_UNFOUND && self.names.unfound.insert(host.clone()) {
            self.desk.out.push_back(Output::Unfound { host: host.clone(), why: why.words() });
        }
    }

    /// What we speak, to where the name leads, and whether any was left out since by TLS another name is to be shown there.
    /// Only what we ask for ourselves says what is to be shown.
    fn ways(&mut self, place: &Place, targets: &[Target], asks: bool) -> (Vec<Way>, bool) {
        let (mut ways, mut left_out) = (Vec::new(), false);
        for target in targets {
            let fits = |bound: SocketAddr| bound.is_ipv4() == target.peer.is_ipv4();
            let mut locals = place.locals.iter();
            let Some(local) = locals.find(|local| local.transport == target.transport && fits(local.bound)) else {
                continue;
            };
            if asks && target.transport == Transport::Tls && !self.gate.learn(target.peer, &place.tls_name) {
                left_out = true;
                continue;
            }
            let flow = Flow { transport: target.transport, local: local.bound, peer: target.peer };
            ways.push(Way { flow, contact: local.contact });
        }
        (ways, left_out)
    }

    // ------------------------------------------------------------------------------------------------------- within a call

    /// Looks up the next hop of a call where it is a name and requests do not simply go by the connection.
    pub(in crate::sip) fn scout(&mut self, call: Call) {
        let Some(session) = self.sessions.get(&call) else { return };
        let by_connection = session.dialog.flow.transport.is_stream() && !session.lost;
        if by_connection || session.dialog.knows_hop() {
            return;
        }
        if let Some(place) = session.dialog.place(&self.gate) {
            self.seek(Errand::Hop(call), place);
        }
    }

    /// Whether the BYE of a call must wait for a name: its connection is gone, and there is no other way.
    pub(in crate::sip) fn waits_for_hop(&mut self, call: Call, reason: &Option<Reason>) -> bool {
        let Some(session) = self.sessions.get(&call).filter(|session| session.lost) else { return false };
        let Some(place) = session.dialog.place(&self.gate).filter(|_| !session.dialog.knows_hop()) else {
            return false;
        };
        self.names.farewells.insert(call, reason.clone());
        self.seek(Errand::Part(call), place);
        true
    }

    fn hop_found(&mut self, call: Call, place: Option<&Place>, ways: &[Way]) {
        let Some(dialog) = self.sessions.get(&call).map(|session| session.dialog.clone()) else { return };
        let found = self.found_hop(&dialog, place, ways);
        if let Some(session) = self.sessions.get_mut(&call) {
            session.dialog.found = Some(found);
        }
    }

    /// The next hop of a dialog, and by TLS what it is to show.
    fn found_hop(&mut self, dialog: &Dialog, place: Option<&Place>, ways: &[Way]) -> (String, Option<SocketAddr>) {
        let found = self.next_hop(dialog, ways);
        let by_tls = place.filter(|place| place.transport == Some(Transport::Tls));
        if let (Some(place), Some(peer)) = (by_tls, found.1) {
            self.gate.hint(peer, &place.tls_name);
        }
        found
    }

    /// Of what a name led to the first that may be spoken to: whoever we speak with already, and known peers. `None` in it:
    /// there is none.
    fn next_hop(&self, dialog: &Dialog, ways: &[Way]) -> (String, Option<SocketAddr>) {
        let is_fit = |peer: IpAddr| peer == dialog.flow.peer.ip() || self.gate.is_known(peer);
        let peer = ways.iter().map(|way| way.flow.peer).find(|peer| is_fit(peer.ip()));
        (dialog.next().host().to_owned(), peer)
    }

    // -------------------------------------------------------------------------------------------------------- who is it

    /// From now on these names of hosts are kept fresh; what is not among them is forgotten.
    pub(in crate::sip) fn watch(&mut self, hosts: Vec<HostName>) {
        let wanted: BTreeSet<HostName> = hosts.into_iter().take(MOST_SENDERS).collect();
        let known = self.names.senders.iter();
        let gone: Vec<u64> = known.filter(|(_, (host, _))| !wanted.contains(host)).map(|(number, _)| *number).collect();
        for number in gone {
            self.names.senders.remove(&number);
            self.desk.timers.stop(Alarm::Senders(number));
        }
        let known: BTreeSet<HostName> = self.names.senders.values().map(|(host, _)| host.clone()).collect();
        for host in wanted.difference(&known) {
            self.names.numbered += 1;
            self.names.senders.insert(self.names.numbered, (host.clone(), Vec::new()));
            self.look_for_senders(self.names.numbered);
        }
    }

    pub(in crate::sip) fn look_for_senders(&mut self, number: u64) {
        if let Some((host, _)) = self.names.senders.get(&number) {
            self.begin_quest(Goal::Senders(host.clone()), Quest { errand: Errand::Senders(number), place: None });
        }
    }

    /// New addresses are told; while DNS is away, in whole or in part, the last ones stand: whoever is not among half of them
    /// would be a stranger. A name that does not exist any more has none.
    fn senders_found(&mut self, number: u64, found: Found) {
        let Some((host, known)) = self.names.senders.get(&number) else { return };
        let (host, is_new) = (host.clone(), known.is_empty());
        self.tell_unfound(&host, &found);
        let (now_known, wait) = match found {
            Found::Senders(addresses, UNSURE) => (Some(addresses).filter(|_| is_new), FRESH_AGAIN),
            Found::Senders(addresses, ttl) => (Some(addresses), ttl.clamp(FRESH_LEAST, FRESH_MOST)),
            Found::Nothing(Why::NoAddress) => (Some(Vec::new()), FRESH_AGAIN),
            Found::Nothing(_) | Found::Targets(_) => (None, FRESH_AGAIN),
        };
        self.desk.set(Alarm::Senders(number), wait);
        let Some((_, known)) = self.names.senders.get_mut(&number) else { return };
        if let Some(addresses) = now_known.filter(|addresses| addresses != known) {
            known.clone_from(&addresses);
            self.desk.tell(Event::Senders { host, addresses });
        }
    }
}
