//! A thousand calls a seed, in and out, between a bridge and a carrier that forks: early media that is acknowledged and changed, holds that
//! cross, hang-ups that cross, cancels against answers, sessions that are refreshed for hours, REFER, Replaces, those who watch.
//! A network between them loses, copies and delays. Each side's owner keeps books of what it was told and nothing else; when
//! all is still the two books of each call are laid side by side.

mod book;
mod network;
mod planted;
mod referee;
mod watcher;
mod world;

use world::{Seen, World};

/// Seeds in the gate; and with `TOLLBRIDGE_TEST_LONG=1`.
const SEEDS: u64 = 6;
const SEEDS_LONG: u64 = 1_000;
/// Calls of a seed.
const CALLS: u64 = 1_000;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `TOLLBRIDGE_SEED` runs one alone, `TOLLBRIDGE_SEEDS` so many, from `TOLLBRIDGE_FROM` on.
#[test]
fn both_ends_agree_on_every_call() {
    let alone = number("TOLLBRIDGE_SEED");
    let long = std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some();
    let first = alone.or(number("TOLLBRIDGE_FROM")).unwrap_or(0);
    let many = number("TOLLBRIDGE_SEEDS").unwrap_or(if long { SEEDS_LONG } else { SEEDS });
    let mut seen = Seen::default();
    for seed in first..first + if alone.is_some() { 1 } else { many } {
        seen.add(&World::new(seed).run(CALLS));
    }
    println!("{seen:?}");
    // A lost datagram and a crash at once: 1 call in 173,000 when it was seen first.
    assert!(seen.stranded <= 1 + many * CALLS / 50_000, "{seen:?}");
    // What a run of the gate is to have met, so that none of it is proven by its absence.
    if alone.is_none() {
        let rare = [
            seen.glares,
            seen.forked,
            seen.crossed,
            seen.replaced,
            seen.handed_over,
            seen.watched,
            seen.refreshed,
            seen.changed,
        ];
        assert!(rare.iter().all(|count| *count >= many * 2), "{seen:?}");
        assert!(seen.compared * 2 > seen.talked && seen.talked * 3 > many * CALLS, "{seen:?}");
    }
}

/// The same seed is the same world, to the last datagram.
#[test]
fn a_seed_is_one_world() {
    let [one, other] = [0, 0].map(|_| World::new(5).run(100));
    assert_eq!(one, other);
}
