//! The process dies, or sleeps while another takes its place: each leg is settled once, at its last proof of life, by the
//! next one, which ends every dialog.

use crate::bridge::{Books, Bridge, call, free};
use crate::world::{CARRIER, DIRECT, TOLL, World, apply, tone};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::clock;
use tollbridge::rating::UsageRecord;
use tollbridge::sip::{Framing, Message, Request, Response};
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::Cause;

/// A call as its caller knows it.
struct Call {
    phone: Phone,
    /// Between these two its 200 came, as far as one can tell from outside.
    answered: (Instant, Instant),
    number: String,
}

/// What a crash may cost.
const BEHIND: Duration = Duration::from_secs(1);

/// From the start of a process until it has settled what the dead one left, and said BYE.
const SETTLED: Duration = Duration::from_secs(1);

async fn place(carrier: &Exchange, number: usize) -> Call {
    let (from, before) = (format!("+3906{number:08}"), Instant::now());
    let phone = call(carrier, &from).await;
    phone.say(tone(500));
    Call { phone, answered: (before, Instant::now()), number: from }
}

/// A number between zero and `below`, by a seed.
fn draw(seed: &mut u64, below: u64) -> u64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) % below
}

/// Killed at a seeded moment, again and again, on one set of books: while calls come in, talk, hang up.
async fn killed(books: Books, rounds: u64) {
    books.fill().await;
    let sip = free();
    let mut seed = 0x7011_b21d;
    let mut number = 0;
    let carrier = Exchange::start((CARRIER, 0).into(), sip, 11).await.unwrap();
    let mut bridge = Bridge::start(&books, sip, &[]);
    let (mut died, mut gone) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut calls = Vec::new();
        for _ in 0..3 {
            number += 1;
            calls.push(place(&carrier, number).await);
        }
        // At any moment of a second's beat; and every other time while one call comes and another goes.
        tokio::time::sleep(Duration::from_millis(draw(&mut seed, 2_000))).await;
        if round % 2 == 1 {
            let leaving = calls.remove(0);
            leaving.phone.hang_up();
            gone.push(leaving.number);
            let (other, from) = (carrier.clone(), format!("+3907{round:08}"));
            // Whether it is answered before the end is for the moment to say.
            tokio::spawn(async move { drop(other.call(&from, DIRECT).await) });
            tokio::time::sleep(Duration::from_millis(draw(&mut seed, 60))).await;
        }
        bridge.kill();
        let killed = Instant::now();
        bridge = Bridge::start(&books, sip, &[]);
        for mut call in calls {
            let ended = call.phone.ended(Duration::from_secs(15)).await.expect("BYE from the next life");
            assert!(killed.elapsed() <= SETTLED, "round {round}: {:?}", killed.elapsed());
            assert_eq!(ended.reason.unwrap().text, Cause::NodeDied.words(), "round {round}");
            let shortest = (killed - call.answered.1).saturating_sub(BEHIND);
            died.push((call.number, shortest, killed - call.answered.0));
        }
    }
    // The last life takes calls as if nothing had happened.
    call(&carrier, "+390611111111").await.hang_up();
    tokio::time::sleep(Duration::from_millis(500)).await;
    bridge.kill();
    let records = books.audited().await;
    for (number, shortest, longest) in died {
        let [record] = of(&records, &number)[..] else { panic!("{number}: {records:#?}") };
        assert_eq!(record.beyond.cause, Cause::NodeDied, "{number}");
        let talked = Duration::from_millis(record.duration_ms);
        assert!(talked <= longest && talked >= shortest, "{number}: {talked:?}; {shortest:?} to {longest:?}");
        // A cent a second, each begun one.
        assert_eq!(record.charge.0, record.duration_ms.div_ceil(1_000) as i64 * 10_000, "{number}");
    }
    for number in gone.iter().map(String::as_str).chain(["+390611111111"]) {
        assert_eq!(of(&records, number).len(), 1, "{number}: it ended once, before the end or by it");
    }
}

fn of<'a>(records: &'a [UsageRecord], number: &str) -> Vec<&'a UsageRecord> {
    records.iter().filter(|record| record.caller.as_ref().is_some_and(|caller| caller.to_string() == number)).collect()
}

/// `TOLLBRIDGE_TEST_LONG=1`: 25 times on each of the two databases.
fn rounds() -> u64 {
    if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { 25 } else { 3 }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_each_leg_is_settled_once_and_hung_up_in_a_file() {
    killed(Books::file(), rounds()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_each_leg_is_settled_once_and_hung_up_on_a_server() {
    killed(Books::server().await, rounds()).await;
}

/// A node that hangs is replaced by one elsewhere. When it wakes up it can write nothing, ends its calls, and itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_wakes_up_after_it_was_replaced_writes_nothing_and_ends() {
    let books = Books::server().await;
    books.fill().await;
    let (old_sip, new_sip) = (free(), free());
    let mut old = Bridge::start(&books, old_sip, &[]);
    let carrier = Exchange::start((CARRIER, 0).into(), old_sip, 12).await.unwrap();
    let mut talking = place(&carrier, 1).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    old.signal("-STOP");
    // One that asks politely does not get the name.
    let mut polite = Bridge::start(&books, new_sip, &[]);
    assert_eq!(polite.ended(Duration::from_secs(20)).await, Some(1));
    // Its folder is another, as on another machine: what was proven there is not known here.
    let elsewhere = books.elsewhere();
    let new = Bridge::start(&elsewhere, new_sip, &["--take-over"]);
    let beyond = Exchange::start((CARRIER, 0).into(), new_sip, 13).await.unwrap();
    let second = call(&beyond, "+390600000002").await;
    old.signal("-CONT");
    // A call comes in there, and the old one learns from its books that they are another's.
    let refused = carrier.call("+390600000003", TOLL).await.err().map(|ended| ended.status);
    assert!(refused.is_some(), "nobody is let in there");
    assert_eq!(old.ended(Duration::from_secs(20)).await, Some(1));
    assert!(talking.phone.ended(Duration::from_secs(10)).await.is_some(), "its call is ended");
    second.hang_up();
    tokio::time::sleep(Duration::from_millis(500)).await;
    new.kill();
    let records = elsewhere.audited().await;
    let causes: Vec<Cause> = records.iter().map(|record| record.beyond.cause).collect();
    assert_eq!(causes, [Cause::NodeDied, Cause::HungUp], "what the old one knew of its call it could not write");
    assert_eq!(records[0].charge.0, 0, "nothing was proven here");
}

/// A carrier's side made by hand: it says what it is told to, and nothing by itself.
struct ByHand {
    socket: UdpSocket,
}

impl ByHand {
    /// The next request of this method; repeats of others are passed over.
    async fn hears(&self, method: &str) -> (Request, SocketAddr) {
        let mut buffer = vec![0; 65_535];
        let wait = async {
            loop {
                let (length, peer) = self.socket.recv_from(&mut buffer).await.unwrap();
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                if let Ok(Message::Request(request)) = Message::parse(&bytes, Framing::Datagram)
                    && request.method().as_str() == method
                {
                    return (request, peer);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap_or_else(|_| panic!("no {method}"))
    }

    async fn says(&self, to: &(Request, SocketAddr), status: u16) {
        let mut response = Response::to(&to.0, status, "");
        response.set_to_tag("theirs");
        response.push("Contact", &format!("<sip:{}>", self.socket.local_addr().unwrap()));
        self.socket.send_to(&response.to_bytes(), to.1).await.unwrap();
    }
}

/// The far side may answer while our CANCEL is on its way to it: until it has said what it made of that, the books know that it
/// is to be told, whichever life does.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_is_owed_its_end_until_the_far_side_has_said_so() {
    let world = World::start().await;
    let far = ByHand { socket: UdpSocket::bind("127.0.0.11:0").await.unwrap() };
    let route = far.socket.local_addr().unwrap();
    let text = format!("[[carrier]]\nid = \"line\"\nsources = [\"127.0.0.10\"]\nroute = \"udp:{route}\"\n");
    apply(world.node.store(), &text).await;
    let owed = async || world.node.store().recover(clock::wall()).await.unwrap().len();
    // What the far side makes of the CANCEL: whether it crossed an answer.
    for crosses in [false, true] {
        let (leg, invite) = loop {
            let Told::Dialling(leg) = world.dial("open", "+390699999999").await else { panic!("refused") };
            let heard = tokio::time::timeout(Duration::from_secs(2), far.hears("INVITE")).await;
            if let Ok(invite) = heard {
                break (leg, invite);
            }
        };
        far.says(&invite, 180).await;
        world.until(|| async { world.leg(leg).await.state == "ringing" }).await;
        world.ask(Ask::Remove { leg }).await;
        let cancel = far.hears("CANCEL").await;
        world.until(|| async { world.leg(leg).await.state == "over" }).await;
        world.records().await;
        assert_eq!(owed().await, 1, "its account is closed, and nobody knows yet what became of the call");
        far.says(&cancel, 200).await;
        if crosses {
            far.says(&invite, 200).await;
            let bye = far.hears("BYE").await;
            assert_eq!(owed().await, 1, "it is up there, until it has heard our BYE");
            far.says(&bye, 200).await;
        } else {
            far.says(&invite, 487).await;
        }
        world.until(|| async { owed().await == 0 }).await;
    }
    world.end().await;
}

/// A file has one holder, asleep or not: whoever wants it is told who that is, whatever they ask for.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_sleeps_keeps_its_file() {
    let books = Books::file();
    books.fill().await;
    let old_sip = free();
    let old = Bridge::start(&books, old_sip, &[]);
    let carrier = Exchange::start((CARRIER, 0).into(), old_sip, 14).await.unwrap();
    let mut talking = place(&carrier, 1).await;
    old.signal("-STOP");
    let mut other = Bridge::start(&books, free(), &["--take-over"]);
    assert_eq!(other.ended(Duration::from_secs(20)).await, Some(1));
    // Its holder is killed, and the next one has it at once.
    old.kill();
    let new = Bridge::start(&books, old_sip, &[]);
    assert!(talking.phone.ended(Duration::from_secs(15)).await.is_some());
    new.kill();
    assert_eq!(of(&books.audited().await, &talking.number).len(), 1);
}
