use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

type Zone = BTreeMap<Question, Outcome>;

const NAME: &str = "carrier.example";

fn question(kind: Kind, name: &str) -> Question {
    Question { kind, name: name.to_owned() }
}

fn local(transport: Transport, bound: &str) -> Local {
    let bound = bound.parse().unwrap();
    Local { transport, bound, contact: bound }
}

fn place(transport: Option<Transport>, port: Option<u16>) -> Place {
    let locals = vec![
        local(Transport::Udp, "127.0.0.1:5060"),
        local(Transport::Tcp, "127.0.0.1:5060"),
        local(Transport::Tls, "127.0.0.1:5061"),
    ];
    Place { host: NAME.parse().unwrap(), port, transport, locals, tls_name: Arc::from(NAME) }
}

/// A zone from lines: `KIND NAME RECORD`, where a record is an address, `priority weight port target`, `order preference
/// service replacement`, `none`, `!`, which is a server that fails, or `?`, which is one that says nothing.
fn zone(lines: &[&str]) -> Zone {
    let mut zone = Zone::new();
    for line in lines {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<u16>().unwrap();
        let target = |at: usize| words[at].trim_end_matches('.').to_owned();
        let (kind, record) = match (words[0], words[2]) {
            ("NAPTR", word) if !["none", "!", "?"].contains(&word) => {
                let (service, flags) = (words[4].to_owned(), "S".to_owned());
                let (order, preference, replacement) = (number(2), number(3), target(5));
                (Kind::Naptr, Some(Record::Naptr { order, preference, flags, service, replacement }))
            }
            ("SRV", word) if !["none", "!", "?"].contains(&word) => {
                let (priority, weight, port, target) = (number(2), number(3), number(4), target(5));
                (Kind::Srv, Some(Record::Srv { priority, weight, port, target }))
            }
            ("A" | "AAAA", word) if !["none", "!", "?"].contains(&word) => {
                let kind = if words[0] == "A" { Kind::A } else { Kind::Aaaa };
                (kind, Some(Record::Address(word.parse().unwrap())))
            }
            (kind, _) => (
                match kind {
                    "NAPTR" => Kind::Naptr,
                    "SRV" => Kind::Srv,
                    "A" => Kind::A,
                    _ => Kind::Aaaa,
                },
                None,
            ),
        };
        let ttl = Duration::from_secs(60);
        let outcome = zone.entry(question(kind, words[1])).or_insert(Ok(Answer { records: Vec::new(), ttl }));
        match outcome {
            _ if words[2] == "!" => *outcome = Err(Failure::Refused(2)),
            _ if words[2] == "?" => *outcome = Err(Failure::Silent),
            Ok(answer) => answer.records.extend(record),
            Err(_) => panic!("{line}"),
        }
    }
    zone
}

/// What a name comes to in a zone where whatever is not said does not exist, and what was asked on the way.
fn walk(place: &Place, zone: &Zone, seed: u64) -> (Step<Target>, Vec<String>) {
    let nothing: Outcome = Ok(Answer { records: Vec::new(), ttl: Duration::from_secs(300) });
    let mut facts = Zone::new();
    let mut asked = Vec::new();
    loop {
        match locate(place, seed, &|question| facts.get(question)) {
            Step::Ask(questions) => {
                for question in questions {
                    asked.push(question.to_string());
                    let outcome = zone.get(&question).unwrap_or(&nothing).clone();
                    assert!(facts.insert(question, outcome).is_none(), "nothing is asked twice");
                }
            }
            end => return (end, asked),
        }
    }
}

fn found(place: &Place, zone: &Zone) -> String {
    match walk(place, zone, 1).0 {
        Step::Found(targets, _) => {
            let text = |target: &Target| format!("{}:{}", target.transport.name(), target.peer);
            targets.iter().map(text).collect::<Vec<_>>().join(" ")
        }
        Step::Nothing(why) => why.words().to_owned(),
        Step::Ask(_) => unreachable!(),
    }
}

#[test]
fn what_a_name_comes_to() {
    use Transport::{Tcp, Tls, Udp};
    let a = "A carrier.example 192.0.2.1";
    let no_service = Why::NoService.words();
    let failed = Failure::Refused(2).words();
    type Row<'a> = (Option<Transport>, Option<u16>, &'a [&'a str], &'a str);
    let rows: &[Row<'_>] = &[
        // Nothing but an address.
        (None, None, &[a], "udp:192.0.2.1:5060"),
        (Some(Tcp), None, &[a], "tcp:192.0.2.1:5060"),
        (Some(Tls), None, &[a], "tls:192.0.2.1:5061"),
        (None, None, &[], Why::NoAddress.words()),
        // A port: whatever services there are, they are not asked for.
        (None, Some(5070), &[a, "SRV _sip._udp.carrier.example 1 1 9 x.example"], "udp:192.0.2.1:5070"),
        (Some(Tls), Some(5070), &[a, "NAPTR carrier.example 1 1 SIP+D2U x.example"], "tls:192.0.2.1:5070"),
        // Services.
        (
            Some(Udp),
            None,
            &[
                "SRV _sip._udp.carrier.example 20 1 5060 b.example",
                "SRV _sip._udp.carrier.example 10 1 5080 a.example",
                "A a.example 192.0.2.1",
                "A b.example 192.0.2.3",
            ],
            "udp:192.0.2.1:5080 udp:192.0.2.3:5060",
        ),
        (Some(Udp), None, &[a, "SRV _sip._udp.carrier.example 0 0 0 ."], no_service),
        (Some(Udp), None, &[a, "SRV _sip._udp.carrier.example !"], "udp:192.0.2.1:5060"),
        (Some(Udp), None, &["A carrier.example !", "SRV _sip._udp.carrier.example !"], failed),
        // The one that we like best of those that are there.
        (
            None,
            None,
            &["SRV _sip._tcp.carrier.example 1 1 5062 a.example", "A a.example 192.0.2.7", a],
            "tcp:192.0.2.7:5062",
        ),
        (
            None,
            None,
            &[a, "SRV _sip._udp.carrier.example 0 0 0 .", "SRV _sips._tcp.carrier.example 1 1 5061 carrier.example"],
            "tls:192.0.2.1:5061",
        ),
        (None, None, &[a, "SRV _sip._udp.carrier.example 0 0 0 ."], no_service),
        // What its owner likes best.
        (
            None,
            None,
            &[
                "NAPTR carrier.example 20 1 SIP+D2U _sip._udp.carrier.example",
                "NAPTR carrier.example 10 2 SIP+D2T _sip._tcp.carrier.example",
                "NAPTR carrier.example 10 1 SIPS+D2T _sips._tcp.other.example",
                "SRV _sips._tcp.other.example 1 1 5061 a.example",
                "A a.example 192.0.2.7",
            ],
            "tls:192.0.2.7:5061",
        ),
        // The best has nothing: the next one.
        (
            None,
            None,
            &[
                "NAPTR carrier.example 1 1 SIPS+D2T _sips._tcp.carrier.example",
                "NAPTR carrier.example 2 1 SIP+D2U _sip._udp.carrier.example",
                "SRV _sip._udp.carrier.example 1 1 5060 a.example",
                "A a.example 192.0.2.7",
            ],
            "udp:192.0.2.7:5060",
        ),
        // It is of other things than SIP, or a server that does not know it.
        (None, None, &[a, "NAPTR carrier.example 1 1 E2U+sip x.example"], "udp:192.0.2.1:5060"),
        (None, None, &[a, "NAPTR carrier.example !"], "udp:192.0.2.1:5060"),
        // A firewall that drops what it does not know.
        (
            None,
            None,
            &["NAPTR carrier.example ?", "SRV _sip._udp.carrier.example 1 1 5070 a.example", "A a.example 192.0.2.7"],
            "udp:192.0.2.7:5070",
        ),
        (None, None, &[a, "NAPTR carrier.example ?", "SRV _sip._udp.carrier.example ?"], Failure::Silent.words()),
        (None, None, &[a, "NAPTR carrier.example 1 1 SIP+D2S x.example"], Why::NotSpoken.words()),
        // One host of two has no address; one of two servers has failed.
        (
            Some(Udp),
            None,
            &[
                "SRV _sip._udp.carrier.example 1 1 5060 a.example",
                "SRV _sip._udp.carrier.example 2 1 5060 b.example",
                "A a.example !",
                "A b.example 192.0.2.3",
            ],
            "udp:192.0.2.3:5060",
        ),
        (Some(Udp), None, &["SRV _sip._udp.carrier.example 1 1 5060 a.example", "A a.example !"], failed),
    ];
    for (transport, port, lines, expected) in rows {
        assert_eq!(found(&place(*transport, *port), &zone(lines)), *expected, "{transport:?} {port:?} {lines:?}");
    }
}

#[test]
fn no_more_is_asked_than_is_needed() {
    let asked = |place: &Place, lines: &[&str]| walk(place, &zone(lines), 1).1;
    let a = "A carrier.example 192.0.2.1";
    assert_eq!(asked(&place(None, Some(5060)), &[a]), ["A carrier.example"]);
    assert_eq!(asked(&place(Some(Transport::Udp), None), &[a]), ["SRV _sip._udp.carrier.example", "A carrier.example"]);
    assert_eq!(
        asked(&place(None, None), &[a]),
        [
            "NAPTR carrier.example",
            "SRV _sip._udp.carrier.example",
            "SRV _sip._tcp.carrier.example",
            "SRV _sips._tcp.carrier.example",
            "A carrier.example",
        ]
    );
}

#[test]
fn addresses_are_of_the_families_that_we_have_in_our_order() {
    let zone = zone(&["A carrier.example 192.0.2.1", "AAAA carrier.example 2001:db8::1"]);
    let with = |bound: &[&str]| {
        let locals = bound.iter().map(|bound| local(Transport::Udp, bound)).collect();
        found(&Place { locals, ..place(None, Some(5060)) }, &zone)
    };
    assert_eq!(with(&["127.0.0.1:5060"]), "udp:192.0.2.1:5060");
    assert_eq!(with(&["[::1]:5060"]), "udp:[2001:db8::1]:5060");
    assert_eq!(with(&["[::1]:5060", "127.0.0.1:5060"]), "udp:[2001:db8::1]:5060 udp:192.0.2.1:5060");
    assert_eq!(with(&[]), Why::NotSpoken.words());
    let only_tls = Place { locals: vec![local(Transport::Tls, "127.0.0.1:5061")], ..place(None, None) };
    assert_eq!(found(&only_tls, &zone), "tls:192.0.2.1:5061", "what we have, where the name says nothing");
    let only_udp = Place { locals: vec![local(Transport::Udp, "127.0.0.1:1")], ..place(Some(Transport::Tls), None) };
    assert_eq!(found(&only_udp, &zone), Why::NotSpoken.words());
}

#[test]
fn whoever_sends_is_known_by_all_addresses_that_are_found() {
    let host = NAME.parse().unwrap();
    let of = |lines: &[&str]| {
        let zone = zone(lines);
        addresses(&host, &|question| zone.get(question))
    };
    const NONE: [&str; 4] = [
        "NAPTR carrier.example none",
        "SRV _sip._udp.carrier.example none",
        "SRV _sip._tcp.carrier.example none",
        "SRV _sips._tcp.carrier.example none",
    ];
    let of = |lines: &[&str]| of(&[lines, &NONE].concat());
    let asked = |kind| question(kind, NAME);
    assert_eq!(of(&[]), Step::Ask(vec![asked(Kind::A), asked(Kind::Aaaa)]));
    let both = ["A carrier.example 192.0.2.1", "AAAA carrier.example 2001:db8::1"];
    let ips = ["192.0.2.1", "2001:db8::1"].map(|ip| ip.parse().unwrap());
    assert_eq!(of(&both), Step::Found(ips.to_vec(), Duration::from_secs(60)));
    let none = ["A carrier.example none", "AAAA carrier.example none"];
    assert_eq!(of(&none), Step::Nothing(Why::NoAddress));
    let half = ["A carrier.example 192.0.2.1", "AAAA carrier.example !"];
    assert_eq!(of(&half), Step::Found(vec![ips[0]], UNSURE), "for whoever knows nothing better");
    let neither = ["A carrier.example none", "AAAA carrier.example !"];
    assert_eq!(of(&neither), Step::Nothing(Why::Failure(Failure::Refused(2))));
    // Those of its services, too.
    let services = [
        "A carrier.example none",
        "AAAA carrier.example none",
        "SRV _sip._udp.carrier.example 1 1 5060 a.example",
        "SRV _sips._tcp.carrier.example 1 1 5061 a.example",
        "SRV _sips._tcp.carrier.example 2 1 5061 carrier.example",
    ];
    let hosts = ["A a.example 192.0.2.7", "AAAA a.example none"];
    let of_a = [Kind::A, Kind::Aaaa].map(|kind| question(kind, "a.example"));
    assert_eq!(of(&services), Step::Ask(of_a.to_vec()));
    let found = Step::Found(vec!["192.0.2.7".parse().unwrap()], Duration::from_secs(60));
    assert_eq!(of(&[&services[..], &hosts].concat()), found);
    // And of those that only NAPTR tells, whatever they are called; a server that knows nothing of NAPTR says nothing against it.
    let named = [
        "NAPTR carrier.example 1 1 SIP+D2U _sip._udp.voice.example",
        "NAPTR carrier.example 2 1 SIP+D2U _sip._udp.carrier.example",
        "NAPTR carrier.example 3 1 E2U+sip other.example",
    ];
    let named = [&none[..], &named].concat();
    let service = "SRV _sip._udp.voice.example 1 1 5060 a.example";
    assert_eq!(of(&named), Step::Ask(vec![question(Kind::Srv, "_sip._udp.voice.example")]));
    assert_eq!(of(&[&named[..], &[service]].concat()), Step::Ask(of_a.to_vec()));
    assert_eq!(of(&[&named[..], &[service], &hosts].concat()), found);
    let refused = zone(&[&both[..], &["NAPTR carrier.example !"], &NONE[1..]].concat());
    assert_eq!(addresses(&host, &|question| refused.get(question)), of(&both));
}

#[test]
fn a_thousand_hosts_are_not_all_looked_up() {
    let services: Vec<String> =
        (0..1_000).map(|n| format!("SRV _sip._udp.carrier.example {n} 1 5060 h{n}.example")).collect();
    let hosts: Vec<String> = (0..1_000)
        .flat_map(|n| (0..20).map(move |a| format!("A h{n}.example 10.{}.{}.{a}", n / 250, n % 250)))
        .collect();
    let lines: Vec<&str> = services.iter().chain(&hosts).map(String::as_str).collect();
    let (step, asked) = walk(&place(Some(Transport::Udp), None), &zone(&lines), 1);
    let Step::Found(targets, _) = step else { panic!() };
    assert_eq!((targets.len(), asked.len()), (MOST_TARGETS, 1 + MOST_HOSTS));
}

/// How often each of these is first, in so many draws.
fn firsts(weights: &[u16], draws: u64) -> Vec<u64> {
    let names: Vec<String> = (0..weights.len()).map(|at| format!("{at}")).collect();
    let offers: Vec<Offer<'_>> = weights
        .iter()
        .zip(&names)
        .map(|(weight, target)| Offer { priority: 1, weight: *weight, port: 5060, target })
        .collect();
    let mut count = vec![0; weights.len()];
    for seed in 0..draws {
        let order = in_order(offers.clone(), &mut StdRng::seed_from_u64(seed));
        count[order[0].target.parse::<usize>().unwrap()] += 1;
    }
    count
}

#[test]
fn who_weighs_more_is_first_more_often() {
    let draws = 10_000;
    // Weights, and the share that each is to have, in per cent.
    for (weights, shares) in [(&[1u16, 3][..], [25.0, 75.0]), (&[60, 20], [75.0, 25.0]), (&[0, 100], [0.0, 100.0])] {
        for (count, share) in firsts(weights, draws).iter().zip(shares) {
            let found = *count as f64 * 100.0 / draws as f64;
            assert!((found - share).abs() < 2.0, "{weights:?}: {found} instead of {share}");
        }
    }
    let without_any = firsts(&[0, 0, 0], draws);
    assert_eq!(without_any.iter().sum::<u64>(), draws);
}

/// Nobody who holds an answer for an hour sends all calls of that hour to the address that happened to be its first.
#[test]
fn addresses_of_one_host_are_first_equally_often() {
    let zone = zone(&["A carrier.example 192.0.2.1", "A carrier.example 192.0.2.2", "A carrier.example 192.0.2.3"]);
    let of = |seed| match walk(&place(Some(Transport::Udp), Some(5060)), &zone, seed).0 {
        Step::Found(targets, _) => targets.iter().map(|target| target.peer.ip().to_string()).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let mut firsts: BTreeMap<String, u32> = BTreeMap::new();
    for seed in 0..3_000 {
        let order = of(seed);
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), 3);
        assert_eq!(order, of(seed), "the same seed, the same order");
        *firsts.entry(order[0].clone()).or_default() += 1;
    }
    assert!(firsts.len() == 3 && firsts.values().all(|count| (900..1_100).contains(count)), "{firsts:?}");
}

proptest! {
    /// Each is there once, no priority before a lower one, and the same seed makes the same order of whatever order came.
    #[test]
    fn an_order_keeps_all_and_their_priorities(
        offers in proptest::collection::vec((0u16..4, prop_oneof![Just(0u16), 0u16..100, Just(u16::MAX)]), 0..40),
        seed in any::<u64>(),
    ) {
        let names: Vec<String> = (0..offers.len()).map(|at| at.to_string()).collect();
        let offers: Vec<Offer<'_>> = offers
            .iter()
            .zip(&names)
            .map(|((priority, weight), target)| Offer { priority: *priority, weight: *weight, port: 1, target })
            .collect();
        let order = in_order(offers.clone(), &mut StdRng::seed_from_u64(seed));
        prop_assert!(order.is_sorted_by_key(|offer| offer.priority));
        let all: BTreeSet<&str> = order.iter().map(|offer| offer.target).collect();
        prop_assert_eq!((all.len(), order.len()), (offers.len(), offers.len()));
        let backwards: Vec<Offer<'_>> = offers.into_iter().rev().collect();
        prop_assert_eq!(in_order(backwards, &mut StdRng::seed_from_u64(seed)), order);
    }
}
