//! Transfers over real sockets, paid for: somebody is added by REFER, a call takes another's place, a leg is sent away.

use crate::world::{CARRIER, DIRECT, DIRECT_UNLICENSED, PEOPLE, TOLL, TOLL_FREE, World, apply, hears, led, tone};
use bytes::Bytes;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tollbridge::api::leg::TransferOrder;
use tollbridge::api::report::CarrierFile;
use tollbridge::cli::phone::{Ended, Exchange, Phone};
use tollbridge::rating::record::utc;
use tollbridge::rating::{CallType, UsageRecord};
use tollbridge::sip::{Framing, Message, Transport};
use tollbridge::switchboard::ask::{Ask, LegView};
use tollbridge::types::Cause;

const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_millis(300);
const CALLED: &str = "+390699999999";

/// The carrier's settings anew, with these; in force when this comes back.
async fn set(world: &World, id: &str, exchange: &Exchange, settings: &str) {
    let (local, told) = (exchange.local(), if settings.is_empty() { 404 } else { 410 });
    let map = if told == 410 { "[carrier.failure_map]\nunknown-number = \"410\"\n" } else { "" };
    let text = format!(
        "[[carrier]]\nid = \"{id}\"\nsources = [\"{}\"]\nroute = \"udp:{local}\"\n{settings}\n{map}",
        local.ip()
    );
    apply(world.node.store(), &text).await;
    let heard = || async { exchange.call(TOLL, "+390600000009").await.err().map(|e| e.status) == Some(told) };
    world.until(heard).await;
}

/// A node whose carrier may transfer.
async fn allowed() -> World {
    let world = World::with(&PEOPLE.replace("credits = \"10.00\"", "credits = \"100.00\""), |settings| {
        settings.meeting.keypad_calls = true
    })
    .await;
    set(&world, "line", &world.carrier.clone(), "transfers = true").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organisers_telephone_has_somebody_rung_told_how_it_goes_and_the_meeting_pays() {
    let world = allowed().await;
    let (mut anna, guido) = led(&world).await;
    anna.refer(&format!("<sip:{CALLED}@anywhere.example>"));
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    assert_eq!((incoming.invitation.request_user.as_str(), incoming.invitation.from_user.as_str()), (CALLED, TOLL));
    tokio::time::sleep(AT_ONCE).await;
    let called = incoming.answer().await.unwrap();
    called.say(tone(1_500));
    assert_eq!(anna.referred(SOON).await, [100, 180, 200]);
    world.inside("led", 3).await;
    assert_eq!(hears(&guido, &[1_500]).await, [1_500], "in the room");
    for phone in [&called, &guido, &anna] {
        phone.hang_up();
    }
    let records = world.records().await;
    let out = records.iter().find(|record| record.destination.to_string() == CALLED).unwrap();
    assert!(out.charge.0 > out.connection_fee.0 && out.connection_fee.0 == 50_000, "by the deck, as every call out");
    assert_eq!((out.beyond.organisation.as_ref().map(|o| o.as_str()), records.len()), (Some("acme"), 3));
    world.end().await;
}

/// The leg of whoever calls by this number.
async fn leg_of(world: &World, caller: &str) -> LegView {
    let legs = world.legs().await;
    legs.into_iter().find(|leg| leg.caller.as_deref() == Some(caller)).expect("a leg")
}

/// Many telephones refer and hang up at once: whom they asked for is rung, and comes to those who are still there.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_refers_and_hangs_up_has_somebody_rung_all_the_same_and_the_meeting_pays() {
    let world = allowed().await;
    let (anna, guido) = led(&world).await;
    anna.refer(&format!("<tel:{CALLED}>"));
    anna.hang_up();
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    world.inside("led", 1).await;
    let called = incoming.answer().await.unwrap();
    called.say(tone(1_500));
    world.inside("led", 2).await;
    assert_eq!(hears(&guido, &[1_500]).await, [1_500], "in the room that she left");
    for phone in [&called, &guido] {
        phone.hang_up();
    }
    let records = world.records().await;
    let out = records.iter().find(|record| record.destination.to_string() == CALLED).unwrap();
    assert!(out.charge.0 > out.connection_fee.0 && out.connection_fee.0 == 50_000, "by the deck, as every call out");
    assert_eq!((out.beyond.organisation.as_ref().map(|o| o.as_str()), records.len()), (Some("acme"), 3));
    world.end().await;
}

/// It is stopped by whoever ends the meeting for all, when all others have left as well.
#[tokio::test(flavor = "multi_thread")]
async fn what_rings_for_whoever_has_left_ends_with_the_meeting() {
    let world = allowed().await;
    for (calls, stays) in [(1, true), (2, false)] {
        let (anna, mut guido) = led(&world).await;
        anna.refer(&format!("<tel:{CALLED}>"));
        let incoming = world.carrier.incoming(SOON).await.expect("it rings");
        anna.hang_up();
        if !stays {
            guido.hang_up();
        }
        world.inside("led", usize::from(stays)).await;
        world.ask(Ask::End { meeting: "led".parse().unwrap() }).await;
        assert!(incoming.cancelled(SOON).await);
        assert!(!stays || guido.ended(SOON).await.is_some());
        let records = world.records().await;
        let out = records.iter().filter(|record| record.destination.to_string() == CALLED);
        let out: Vec<_> = out.map(|out| (out.charge.0, out.beyond.cause)).collect();
        assert_eq!(out, vec![(0, Cause::MeetingEnded); calls]);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_referral_that_comes_to_nothing_is_told_with_its_status_and_costs_nothing() {
    let world = allowed().await;
    let (mut anna, guido) = led(&world).await;
    anna.refer(&format!("<tel:{CALLED}>"));
    let busy = world.carrier.incoming(SOON).await.expect("it rings");
    tokio::time::sleep(AT_ONCE).await;
    busy.refuse(486);
    assert_eq!(anna.referred(SOON).await, [100, 180, 486]);
    // She is shown out: nobody waits for what she had rung.
    anna.refer(&format!("<tel:{CALLED}>"));
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    world.ask(Ask::Remove { leg: leg_of(&world, "+390622222222").await.id.parse().unwrap() }).await;
    assert!(incoming.cancelled(SOON).await);
    guido.hang_up();
    let records = world.records().await;
    let out: Vec<_> = records.iter().filter(|record| record.destination.to_string() == CALLED).collect();
    assert!(out.len() == 2 && out.iter().all(|record| record.charge.0 == 0), "{out:#?}");
    world.end().await;
}

/// Who asks, whom for, and what they are told; and nobody is rung.
#[tokio::test(flavor = "multi_thread")]
async fn a_referral_is_refused_by_who_asks_and_by_whom_it_names() {
    let world = allowed().await;
    let (mut anna, mut guido) = led(&world).await;
    guido.refer(&format!("<sip:{CALLED}@x>"));
    assert_eq!(guido.referred(SOON).await, [403], "no organiser");
    for (to, status) in [
        // Premium, however it is written; help; nobody; no rate; headers and methods of others.
        ("<sip:+39899123456@x>".to_owned(), 403),
        ("<sip:%2b39899%31%323456@x;user=phone>".to_owned(), 403),
        ("<tel:+39-899-(123).456>".to_owned(), 403),
        ("<sip:0039899123456@x>".to_owned(), 403),
        ("<sip:112@x>".to_owned(), 403),
        ("<sip:nobody@x>".to_owned(), 484),
        ("<sip:+8816123456789@x>".to_owned(), 403),
        (format!("<sip:{CALLED}@x?Replaces=a%3Bto-tag%3D1%3Bfrom-tag%3D2>"), 403),
    ] {
        anna.refer(&to);
        assert_eq!(anna.referred(SOON).await, [status], "{to}");
    }
    assert!(world.carrier.incoming(AT_ONCE).await.is_none(), "nobody is rung");
    // Not any more, whoever asks.
    set(&world, "line", &world.carrier.clone(), "").await;
    anna.refer(&format!("<sip:{CALLED}@x>"));
    assert_eq!(anna.referred(SOON).await, [403], "the setting is off");
    assert!(world.carrier.incoming(AT_ONCE).await.is_none());
    anna.hang_up();
    guido.hang_up();
    let records = world.records().await;
    assert_eq!(records.iter().filter(|record| record.charge.0 > 0).count(), 2, "their own calls alone: {records:#?}");
    world.end().await;
}

/// A call that wants the place of another.
async fn in_place_of(exchange: &Exchange, from: &str, to: &str, replaces: &str) -> Result<Phone, Ended> {
    exchange.place_with(from, to, vec![("Replaces".to_owned(), replaces.to_owned())]).await?.answered().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_takes_the_place_of_another_and_each_pays_for_its_own_time() {
    let world = allowed().await;
    let (mut anna, guido) = led(&world).await;
    anna.press("*6").await;
    world.until(|| async { world.legs().await.iter().any(|leg| leg.muted) }).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let name = anna.replaces().unwrap();
    // What it calls is the bridge, and no number of ours.
    let anew = in_place_of(&world.carrier, "+390644444444", "conference", &name).await.unwrap();
    let ended = anna.ended(SOON).await.expect("the old call is ended");
    assert_eq!(ended.reason.unwrap().text, Cause::Replaced.words());
    world.inside("led", 2).await;
    let hers = leg_of(&world, "+390644444444").await;
    assert_eq!((hers.role.as_deref(), hers.muted, hers.state.as_str()), (Some("organiser"), true, "meeting"));
    anew.press("*6").await;
    world.until(|| async { !world.legs().await.iter().any(|leg| leg.muted) }).await;
    anew.say(tone(900));
    assert_eq!(hears(&guido, &[900]).await, [900]);
    // A telephone that is hung up on has no place to give.
    let late = in_place_of(&world.carrier, "+390655555555", TOLL, &name).await.err().map(|ended| ended.status);
    assert!(matches!(late, Some(481 | 603)), "{late:?}");
    for phone in [&anew, &guido] {
        phone.hang_up();
    }
    let records = world.records().await;
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.charge.0 > 0), "each for its own time: {records:#?}");
    let replaced = records.iter().find(|record| record.beyond.cause == Cause::Replaced).unwrap();
    assert!(replaced.charge.0 >= 10_000, "by the second");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_a_place_that_is_not_theirs_to_take() {
    let world = allowed().await;
    let (mut anna, guido) = led(&world).await;
    let name = anna.replaces().unwrap();
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let other = Exchange::start(([127, 0, 0, 12], 0).into(), trunk, 9).await.unwrap();
    set(&world, "other", &other, "transfers = true").await;
    let status = async |exchange: &Exchange, to: &str, name: &str| {
        in_place_of(exchange, "+390644444444", to, name).await.err().map(|ended| ended.status)
    };
    assert_eq!(status(&other, TOLL, &name).await, Some(481), "another carrier");
    assert_eq!(status(&other, TOLL, &format!("{name};early-only")).await, Some(481), "it learns no more");
    assert_eq!(status(&world.carrier, TOLL, &format!("{name};early-only")).await, Some(486));
    assert_eq!(status(&world.carrier, TOLL, &name.replace("to-tag=", "to-tag=x")).await, Some(481));
    assert_eq!(status(&world.carrier, TOLL, "nonsense").await, Some(400));
    assert_eq!(status(&world.carrier, DIRECT, &name).await, Some(403), "the number decides the price");
    // The books refuse it: the old one stays.
    apply(world.node.store(), "[[organisation]]\nid = \"acme\"\nname = \"Acme\"\ncountry = \"IT\"\ncurrency = \"USD\"\nvolume_licensing = true\n[organisation.limits]\nmax_calls = 2\n").await;
    let refused = async || status(&world.carrier, TOLL, &name).await == Some(503);
    world.until(refused).await;
    assert!(anna.ended(AT_ONCE).await.is_none(), "she is still there");
    world.inside("led", 2).await;
    set(&world, "line", &world.carrier.clone(), "").await;
    assert_eq!(status(&world.carrier, TOLL, &name).await, Some(481), "the setting is off");
    for replaces in [Some(name.as_str()), None] {
        let insisted = [("Require", Some("replaces")), ("Replaces", replaces)];
        let headers = insisted.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        let phone = world.carrier.place_with("+390644444444", TOLL, headers.collect()).await.unwrap();
        assert_eq!(phone.answered().await.err().map(|ended| ended.status), Some(420), "and whoever insists is told so");
    }
    for phone in [&anna, &guido] {
        phone.hang_up();
    }
    world.end().await;
}

/// The carrier moves its caller to another number of ours: the call goes on, a leg of its own is opened for that number and paid as
/// a call to it, and nobody else is moved. A number that asks for a meeting asks here, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_moved_to_another_number_and_each_number_is_paid_for_its_own_time() {
    let world = allowed().await;
    let (anna, mut guido) = led(&world).await;
    let there = world.call("+390633333333", DIRECT).await;
    world.inside("open", 1).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    // Muted where he is: that is none of theirs where he goes.
    let his = leg_of(&world, "+390611111111").await;
    world.ask(Ask::Mute { leg: his.id.parse().unwrap(), on: true }).await;
    guido.refer(&format!("<sip:{DIRECT}@anywhere.example>"));
    assert_eq!(guido.referred(SOON).await.last(), Some(&200));
    world.inside("open", 2).await;
    world.inside("led", 1).await;
    guido.say(tone(900));
    assert_eq!(hears(&there, &[900]).await, [900], "where he is now");
    assert!(hears(&anna, &[900]).await.is_empty(), "and no more where he was");
    tokio::time::sleep(Duration::from_millis(600)).await;
    // What the carrier's call is stays what it costs; and where he is he need not go.
    for elsewhere in [TOLL_FREE, DIRECT] {
        guido.refer(&format!("<tel:{elsewhere}>"));
        assert_eq!(guido.referred(SOON).await, [Cause::TransferRefused.sip()], "{elsewhere}");
    }
    guido.refer(&format!("<tel:{TOLL}>"));
    assert_eq!(guido.referred(SOON).await.last(), Some(&200));
    world.inside("open", 1).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    guido.press("1000001").await;
    world.inside("open", 2).await;
    assert!(guido.ended(AT_ONCE).await.is_none(), "it is one call all along");
    // It still runs, so that the carrier has no record of it to be missed.
    let text = "call_id,answer,duration\nnobody@x,2026-01-01T00:00:00Z,0\n".to_owned();
    let (from, to) = (Some("2020-01-01".to_owned()), Some("2100-01-01".to_owned()));
    let file = CarrierFile { name: "cdr.csv".to_owned(), text, from, to, dry_run: true, ..CarrierFile::default() };
    let told = world.post("/carriers/line/reconcile", &file).await;
    assert_eq!((told["ours"].as_u64(), &told["counts"]["only_ours"]), (Some(0), &0.into()), "{told}");
    for phone in [&anna, &guido, &there] {
        phone.hang_up();
    }
    let records = world.records().await;
    let of_his = |record: &&UsageRecord| record.caller.is_some_and(|caller| caller.to_string() == "+390611111111");
    let mut his: Vec<&UsageRecord> = records.iter().filter(of_his).collect();
    his.sort_by_key(|record| record.start);
    let told = his.iter().map(|record| (record.destination.to_string(), record.call_type, record.beyond.cause));
    let expected = [
        (TOLL.to_owned(), CallType::DialInToll, Cause::Transferred),
        (DIRECT.to_owned(), CallType::DialInToll, Cause::Transferred),
        (TOLL.to_owned(), CallType::DialInToll, Cause::HungUp),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    for record in his.iter() {
        assert!(record.duration_ms > 500, "{record:?}");
        assert_eq!(record.charge.0, record.duration_ms.div_ceil(1_000) as i64 * 10_000, "{record:?}");
    }
    assert_eq!((his[0].call_id.as_str(), records.len()), (his[2].call_id.as_str(), 5));
    assert!(his[0].beyond.quality.mos_hundredths.is_some(), "each has the figures of its own time: {:?}", his[0]);
    // The carrier has one call, from its answer to its end.
    let talked_ms = (his[2].beyond.stamps.ended.micros() - his[0].start.micros()) / 1_000;
    let text = format!("call_id,answer,duration\n{},{},{talked_ms}\n", his[0].call_id, utc(his[0].start));
    let unit = Some("millisecond".to_owned());
    let file = CarrierFile { name: "cdr.csv".to_owned(), text, unit, ..CarrierFile::default() };
    let told = world.post("/carriers/line/reconcile", &file).await;
    assert_eq!((told["matched"].as_u64(), told["ours"].as_u64()), (Some(1), Some(1)), "{told}");
    assert_eq!(told["differences"].as_array().map(Vec::len), Some(0), "{told}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_alone_in_a_meeting_is_moved_to_the_number_that_leads_there() {
    let world = allowed().await;
    let mut guido = world.call("+390611111111", TOLL).await;
    guido.press("1000001").await;
    world.inside("open", 1).await;
    guido.refer(&format!("<tel:{DIRECT}>"));
    assert_eq!(guido.referred(SOON).await.last(), Some(&200));
    world.inside("open", 1).await;
    guido.hang_up();
    assert_eq!(world.records().await.len(), 2);
    world.end().await;
}

/// Where the books do not agree, or the far number leads nowhere, the caller stays, and pays for where they are.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whom_nobody_pays_for_there_stays() {
    let world = allowed().await;
    let (anna, mut guido) = led(&world).await;
    guido.refer(&format!("<sip:{DIRECT_UNLICENSED}@x>"));
    assert_eq!(guido.referred(SOON).await, [Cause::NotLicensed.sip()]);
    world.inside("led", 2).await;
    // He hangs up while the books are asked, or right after: nothing is left of it.
    guido.refer(&format!("<sip:{DIRECT}@x>"));
    guido.hang_up();
    world.inside("led", 1).await;
    anna.hang_up();
    let records = world.records().await;
    let due = |record: &UsageRecord| record.duration_ms.div_ceil(1_000) as i64 * 10_000;
    assert!(records.iter().all(|record| record.charge.0 == due(record)), "{records:#?}");
    let refused = records.iter().find(|record| record.beyond.cause == Cause::NotLicensed).unwrap();
    assert_eq!((refused.destination.to_string().as_str(), refused.charge.0), (DIRECT_UNLICENSED, 0));
    world.end().await;
}

/// A phone that we rang hands its call on: from then on it is a call in, to the number that we showed, and nothing is paid to the
/// number that was rung.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_that_we_rang_is_replaced_by_a_call_in_to_the_number_that_we_showed() {
    let world = allowed().await;
    let (anna, guido) = led(&world).await;
    world.dial("led", CALLED).await;
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    assert_eq!(incoming.invitation.from_user, TOLL);
    let mut called = incoming.answer().await.unwrap();
    world.inside("led", 3).await;
    let name = called.replaces().unwrap();
    let elsewhere = in_place_of(&world.carrier, "+390644444444", DIRECT, &name).await;
    assert_eq!(elsewhere.err().map(|ended| ended.status), Some(403), "the number decides the price");
    let anew = in_place_of(&world.carrier, "+390644444444", "conference", &name).await.unwrap();
    let ended = called.ended(SOON).await.expect("the phone is hung up on");
    assert_eq!(ended.reason.unwrap().text, Cause::Replaced.words());
    world.inside("led", 3).await;
    anew.say(tone(900));
    assert_eq!(hears(&guido, &[900]).await, [900]);
    for phone in [&anew, &guido, &anna] {
        phone.hang_up();
    }
    let records = world.records().await;
    let out = records.iter().find(|record| record.call_type == CallType::DialOut).unwrap();
    assert_eq!((out.beyond.cause, out.destination.to_string().as_str()), (Cause::Replaced, CALLED));
    assert!(out.charge.0 > 50_000, "its own time, by the second, and the connection");
    let of_new = |record: &&UsageRecord| record.caller.is_some_and(|caller| caller.to_string() == "+390644444444");
    let new = records.iter().find(of_new).unwrap();
    assert_eq!((new.call_type, new.destination.to_string().as_str()), (CallType::DialInToll, TOLL));
    assert_eq!(new.charge.0, new.duration_ms.div_ceil(1_000) as i64 * 10_000, "{new:?}");
    assert_eq!(records.len(), 4);
    world.end().await;
}

/// A telephone that says what it is told to, in the order in which it is told to.
struct Bare {
    socket: UdpSocket,
    trunk: SocketAddr,
    local: SocketAddr,
    /// Whom it calls.
    called: &'static str,
}

const EMPTY: &str = "Content-Length: 0\r\n\r\n";

impl Bare {
    async fn start(world: &World, called: &'static str) -> Bare {
        let socket = UdpSocket::bind((Ipv4Addr::from(CARRIER), 0)).await.unwrap();
        let (trunk, local) = (world.node.sip(Transport::Udp).unwrap(), socket.local_addr().unwrap());
        Bare { socket, trunk, local, called }
    }

    async fn send(&self, method: &str, cseq: u32, to: &str, rest: &str) {
        let Bare { trunk, local, called, .. } = self;
        let request = format!(
            "{method} sip:{called}@{trunk} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{method};rport\r\nMax-Forwards: 70\r\n\
             From: <sip:+390644444444@{local}>;tag=anew\r\nTo: {to}\r\nCall-ID: anew\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:anew@{local}>\r\n{rest}"
        );
        self.socket.send_to(request.as_bytes(), *trunk).await.unwrap();
    }

    async fn hears(&self, wanted: &str) -> Message {
        loop {
            let mut buffer = vec![0; 65_535];
            let heard = tokio::time::timeout(SOON, self.socket.recv_from(&mut buffer)).await;
            let (length, _) = heard.unwrap_or_else(|_| panic!("no {wanted}")).unwrap();
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            if bytes.starts_with(wanted.as_bytes()) {
                return Message::parse(&bytes, Framing::Datagram).unwrap();
            }
        }
    }

    /// Calls, with these lines, and is answered: by which To.
    async fn invite(&self, lines: &str) -> String {
        let ip = self.local.ip();
        let offer =
            format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 9000 RTP/AVP 8\r\n");
        let body = format!("{lines}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{offer}", offer.len());
        self.send("INVITE", 1, &format!("<sip:{}@{}>", self.called, self.trunk), &body).await;
        let Message::Response(answer) = self.hears("SIP/2.0 200").await else { panic!("no answer") };
        answer.header("To").unwrap().to_owned()
    }
}

/// The old call goes into a meeting after the new one has asked the books, and before it is up: nobody has said who pays for the
/// new one there, so that the place is not its to take.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_came_after_the_question_who_pays_is_not_taken() {
    let world = allowed().await;
    let mut anna = world.call("+390622222222", TOLL).await;
    let name = anna.replaces().unwrap();
    let phone = Bare::start(&world, TOLL).await;
    let to = phone.invite(&format!("Replaces: {name}\r\n")).await;
    anna.press("1000002").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    anna.press("*").await;
    tokio::time::sleep(AT_ONCE).await;
    anna.press("4711#").await;
    world.inside("led", 1).await;
    phone.send("ACK", 1, &to, EMPTY).await;
    phone.hears("BYE").await;
    assert!(anna.ended(AT_ONCE).await.is_none(), "she is still there");
    world.inside("led", 1).await;
    anna.hang_up();
    world.until(|| async { world.records().await.len() == 2 }).await;
    let paid = world.records().await.into_iter().filter(|record| record.charge.0 > 0).count();
    assert_eq!(paid, 1, "hers alone");
    world.end().await;
}

/// Many telephones that are sent elsewhere do not wait for it: they agree, and hang up.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_agrees_to_go_elsewhere_and_hangs_up_has_gone() {
    let world = allowed().await;
    let (anna, mut guido) = led(&world).await;
    let page = format!("/legs/{}/transfer", leg_of(&world, "+390611111111").await.id);
    let order = TransferOrder { to: CALLED.to_owned() };
    let goes = async {
        assert_eq!(guido.sent_away(&[180], SOON).await.as_deref(), Some(CALLED));
        tokio::time::sleep(AT_ONCE).await;
        guido.hang_up();
    };
    let ((status, told), ()) = tokio::join!(world.try_post(&page, &order), goes);
    assert_eq!(status, 204, "{told}");
    anna.hang_up();
    assert_eq!(world.records().await.len(), 2);
    world.end().await;
}

/// The 202 comes after the BYE that was said after it.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_agrees_and_is_overtaken_by_their_own_goodbye_has_gone() {
    for (status, expected) in [("202 Accepted", 204), ("603 Decline", 409)] {
        let world = allowed().await;
        let phone = Bare::start(&world, DIRECT).await;
        let to = phone.invite("Allow: INVITE, ACK, BYE, REFER\r\n").await;
        phone.send("ACK", 1, &to, EMPTY).await;
        // What is said after the ACK is answered after it.
        phone.send("INFO", 2, &to, EMPTY).await;
        while !matches!(phone.hears("SIP/2.0 200").await, Message::Response(answer) if answer.cseq().0 == 2) {}
        let page = format!("/legs/{}/transfer", leg_of(&world, "+390644444444").await.id);
        let order = TransferOrder { to: CALLED.to_owned() };
        let goes = async {
            let Message::Request(refer) = phone.hears("REFER").await else { panic!("no REFER") };
            phone.send("BYE", 3, &to, EMPTY).await;
            phone.hears("SIP/2.0 200").await;
            let mut answer = format!("SIP/2.0 {status}\r\n");
            for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
                answer += &format!("{name}: {}\r\n", refer.header(name).unwrap());
            }
            phone.socket.send_to(format!("{answer}{EMPTY}").as_bytes(), phone.trunk).await.unwrap();
        };
        let ((told, body), ()) = tokio::join!(world.try_post(&page, &order), goes);
        assert_eq!(told, expected, "{body}");
        let records = world.records().await;
        assert_eq!((records.len(), records[0].beyond.cause), (1, Cause::HungUp), "its account is closed once");
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_is_sent_to_another_number_and_pays_until_its_end() {
    let world = allowed().await;
    let (anna, mut guido) = led(&world).await;
    let page = format!("/legs/{}/transfer", leg_of(&world, "+390611111111").await.id);
    let order = |to: &str| TransferOrder { to: to.to_owned() };
    // Whoever may not be rung is nobody to be sent to.
    for to in ["+39899123456", "+8816123456789", "nobody"] {
        let (status, _) = world.try_post(&page, &order(to)).await;
        assert!((400..500).contains(&status), "{to}: {status}");
    }
    assert!(guido.sent_away(&[], AT_ONCE).await.is_none(), "and is not named to the carrier");
    let elsewhere = order(CALLED);
    // Busy there: he stays, and whoever asked is told.
    let (asked, away) = (world.try_post(&page, &elsewhere), guido.sent_away(&[180, 486], SOON));
    let ((status, told), user) = tokio::join!(asked, away);
    assert_eq!((user.as_deref(), told["error"].as_str()), (Some(CALLED), Some("busy")), "{status} {told}");
    world.inside("led", 2).await;
    let (asked, away) = (world.try_post(&page, &elsewhere), guido.sent_away(&[180, 200], SOON));
    let ((status, told), _) = tokio::join!(asked, away);
    assert_eq!(status, 204, "{told}");
    let ended = guido.ended(SOON).await.expect("he is hung up on, if he does not do it himself");
    assert_eq!(ended.reason.unwrap().text, Cause::Transferred.words());
    anna.hang_up();
    let records = world.records().await;
    let his = records.iter().find(|record| record.beyond.cause == Cause::Transferred).unwrap();
    assert!(his.charge.0 > 0 && records.len() == 2, "nothing but its own time: {records:#?}");
    world.end().await;
}
