//! Told to stop, the bridge takes no new calls, lets those that run go on for a while, warns them, and ends them; all are
//! settled. Told again, it does not wait.

use crate::bridge::{Books, Bridge, call, free};
use crate::plain::{Teller, header, status};
use crate::world::{CARRIER, DIRECT, tone};
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::node::WARNED;
use tollbridge::types::Cause;

const SOON: Duration = Duration::from_secs(10);

struct Told {
    books: Books,
    bridge: Bridge,
    carrier: Exchange,
    sip: SocketAddr,
}

/// A bridge that lets calls go on for so long.
async fn bridge(drain_s: u64) -> Told {
    let books = Books::file();
    books.fill().await;
    let sip: SocketAddr = free();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollbridge"));
    command.arg("serve").env("TOLLBRIDGE__SIP__DRAIN_S", drain_s.to_string());
    let bridge = books.run(command, sip);
    let carrier = Exchange::start((CARRIER, 0).into(), sip, 11).await.unwrap();
    Told { books, bridge, carrier, sip }
}

async fn talk(carrier: &Exchange, from: &str) -> Phone {
    let phone = call(carrier, from).await;
    phone.say(tone(500));
    phone
}

/// Once it drains, whoever calls is told when to come again.
async fn is_refused(carrier: &Exchange) {
    let until = Instant::now() + SOON;
    loop {
        match carrier.call("+390655555555", DIRECT).await {
            Err(ended) => return assert_eq!(ended.status, 503),
            // The signal was on its way.
            Ok(phone) => phone.hang_up(),
        }
        assert!(Instant::now() < until, "it still takes calls");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_on_are_warned_and_are_ended_in_good_order() {
    let Told { books, mut bridge, carrier, sip } = bridge(2).await;
    let (mut stays, goes) = (talk(&carrier, "+390611111111").await, talk(&carrier, "+390622222222").await);
    bridge.signal("-TERM");
    let told = Instant::now();
    is_refused(&carrier).await;
    let mut teller = Teller::udp(CARRIER, sip);
    for method in ["INVITE", "OPTIONS"] {
        let answer = tokio::task::block_in_place(|| teller.ask(method, DIRECT, ""));
        let when = header(&answer, "Retry-After").and_then(|seconds| seconds.parse::<u32>().ok());
        assert!(status(&answer) == 503 && when.is_some_and(|seconds| seconds > 0), "{answer}");
    }
    goes.hang_up();
    let ended = stays.ended(Duration::from_secs(20)).await.expect("BYE");
    assert_eq!(ended.reason.unwrap().text, Cause::Drained.words());
    assert!(told.elapsed() >= Duration::from_secs(2) + WARNED, "not before it was warned: {:?}", told.elapsed());
    assert_eq!(bridge.ended(SOON).await, Some(0));
    let records = books.audited().await;
    let cause = |caller: &str| {
        let mut found =
            records.iter().filter(|record| record.caller.is_some_and(|number| number.to_string() == caller));
        found.next().map(|record| record.beyond.cause)
    };
    assert_eq!(cause("+390611111111"), Some(Cause::Drained));
    assert_eq!(cause("+390622222222"), Some(Cause::HungUp));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_last_call_has_ended_nothing_is_waited_for() {
    let Told { books, mut bridge, carrier, .. } = bridge(3_600).await;
    let phone = talk(&carrier, "+390611111111").await;
    bridge.signal("-INT");
    is_refused(&carrier).await;
    phone.hang_up();
    assert_eq!(bridge.ended(SOON).await, Some(0));
    books.audited().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_again_it_ends_them_now() {
    let Told { books, mut bridge, carrier, .. } = bridge(3_600).await;
    let mut phone = talk(&carrier, "+390611111111").await;
    bridge.signal("-TERM");
    is_refused(&carrier).await;
    bridge.signal("-TERM");
    assert_eq!(phone.ended(SOON).await.expect("BYE").reason.unwrap().text, Cause::Drained.words());
    assert_eq!(bridge.ended(SOON).await, Some(0));
    books.audited().await;
}
