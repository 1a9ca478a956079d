//! Many names located at once: what is asked, what is known, who is waited for.

use super::cache::Cache;
use super::locate::{Place, Step, Target, Why, addresses, locate};
use super::{Failure, Outcome, Question};
use crate::clock::Mono;
use crate::types::HostName;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Names that are being located.
pub(super) const MOST_SEARCHES: usize = 1_024;
/// Questions that are out.
pub(super) const MOST_OUT: usize = 256;
/// Questions that one name may take: twice what the longest way needs.
pub(super) const MOST_QUESTIONS: usize = 48;
/// A name is not located for longer. Whoever asks servers gives up on each question well before.
pub(in crate::sip) const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever did not answer is tried last for so long (RFC 3263 section 4.3), unless they named a time themselves.
pub(in crate::sip) const SHUNNED: Duration = Duration::from_secs(60);
pub(super) const LONGEST_SHUNNED: Duration = Duration::from_secs(600);
/// Targets that are remembered for it.
pub(super) const MOST_SHUNNED: usize = 256;

/// What is wanted of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Goal {
    /// Where to send.
    Place(Arc<Place>),
    /// Who sends.
    Senders(HostName),
}

/// What came of it. Neither list is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Found {
    Targets(Vec<Target>),
    /// And for how long they are so, or [`super::UNSURE`].
    Senders(Vec<IpAddr>, Duration),
    Nothing(Why),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Said {
    Ask(Question),
    Done { search: u64, found: Found },
}

#[derive(Debug)]
struct Search {
    goal: Goal,
    seed: u64,
    /// What it has learnt: an answer that may not be kept is good for who asked.
    facts: BTreeMap<Question, Arc<Outcome>>,
    until: Mono,
    /// It asks no more while so many questions are out.
    most_out: usize,
}

#[derive(Debug)]
pub(in crate::sip) struct Resolver {
    rng: StdRng,
    cache: Cache,
    searches: BTreeMap<u64, Search>,
    numbered: u64,
    /// Questions that are out, and who waits for each.
    out: BTreeMap<Question, BTreeSet<u64>>,
    shunned: BTreeMap<Target, Mono>,
    said: VecDeque<Said>,
}

impl Resolver {
    pub fn new(seed: u64) -> Resolver {
        Resolver {
            rng: StdRng::seed_from_u64(seed),
            cache: Cache::default(),
            searches: BTreeMap::new(),
            numbered: 0,
            out: BTreeMap::new(),
            shunned: BTreeMap::new(),
            said: VecDeque::new(),
        }
    }

    /// Begins to look for a goal: its number, by which it is told when it is done.
    pub fn begin(&mut self, now: Mono, goal: Goal) -> u64 {
        self.begin_within(now, goal, MOST_SEARCHES, MOST_OUT)
    }

    /// The same for a name that somebody else has said: half of the room is kept for those that we ask for ourselves.
    pub fn begin_for_others(&mut self, now: Mono, goal: Goal) -> u64 {
        self.begin_within(now, goal, MOST_SEARCHES / 2, MOST_OUT / 2)
    }

    fn begin_within(&mut self, now: Mono, goal: Goal, most_searches: usize, most_out: usize) -> u64 {
        self.numbered += 1;
        let search = self.numbered;
        if self.searches.len() >= most_searches {
            self.done(search, Found::Nothing(Why::Failure(Failure::Busy)));
            return search;
        }
        let seed = self.rng.random();
        self.searches.insert(search, Search { goal, seed, most_out, facts: BTreeMap::new(), until: now + PATIENCE });
        self.go_on(now, search);
        search
    }

    /// What came of a question that was asked.
    pub fn hear(&mut self, now: Mono, question: Question, outcome: Outcome) {
        let Some(waiting) = self.out.remove(&question) else { return };
        let believed = self.cache.put(now, question.clone(), outcome);
        for search in waiting {
            if let Some(waiter) = self.searches.get_mut(&search) {
                waiter.facts.insert(question.clone(), believed.clone());
                self.go_on(now, search);
            }
        }
    }

    /// What has waited for too long has failed.
    pub fn wake(&mut self, now: Mono) {
        let late: Vec<Question> = self
            .out
            .iter()
            .filter(|(_, waiting)| waiting.iter().all(|search| self.is_late(*search, now)))
            .map(|(question, _)| question.clone())
            .collect();
        for question in late {
            self.hear(now, question, Err(Failure::Silent));
        }
        let late: Vec<u64> = self.searches.keys().copied().filter(|search| self.is_late(*search, now)).collect();
        for search in late {
            self.done(search, Found::Nothing(Why::Failure(Failure::Silent)));
        }
        // What the last of them has asked in vain is nobody's question any more.
        let searches = &self.searches;
        self.out.retain(|_, waiting| waiting.iter().any(|search| searches.contains_key(search)));
    }

    fn is_late(&self, search: u64, now: Mono) -> bool {
        self.searches.get(&search).is_none_or(|search| search.until <= now)
    }

    pub fn poll(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// They did not answer, or said that they take nothing for a while: all others come first.
    pub fn shun(&mut self, now: Mono, target: Target, wait: Duration) {
        self.shunned.retain(|_, until| *until > now);
        if self.shunned.len() >= MOST_SHUNNED
            && let Some(first) = self.shunned.iter().min_by_key(|(target, until)| (**until, **target))
        {
            let first = *first.0;
            self.shunned.remove(&first);
        }
        self.shunned.insert(target, now + wait.min(LONGEST_SHUNNED));
    }

    /// They answer.
    pub fn trust(&mut self, target: Target) {
        self.shunned.remove(&target);
    }

    fn go_on(&mut self, now: Mono, number: u64) {
        loop {
            let Some(search) = self.searches.get_mut(&number) else { return };
            let facts = &search.facts;
            let known = |question: &Question| facts.get(question).map(AsRef::as_ref);
            let step = match &search.goal {
                Goal::Place(place) => by(locate(place, search.seed, &known), |targets, _| Found::Targets(targets)),
                Goal::Senders(host) => by(addresses(host, &known), Found::Senders),
            };
            let questions = match step {
                Ok(found) => return self.done_in_order(now, number, found),
                Err(questions) => questions,
            };
            if search.facts.len() + questions.len() > MOST_QUESTIONS {
                return self.done(number, Found::Nothing(Why::Failure(Failure::Senseless)));
            }
            let mut waits = false;
            for question in questions {
                match self.cache.get(now, &question) {
                    Some((outcome, left)) => drop(search.facts.insert(question, for_the_rest(outcome, left))),
                    None if self.out.len() >= search.most_out && !self.out.contains_key(&question) => {
                        search.facts.insert(question, Arc::new(Err(Failure::Busy)));
                    }
                    None => {
                        waits = true;
                        let waiting = self.out.entry(question.clone()).or_default();
                        if waiting.is_empty() {
                            self.said.push_back(Said::Ask(question));
                        }
                        waiting.insert(number);
                    }
                }
            }
            if waits {
                return;
            }
        }
    }

    fn done_in_order(&mut self, now: Mono, search: u64, mut found: Found) {
        if let Found::Targets(targets) = &mut found {
            // The sort is stable: among those that answer the order stays, and so it does among those that do not.
            targets.sort_by_key(|target| self.shunned.get(target).is_some_and(|until| *until > now));
        }
        self.done(search, found);
    }

    fn done(&mut self, search: u64, found: Found) {
        self.searches.remove(&search);
        self.said.push_back(Said::Done { search, found });
    }

    #[cfg(test)]
    fn sizes(&self) -> [usize; 4] {
        [self.searches.len(), self.out.len(), self.shunned.len(), self.cache.len()]
    }
}

/// What is left of the time for which an answer may be believed.
fn for_the_rest(outcome: Arc<Outcome>, left: Duration) -> Arc<Outcome> {
    match outcome.as_ref() {
        Ok(answer) if answer.ttl > left => Arc::new(Ok(super::Answer { ttl: left, ..answer.clone() })),
        _ => outcome,
    }
}

/// The end of a walk, or what it still wants.
fn by<T>(step: Step<T>, found: impl FnOnce(Vec<T>, Duration) -> Found) -> Result<Found, Vec<Question>> {
    match step {
        Step::Ask(questions) => Err(questions),
        Step::Found(all, ttl) => Ok(found(all, ttl)),
        Step::Nothing(why) => Ok(Found::Nothing(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Answer, Kind, Local, Record};
    use super::*;
    use crate::sip::Transport;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn place(name: &str) -> Goal {
        let bound: SocketAddr = "127.0.0.1:5060".parse().unwrap();
        let local = Local { transport: Transport::Udp, bound, contact: bound };
        let (host, tls_name) = (name.parse().unwrap(), Arc::from(name));
        Goal::Place(Arc::new(Place {
            host,
            port: None,
            transport: Some(Transport::Udp),
            locals: vec![local],
            tls_name,
        }))
    }

    fn at(s: u64) -> Mono {
        Mono::from_millis(s * 1_000)
    }

    fn said(resolver: &mut Resolver) -> Vec<Said> {
        std::iter::from_fn(|| resolver.poll()).collect()
    }

    fn asked(resolver: &mut Resolver) -> Vec<String> {
        let text = |said| match said {
            Said::Ask(question) => question.to_string(),
            Said::Done { search, found } => format!("{search}: {found:?}"),
        };
        said(resolver).into_iter().map(text).collect()
    }

    fn question(kind: Kind, name: &str) -> Question {
        Question { kind, name: name.to_owned() }
    }

    fn answer(ttl_s: u64, records: Vec<Record>) -> Outcome {
        Ok(Answer { records, ttl: Duration::from_secs(ttl_s) })
    }

    fn address(last: u8) -> Record {
        Record::Address([192, 0, 2, last].into())
    }

    fn target(last: u8) -> Target {
        Target { transport: Transport::Udp, peer: SocketAddr::new([192, 0, 2, last].into(), 5060) }
    }

    /// `a.example` has no services and these addresses.
    fn teach(resolver: &mut Resolver, now: Mono, ttl_s: u64, last: &[u8]) {
        resolver.hear(now, question(Kind::Srv, "_sip._udp.a.example"), answer(ttl_s, vec![]));
        let addresses = last.iter().map(|last| address(*last)).collect();
        resolver.hear(now, question(Kind::A, "a.example"), answer(ttl_s, addresses));
    }

    #[test]
    fn two_who_want_the_same_ask_once_and_a_third_not_at_all() {
        let mut resolver = Resolver::new(1);
        let (first, second) = (resolver.begin(at(0), place("a.example")), resolver.begin(at(0), place("a.example")));
        assert_eq!(asked(&mut resolver), ["SRV _sip._udp.a.example"]);
        teach(&mut resolver, at(1), 60, &[1]);
        let found = Found::Targets(vec![target(1)]);
        let done = |search| Said::Done { search, found: found.clone() };
        assert_eq!(said(&mut resolver)[1..], [done(first), done(second)]);
        let third = resolver.begin(at(60), place("a.example"));
        assert_eq!(said(&mut resolver), [done(third)]);
        resolver.begin(at(61), place("a.example"));
        assert_eq!(asked(&mut resolver), ["SRV _sip._udp.a.example"], "it has come to its end");
    }

    #[test]
    fn an_answer_that_may_not_be_kept_is_good_for_who_asked() {
        let mut resolver = Resolver::new(1);
        let search = resolver.begin(at(0), place("a.example"));
        teach(&mut resolver, at(0), 0, &[1]);
        let found = Found::Targets(vec![target(1)]);
        assert_eq!(said(&mut resolver).pop(), Some(Said::Done { search, found }));
    }

    #[test]
    fn who_did_not_answer_is_tried_last_for_a_while() {
        let mut resolver = Resolver::new(1);
        resolver.begin(at(0), place("a.example"));
        teach(&mut resolver, at(0), 3_600, &[1, 2, 3]);
        said(&mut resolver);
        // Which of them are first, and which last, of all orders that are drawn.
        let places = |now, resolver: &mut Resolver| {
            let (mut firsts, mut lasts) = (BTreeSet::new(), BTreeSet::new());
            for _ in 0..100 {
                resolver.begin(now, place("a.example"));
                let Some(Said::Done { found: Found::Targets(targets), .. }) = said(resolver).pop() else { panic!() };
                let ips: Vec<_> = targets.iter().map(|target| target.peer.ip().to_string()[8..].to_owned()).collect();
                assert_eq!(ips.len(), 3);
                firsts.insert(ips[0].clone());
                lasts.insert(ips[2].clone());
            }
            [firsts, lasts].map(|all| all.into_iter().collect::<Vec<_>>().join(" "))
        };
        assert_eq!(places(at(1), &mut resolver), ["1 2 3", "1 2 3"]);
        resolver.shun(at(1), target(1), SHUNNED);
        assert_eq!(places(at(60), &mut resolver), ["2 3", "1"]);
        resolver.shun(at(60), target(2), Duration::from_secs(1 << 40));
        assert_eq!(places(at(60), &mut resolver), ["3", "1 2"]);
        assert_eq!(places(at(61), &mut resolver), ["1 3", "2"]);
        resolver.trust(target(2));
        assert_eq!(places(at(61), &mut resolver), ["1 2 3", "1 2 3"]);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut resolver = Resolver::new(1);
        let search = resolver.begin(at(0), place("a.example"));
        said(&mut resolver);
        resolver.wake(at(9));
        assert_eq!(said(&mut resolver), []);
        resolver.wake(at(10));
        let found = Found::Nothing(Why::Failure(Failure::Silent));
        assert_eq!(said(&mut resolver), [Said::Done { search, found }]);
        assert_eq!(resolver.sizes(), [0, 0, 0, 1]);
        resolver.hear(at(11), question(Kind::A, "b.example"), answer(60, vec![address(1)]));
        assert_eq!(resolver.sizes()[3], 1, "what nobody asked is not believed");
    }

    #[test]
    fn whatever_is_asked_it_is_bounded() {
        let mut resolver = Resolver::new(1);
        let is_asked = |said: &Said| matches!(said, Said::Ask(_));
        for number in 0..2 * MOST_SEARCHES {
            resolver.begin_for_others(at(0), place(&format!("b{number}.example")));
        }
        assert_eq!(said(&mut resolver).iter().filter(|said| is_asked(said)).count(), MOST_OUT / 2);
        for number in 0..2 * MOST_SEARCHES {
            resolver.begin(at(0), place(&format!("a{number}.example")));
            resolver.shun(at(0), Target { peer: ([10, 0, 0, 1], number as u16).into(), ..target(1) }, SHUNNED);
        }
        let asked = said(&mut resolver).iter().filter(|said| is_asked(said)).count();
        assert_eq!(asked, MOST_OUT / 2, "kept for what we ask for ourselves");
        assert_eq!(resolver.sizes(), [MOST_OUT, MOST_OUT, MOST_SHUNNED, 0]);
    }

    #[test]
    fn whoever_sends_is_known_by_both_families() {
        let mut resolver = Resolver::new(1);
        let search = resolver.begin(at(0), Goal::Senders("a.example".parse().unwrap()));
        let services = ["_sip._udp", "_sip._tcp", "_sips._tcp"].map(|service| format!("{service}.a.example"));
        let mut all = vec!["A a.example".to_owned(), "AAAA a.example".to_owned()];
        all.extend(["_sip._udp", "_sip._tcp", "_sips._tcp"].map(|service| format!("SRV {service}.a.example")));
        all.push("NAPTR a.example".to_owned());
        assert_eq!(asked(&mut resolver), all);
        for service in &services {
            resolver.hear(at(0), question(Kind::Srv, service), answer(300, vec![]));
        }
        resolver.hear(at(0), question(Kind::Naptr, "a.example"), answer(300, vec![]));
        resolver.hear(at(0), question(Kind::Aaaa, "a.example"), answer(20, vec![]));
        resolver.hear(at(0), question(Kind::A, "a.example"), answer(60, vec![address(1), address(2)]));
        let both = vec![[192, 0, 2, 1].into(), [192, 0, 2, 2].into()];
        let found = Found::Senders(both.clone(), Duration::from_secs(20));
        assert_eq!(said(&mut resolver), [Said::Done { search, found }]);
        let search = resolver.begin(at(15), Goal::Senders("a.example".parse().unwrap()));
        let found = Found::Senders(both, Duration::from_secs(5));
        assert_eq!(said(&mut resolver), [Said::Done { search, found }], "as long as it is still good");
    }

    proptest! {
        /// Whatever servers say, each search ends, once, with something that was said.
        #[test]
        fn every_search_ends_once(
            names in proptest::collection::vec(0u8..4, 1..12),
            says in proptest::collection::vec((0u8..6, 0u8..4, 0u64..90), 0..60),
        ) {
            let mut resolver = Resolver::new(7);
            let (mut now, mut open, mut out) = (0, BTreeSet::new(), Vec::new());
            let mut says = says.into_iter();
            for name in names {
                open.insert(resolver.begin(at(now), place(&format!("n{name}.example"))));
                loop {
                    for said in said(&mut resolver) {
                        match said {
                            Said::Ask(question) => out.push(question),
                            Said::Done { search, found } => {
                                prop_assert!(open.remove(&search));
                                prop_assert!(!matches!(&found, Found::Targets(targets) if targets.is_empty()));
                            }
                        }
                    }
                    let (Some(question), Some((what, which, ttl_s))) = (out.pop(), says.next()) else { break };
                    now += ttl_s / 30;
                    let srv = |target: String| Record::Srv { priority: which.into(), weight: 1, port: 5070, target };
                    let outcome = match what {
                        0 => Err(Failure::Silent),
                        1 => Err(Failure::Refused(2)),
                        2 => answer(ttl_s, vec![]),
                        3 => answer(ttl_s, vec![address(which)]),
                        4 => answer(ttl_s, vec![srv(format!("n{which}.example")), srv("m.example".to_owned())]),
                        _ => answer(ttl_s, vec![srv(String::new())]),
                    };
                    resolver.hear(at(now), question, outcome);
                }
            }
            resolver.wake(at(now) + PATIENCE);
            for said in said(&mut resolver) {
                if let Said::Done { search, .. } = said {
                    prop_assert!(open.remove(&search));
                }
            }
            prop_assert!(open.is_empty(), "{open:?}");
            prop_assert_eq!(resolver.sizes()[..2].to_vec(), vec![0, 0]);
        }
    }
}
