//! A seed that fails, told so that it can be understood: what failed, at which step, the last that happened, and the acts
//! without which it does not fail, with the command that runs it so again.

use crate::world::{Plant, Seen, World};
use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::time::{Duration, Instant};

/// A seed is not made shorter for longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which acts of a script are left out, by their numbers.
pub type Gone = BTreeSet<usize>;

/// Why a world ended.
pub struct Failure {
    why: String,
    step: u64,
    at_ms: u64,
    acts: usize,
    last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}, {}.{:03} s: {}", self.step, self.at_ms / 1_000, self.at_ms % 1_000, self.why)
    }
}

impl Failure {
    pub fn why(&self) -> &str {
        &self.why
    }
}

thread_local! {
    /// What is expected to fail is not told by the panic's hook, too.
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "it panicked".to_owned())
}

/// Runs a seed without some of its acts, and with a planted fault: what it saw, or why it failed.
pub fn attempt(seed: u64, gone: &Gone, plant: Option<Plant>) -> Result<Seen, Failure> {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let told = take_hook();
        set_hook(Box::new(move |info| {
            if !QUIET.get() {
                told(info);
            }
        }));
    });
    let mut world = None;
    let before = QUIET.replace(true);
    let ran = catch_unwind(AssertUnwindSafe(|| world.insert(World::new(seed, gone, plant)).run()));
    QUIET.set(before);
    ran.map_err(|panic| {
        let why = words(&*panic);
        let Some(world) = &world else { return Failure { why, step: 0, at_ms: 0, acts: 0, last: Vec::new() } };
        let last = world.trace.last().map(str::to_owned).collect();
        Failure { why, step: world.steps, at_ms: world.now_ms(), acts: world.acts, last }
    })
}

/// Leaves out what is not needed, by halves, quarters and so on.
fn shorter(seed: u64, mut failure: Failure) -> (Gone, Failure) {
    let (begun, all) = (Instant::now(), failure.acts);
    let mut gone = Gone::new();
    let mut size = all.div_ceil(2);
    while size > 0 && begun.elapsed() < PATIENCE {
        let mut less = false;
        for first in (0..all).step_by(size) {
            let more: Gone = gone.iter().copied().chain(first..(first + size).min(all)).collect();
            if more.len() == gone.len() || begun.elapsed() > PATIENCE {
                continue;
            }
            if let Err(again) = attempt(seed, &more, None) {
                (gone, failure, less) = (more, again, true);
            }
        }
        if !less || size > 1 {
            size /= 2;
        }
    }
    (gone, failure)
}

fn text_of(gone: &Gone) -> String {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for act in gone {
        match spans.last_mut() {
            Some((_, last)) if *last + 1 == *act => *last = *act,
            _ => spans.push((*act, *act)),
        }
    }
    let span =
        |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    spans.iter().map(span).collect::<Vec<_>>().join(",")
}

fn gone_of(text: &str) -> Gone {
    let span = |span: &str| {
        let (first, last) = span.split_once('-').unwrap_or((span, span));
        first.parse::<usize>().expect("a number of an act")..=last.parse().expect("a number of an act")
    };
    text.split(',').filter(|part| !part.is_empty()).flat_map(span).collect()
}

/// Tells all there is to tell of a seed that failed.
pub fn explain(seed: u64) {
    let Err(failure) = attempt(seed, &Gone::new(), None) else {
        return println!("seed {seed} did not fail again: it is not one world");
    };
    let acts = failure.acts;
    let (gone, failure) = shorter(seed, failure);
    println!("\nseed {seed} fails with {} of its {acts} acts: {failure}", acts - gone.len());
    failure.last.iter().for_each(|line| println!("    {line}"));
    println!(
        "run it again: TOLLBRIDGE_SEED={seed} TOLLBRIDGE_WITHOUT={} cargo test --test simulation -- whatever --nocapture",
        text_of(&gone)
    );
}

/// One seed, as it was told to be run again.
pub fn again(seed: u64) {
    let gone = gone_of(&std::env::var("TOLLBRIDGE_WITHOUT").unwrap_or_default());
    match attempt(seed, &gone, None) {
        Ok(_) => println!("seed {seed}: all is right"),
        Err(failure) => {
            failure.last.iter().for_each(|line| println!("    {line}"));
            panic!("seed {seed}, {failure}");
        }
    }
}

#[test]
fn acts_that_are_left_out_are_written_as_they_are_read() {
    let table: [(&[usize], &str); 4] = [(&[], ""), (&[3], "3"), (&[0, 1, 2, 7], "0-2,7"), (&[1, 3, 4], "1,3-4")];
    for (acts, text) in table {
        let gone: Gone = acts.iter().copied().collect();
        assert_eq!((text_of(&gone).as_str(), gone_of(text)), (text, gone));
    }
}
