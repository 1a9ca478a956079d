use super::*;
use crate::clock::Wall;
use proptest::prelude::*;

/// A watchman who is told what happens, so many milliseconds apart.
struct Watch {
    patterns: Patterns,
    ms: u64,
}

impl Watch {
    fn new() -> Watch {
        Watch { patterns: Patterns::new(PatternConfig::default()), ms: 0 }
    }

    fn look(&mut self, apart_ms: u64, sight: &Sight) -> Vec<Alarm> {
        self.ms += apart_ms;
        // A Tuesday's noon.
        let wall = Wall::from_seconds(1_781_611_200).plus_millis(self.ms);
        self.patterns.look(Now { mono: Mono::from_millis(1_000 + self.ms), wall }, sight)
    }

    /// Which of these sights raises which alarm first: the number of the sight, counted from one.
    fn first(&mut self, apart_ms: u64, pattern: Pattern, mut sight: impl FnMut(u64) -> Sight) -> Option<u64> {
        (1..=300).find(|n| self.look(apart_ms, &sight(*n)).iter().any(|alarm| alarm.pattern == pattern))
    }
}

/// What is seen the first, second, … time.
type Sights = fn(u64) -> Sight;

fn acme() -> OrganisationId {
    "acme".parse().unwrap()
}

fn to(digits: u64) -> E164 {
    E164::from_digits(&digits.to_string()).unwrap()
}

fn dialled(to: E164, abroad: Option<&str>, quiet: bool) -> Sight {
    Sight::Dialled { organisation: acme(), to, abroad: abroad.map(|code| code.parse().unwrap()), quiet }
}

fn over(to: E164, elapsed_ms: u64) -> Sight {
    Sight::DialledOver { organisation: acme(), to, elapsed_ms, quiet: false }
}

fn lobby(caller: Option<u64>, carrier: &str, elapsed_ms: u64) -> Sight {
    Sight::NeverJoined { carrier: carrier.parse().unwrap(), caller: caller.map(to), elapsed_ms }
}

fn meeting(organiser: bool, quiet: bool) -> Sight {
    Sight::Meeting { meeting: "studio".parse().unwrap(), organisation: acme(), organiser, quiet }
}

/// Numbers of one block that are not neighbours.
fn one_block(n: u64) -> E164 {
    to(37_060_012_000 + n * 7)
}

/// Numbers of many blocks.
fn many_blocks(n: u64) -> E164 {
    to(37_060_012_000 + n * 1_000_000)
}

/// Each pattern: what it takes, at which pace, and at which pace the very same is none.
#[test]
fn each_pattern_is_seen_at_its_threshold_and_not_at_an_honest_pace() {
    let second = 1_000;
    let minute = 60 * second;
    #[rustfmt::skip]
    let table: [(Pattern, u64, u64, u64, Sights); 13] = [
        (Pattern::NewCountry, minute, 4, 30 * minute, |n| dialled(many_blocks(n), Some("LT"), false)),
        (Pattern::NewCountry, minute, 2, 61 * minute, |n| dialled(many_blocks(n), Some("LT"), true)),
        (Pattern::OneBlock, minute, 10, 7 * minute, |n| dialled(one_block(n), None, false)),
        (Pattern::OneBlock, minute, 5, 16 * minute, |n| dialled(one_block(n), None, true)),
        (Pattern::CallsAMinute, second, 30, 3 * second, |n| dialled(many_blocks(n), None, false)),
        (Pattern::CallsAMinute, second, 15, 5 * second, |n| dialled(many_blocks(n), None, true)),
        (Pattern::Sequence, minute, 5, 16 * minute, |n| dialled(to(37_060_012_345 + n), None, false)),
        (Pattern::AlikeCalls, 5 * minute, 6, 13 * minute, |n| over(one_block(n), 241_000 + n * 500)),
        (Pattern::BlockMinutes, minute, 8, 9 * minute, |n| over(one_block(n), 30 * 60_000 + n * 600_000 % 3_600_000)),
        (Pattern::Pumping, minute, 6, 13 * minute, |_| lobby(Some(18_005_550_100), "east", 55_000)),
        (Pattern::CarrierPumping, second, 40, 2 * minute, |n| lobby(Some(18_005_550_100 + n), "east", 55_000)),
        (Pattern::PinSweep, second, 50, 2 * minute, |_| Sight::WrongTry { carrier: "east".parse().unwrap() }),
        (Pattern::FreeConference, minute, 121, minute * 2, |_| meeting(false, true)),
    ];
    for (pattern, apart, threshold, honest, sight) in table {
        let seen = Watch::new().first(apart, pattern, sight);
        if pattern == Pattern::BlockMinutes {
            assert!(seen.is_some_and(|n| n <= threshold), "{pattern}: {seen:?}");
        } else {
            assert_eq!(seen, Some(threshold), "{pattern}");
        }
        if pattern != Pattern::FreeConference && pattern != Pattern::BlockMinutes {
            assert_eq!(Watch::new().first(honest, pattern, sight), None, "{pattern} at an honest pace");
        }
    }
}

#[test]
fn what_honest_people_do_raises_nothing() {
    let table: [(&str, Sights); 6] = [
        ("calls of all lengths", |n| over(one_block(n % 3), 60_000 + n * 97_000 % 1_500_000)),
        ("calls that nobody took", |n| over(one_block(n), n % 20)),
        ("wrong numbers of the bridge", |n| lobby(Some(39_333_000_000 + n), "east", 5_000)),
        ("a meeting with its organiser", |_| meeting(true, true)),
        ("a meeting in working hours", |_| meeting(false, false)),
        ("calls at home, a minute apart", |n| dialled(to(39_060_000_000 + n * 7_654_321), None, false)),
    ];
    for (what, sight) in table {
        let mut watch = Watch::new();
        // Ten minutes apart, so that it is the pattern and not the pace that decides.
        let told: Vec<Alarm> = (0..300).flat_map(|n| watch.look(600_000, &sight(n))).collect();
        assert_eq!(told, [], "{what}");
    }
}

#[test]
fn an_organiser_who_comes_ends_the_wait_and_so_does_the_end() {
    let mut watch = Watch::new();
    for n in 0..1_000 {
        let sight = match n % 100 {
            50 => meeting(true, true),
            99 => Sight::MeetingOver { meeting: "studio".parse().unwrap() },
            _ => meeting(false, true),
        };
        assert_eq!(watch.look(60_000, &sight), [], "minute {n}");
    }
}

#[test]
fn an_alarm_says_whom_and_what_and_has_one_key_a_day() {
    let mut watch = Watch::new();
    let told: Vec<Alarm> =
        (1..=40).flat_map(|n| watch.look(1_000, &dialled(one_block(n), Some("LT"), false))).collect();
    let of = |pattern: Pattern| told.iter().filter(move |alarm| alarm.pattern == pattern);
    assert_eq!(of(Pattern::OneBlock).count(), 4);
    let first = of(Pattern::OneBlock).next().unwrap();
    assert_eq!(first.organisation, Some(acme()));
    assert_eq!(first.detail, "10 calls within an hour to numbers +370600…");
    assert_eq!(first.key, "fraud:one-block:acme:370600:20620");
    assert!(of(Pattern::OneBlock).all(|alarm| alarm.key == first.key));
    assert_eq!(of(Pattern::NewCountry).next().unwrap().key, "fraud:new-country:acme:LT");
    // The next day it is told again.
    let next: Vec<Alarm> = (1..=40)
        .flat_map(|n| watch.look(86_400_000 * u64::from(n == 1), &dialled(one_block(n), None, false)))
        .collect();
    assert!(next.iter().any(|alarm| alarm.key == "fraud:one-block:acme:370600:20621"), "{next:?}");
}

#[test]
fn no_alarm_shows_the_whole_number_of_a_caller() {
    let mut watch = Watch::new();
    let told: Vec<Alarm> =
        (0..6).flat_map(|_| watch.look(1_000, &lobby(Some(393_331_234_567), "east", 50_000))).collect();
    assert_eq!(told.len(), 1);
    assert!(!format!("{told:?}").contains("1234567"), "{told:?}");
}

#[test]
fn switched_off_it_remembers_nothing() {
    let mut watch = Watch::new();
    watch.patterns = Patterns::new(PatternConfig { on: false, ..PatternConfig::default() });
    assert_eq!(watch.first(1, Pattern::PinSweep, |_| Sight::WrongTry { carrier: "east".parse().unwrap() }), None);
    assert!(watch.patterns.seen.is_empty());
}

/// A flood under ever new names: the oldest goes, and is counted; who calls on is not forgotten.
#[test]
fn memory_is_bounded_and_what_is_forgotten_is_counted() {
    let mut watch = Watch::new();
    let flood = MOST_SUBJECTS as u64 + 100;
    for n in 0..flood {
        watch.look(0, &lobby(Some(18_000_000_000 + n), "east", 50_000));
        watch.ms += 1;
    }
    let table = &watch.patterns.seen[&Pattern::Pumping];
    assert_eq!((table.moments.len(), table.by_age.len()), (MOST_SUBJECTS, MOST_SUBJECTS));
    assert_eq!(watch.patterns.forgotten(), 100);
}

proptest! {
    /// Whatever comes in whatever order: the two halves of each table agree, and nothing grows beyond its bound.
    #[test]
    fn tables_stay_whole(steps in proptest::collection::vec((0_u8..6, 0_u64..40, 0_u64..700_000, any::<bool>()), 0..400)) {
        let mut watch = Watch::new();
        for (kind, n, apart, flag) in steps {
            let sight = match kind {
                0 => dialled(one_block(n), flag.then_some("LT"), flag),
                1 => over(one_block(n), n * 20_000),
                2 => lobby(flag.then_some(18_000_000_000 + n), "east", n * 2_000),
                3 => Sight::WrongTry { carrier: "east".parse().unwrap() },
                4 => meeting(flag, n % 2 == 0),
                _ => Sight::MeetingOver { meeting: "studio".parse().unwrap() },
            };
            watch.look(apart, &sight);
            for (pattern, table) in &watch.patterns.seen {
                prop_assert_eq!(table.moments.len(), table.by_age.len(), "{}", pattern);
                prop_assert!(table.moments.values().all(|all| !all.is_empty() && all.len() <= MOST_MOMENTS));
            }
        }
    }
}
