//! No more callers come in than there are ports for their sound.

use crate::world::{DIRECT, PEOPLE, World};
use std::time::{Duration, Instant};
use tollbridge::media::ports::LEAST;

/// Whoever finds none free hears so at once, and is no leg; the next one who calls has the port of whoever has left, as soon as
/// what was on its way there has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_for_whom_there_is_no_port_is_no_leg_and_the_next_one_has_it_soon() {
    let world = World::with(PEOPLE, |settings| settings.media.ports = "31000-31003".parse().unwrap()).await;
    let [leaves, stays] = [world.call("+390611111111", DIRECT).await, world.call("+390622222222", DIRECT).await];
    assert_eq!(world.refused("+390633333333", DIRECT).await.status, 503);
    leaves.hang_up();
    world.until(|| async { world.legs().await.len() == 1 }).await;
    let left = Instant::now();
    let next = loop {
        match world.carrier.call("+390644444444", DIRECT).await {
            Ok(next) => break next,
            Err(ended) => assert_eq!(ended.status, 503),
        }
        assert!(left.elapsed() < 5 * LEAST, "the port comes back");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    [next, stays].iter().for_each(tollbridge::cli::phone::Phone::hang_up);
    let callers = world.records().await.into_iter().map(|record| record.caller.unwrap().to_string());
    let mut callers: Vec<String> = callers.collect();
    callers.sort();
    assert_eq!(callers, ["+390611111111", "+390622222222", "+390644444444"]);
    world.end().await;
}
