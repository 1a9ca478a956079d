//! Wrong tries that outlive the process.

use super::*;
use crate::trunk::{Caller, KeptTries, Tried};

const GUESSER: &str = "+393339998877";
const HOUR_MS: u64 = 3_600_000;

fn at(minutes: u64) -> Wall {
    NOON.plus_millis(minutes * 60_000)
}

/// One of each kind, the latest last.
fn all() -> Vec<KeptTries> {
    let (guesser, studio): (E164, crate::types::MeetingId) = (number(GUESSER), "studio".parse().unwrap());
    let tried = [
        Tried::By(Caller::Number(guesser)),
        Tried::By(Caller::Withheld("local".parse().unwrap())),
        Tried::At(studio.clone()),
        Tried::Of("local".parse().unwrap()),
        Tried::Slipped(number("+390611112222"), studio.clone()),
        Tried::Overall,
        Tried::Friend(number("+390611112222"), studio.clone()),
        Tried::Named(number("+390611112222"), studio),
    ];
    let kept = |(minute, tried): (u64, Tried)| KeptTries {
        tried,
        moments: vec![at(minute), at(minute + 1)],
        elsewhere: false,
    };
    (0..).zip(tried).map(kept).collect()
}

async fn kept(bench: &Bench, now: Wall) -> Vec<KeptTries> {
    let mut kept = bench.store.kept_tries(now).await.unwrap();
    kept.sort_by_key(|one| one.moments.last().copied());
    kept
}

#[tokio::test]
async fn what_was_tried_is_known_after_a_restart_and_for_a_day() {
    let bench = Bench::new().await;
    bench.store.keep_tries(all(), at(10)).await.unwrap();
    let bench = bench.reopened().await;
    assert_eq!(kept(&bench, at(10)).await, all());
    // What is kept anew takes the place of what was; of nobody nothing is.
    let more = KeptTries { tried: Tried::Overall, moments: vec![at(4), at(5), at(20)], elsewhere: false };
    let nobody = KeptTries { tried: Tried::By(Caller::Withheld("gone".parse().unwrap())), moments: Vec::new(), elsewhere: false };
    for _ in 0..2 {
        bench.store.keep_tries(vec![more.clone(), nobody.clone()], at(21)).await.unwrap();
    }
    let now = kept(&bench, at(21)).await;
    assert_eq!((now.len(), now.last()), (8, Some(&more)));
    // A day later it is gone, from the answer and then from the store.
    let later = NOON.plus_millis(24 * HOUR_MS + 3 * 60_000);
    assert_eq!(kept(&bench, later).await.len(), 5);
    bench.store.keep_tries(Vec::new(), later).await.unwrap();
    assert_eq!(kept(&bench, NOON).await.len(), 5);
    bench.audited().await;
}

#[tokio::test]
async fn whoever_is_forgotten_is_not_kept_as_one_who_guessed() {
    let bench = Bench::new().await;
    bench.store.keep_tries(all(), at(10)).await.unwrap();
    for (dry_run, left) in [(true, 8), (false, 7)] {
        let forget = Forget { whom: Whom::Number(number(GUESSER)), dry_run };
        bench.store.forget(forget, at(11)).await.unwrap();
        assert_eq!(kept(&bench, at(11)).await.len(), left);
    }
}

/// Whoever makes numbers up fills no disk.
#[tokio::test]
async fn so_many_are_kept_and_no_more() {
    let bench = Bench::new().await;
    bench.store.keep_tries(all(), at(10)).await.unwrap();
    let made_up = |n: u64| KeptTries {
        tried: Tried::By(Caller::Number(number(&format!("+39{n:010}")))),
        moments: vec![at(11).plus_millis(n)],
        elsewhere: false,
    };
    let most = guess::MOST as u64;
    bench.store.keep_tries((0..most + 10).map(made_up).collect(), at(20)).await.unwrap();
    let kept = bench.store.kept_tries(at(20)).await.unwrap();
    assert_eq!(kept.len() as u64, most);
    assert!(kept.contains(&made_up(most + 9)) && !kept.contains(&made_up(9)), "the oldest go");
}
