//! The whole bridge under a clock of its own: real SIP endpoints, switchboard, mixer and books, a network that loses,
//! copies and delays, callers who hang up at any moment, money that comes and goes, crashes between any two statements of
//! the books; and an auditor who works out presence and money alone, and compares at every step.
//!
//! One seed is one world, always the same. A seed that fails says how to run it again, with as few acts as still fail.

mod auditor;
mod carrier;
mod ledger;
mod network;
mod planted;
mod script;
mod shrink;
mod slice;
mod sound;
mod strikes;
mod trace;
mod trouble;
mod watcher;
mod world;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use tollbridge::types::Cause::{DestinationNotAllowed, LicenceGone, OrganisationLocked, OrganiserLocked, Revoked};
use world::{Seen, World};

/// Seeds in the gate; and with `TOLLBRIDGE_TEST_LONG=1`.
const SEEDS: u64 = 200;
const SEEDS_LONG: u64 = 10_000;
/// In the gate's seeds so many legs at least are held against an organiser's that had no money left.
const FIRSTS: u64 = 50;
/// And so many slices against who is to pay them, and as many against a share of the last money.
const SLICES: u64 = 50;
/// And so many phones are rung by REFER and talk, so many calls take another's place, so many callers are moved, and so often
/// somebody is told who is there; and of those phones so many come when whoever asked has hung up.
const SENT: u64 = 50;
const OUTLIVED: u64 = 10;
/// So many that failed are made shorter; the rest are named.
const SHRUNK: usize = 3;

fn hash_of(seed: u64) -> (String, u64) {
    let mut world = World::new(seed, &BTreeSet::new(), None);
    world.run();
    (world.trace.hash(), world.trace.lines)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// As many side by side as there are cores. `TOLLBRIDGE_SEED` runs one alone, `TOLLBRIDGE_SEEDS` so many, from
/// `TOLLBRIDGE_FROM` on.
#[test]
fn the_books_and_the_rooms_are_right_whatever_happens() {
    if let Some(seed) = number("TOLLBRIDGE_SEED") {
        return shrink::again(seed);
    }
    let long = std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some();
    let first = number("TOLLBRIDGE_FROM").unwrap_or(0);
    let last = first + number("TOLLBRIDGE_SEEDS").unwrap_or(if long { SEEDS_LONG } else { SEEDS });
    let next = AtomicU64::new(first);
    let (failed, all) = (Mutex::new(BTreeSet::new()), Mutex::new(Seen::default()));
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > first && (seed - first).is_multiple_of(SEEDS) {
                        println!("{} seeds have begun", seed - first);
                    }
                    if seed >= last {
                        return;
                    }
                    match shrink::attempt(seed, &BTreeSet::new(), None) {
                        Ok(seen) => {
                            let mut all = all.lock().unwrap();
                            all.withdrawn.extend(seen.withdrawn);
                            all.firsts += seen.firsts;
                            all.ordered += seen.ordered;
                            all.shared += seen.shared;
                            all.referred += seen.referred;
                            all.replaced += seen.replaced;
                            all.outlived += seen.outlived;
                            all.moved += seen.moved;
                            all.watched += seen.watched;
                        }
                        Err(failure) => {
                            println!("seed {seed}, {failure}");
                            failed.lock().unwrap().insert(seed);
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    failed.iter().take(SHRUNK).for_each(|seed| shrink::explain(*seed));
    assert!(failed.is_empty(), "seeds that failed: {failed:?}");
    let Seen { withdrawn, firsts, ordered, shared, referred, replaced, outlived, moved, watched } =
        all.into_inner().unwrap();
    println!("{referred} phones were rung by REFER and paid for, {outlived} for whoever had hung up by then");
    println!("{replaced} calls took the place of others, {moved} times a caller was moved and paid where they went on");
    println!("{watched} times somebody was told who is in a meeting");
    let rare = [referred, replaced, moved, watched];
    let often = rare.iter().all(|times| *times >= SENT) && outlived >= OUTLIVED;
    assert!(last - first < SEEDS || often, "seldom: {rare:?}, {outlived}");
    println!("{ordered} times one payer was held against another before it, {shared} slices against a fair share");
    assert!(last - first < SEEDS || ordered.min(shared) >= SLICES, "slices were seldom judged: {ordered}, {shared}");
    println!("{firsts} legs were held against an organiser's that had no money left");
    assert!(last - first < SEEDS || firsts >= FIRSTS, "money was seldom short where an organiser was there");
    for cause in [Revoked, LicenceGone, OrganisationLocked, OrganiserLocked, DestinationNotAllowed] {
        assert!(
            last - first < SEEDS || withdrawn.contains(&cause),
            "nobody who talked had to go for {cause}: {withdrawn:?}"
        );
    }
}

/// Seeds of each kind: told sound, mixed sound, long calls; with crashes, and stopped at the end.
#[test]
fn one_seed_is_one_world() {
    for seed in 0..20 {
        let (first, second) = (hash_of(seed), hash_of(seed));
        println!("seed {seed}: {} lines, {}", first.1, first.0);
        assert_eq!(first, second, "seed {seed}");
    }
}

/// Seeds that failed once: by an answer that came twice after the clock was set, by a bank that was asked twice at once, and
/// by a death in the moment after a call had fallen silent, which was charged for its silence; and by a hold whose answer was
/// never acknowledged: the call was over, and its charge went on; and by a caller, alone in a meeting, who was moved to the number
/// that leads there, and was in none. One more failed by its auditor, who did not know how little may
/// be left of a slice when its payer is named.
#[test]
fn seeds_that_failed_once_are_right() {
    for seed in [7, 224, 237, 282, 1_009, 8_048, 8_946] {
        shrink::attempt(seed, &BTreeSet::new(), None).unwrap_or_else(|failure| panic!("seed {seed}, {failure}"));
    }
}
