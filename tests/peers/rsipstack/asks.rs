//! What is asked beside calls, and of calls by others: is it there, where are we, who is in the meeting, and transfers.

use super::*;
use crate::MACHINE;
use crate::digest::digest;
use crate::world::{DIRECT, TOLL, apply};
use rsipstack::sip::services::DigestGenerator;
use rsipstack::sip::typed::Authorization;
use std::sync::atomic::{AtomicU16, Ordering};
use tollbridge::meeting::Role;
use tollbridge::switchboard::ask::CarrierView;
use tollbridge::types::Cause;

pub async fn carrier(world: &World, id: &str) -> CarrierView {
    let Told::Carriers(carriers) = world.ask(Ask::Carriers).await else { panic!("no carriers") };
    carriers.into_iter().find(|carrier| carrier.id == id).unwrap()
}

async fn is_reached(world: &World, reach: &str) {
    world.until(|| async { carrier(world, "foreign").await.reach.as_deref() == Some(reach) }).await;
}

/// Both ask whether the other is there. While it says that it takes no calls, calls go by another carrier.
#[tokio::test(flavor = "multi_thread")]
async fn each_asks_whether_the_other_is_there() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 71], folder.path()).await;
    let status = Arc::new(AtomicU16::new(200));
    let mut asked = std::mem::replace(&mut stack.asked, unbounded_channel().1);
    let said = status.clone();
    tokio::spawn(async move {
        while let Some(mut transaction) = asked.recv().await {
            assert_eq!(transaction.original.method, Method::Options);
            transaction.reply(said.load(Ordering::Relaxed).into()).await.unwrap();
        }
    });
    stack.known(&world, "ping_s = 1\n").await;
    let (_, answer) = stack.ask(Method::Options, stack.uri(DIRECT), Vec::new()).await;
    let said = |name: &str| answer.header_value(name).unwrap_or_default();
    assert!(said("Allow").contains("UPDATE") && said("Accept") == "application/sdp, multipart/mixed", "{answer}");
    assert!(said("Supported").contains("100rel"), "{answer}");
    is_reached(&world, "up").await;
    status.store(503, Ordering::Relaxed);
    is_reached(&world, "down").await;
    dialled(&world).await;
    world.carrier.incoming(PATIENCE).await.expect("by the other").refuse(486);
    status.store(200, Ordering::Relaxed);
    is_reached(&world, "up").await;
    world.records().await;
    dialled(&world).await;
    let mut call = stack.rung().await;
    call.dialog.reject(None, None).unwrap();
    assert_eq!(call.ended().await, "UasDecline");
    world.end().await;
}

/// Takes a registration from whoever proves to know the password; gives the REGISTER that it took.
async fn registers(asked: &mut UnboundedReceiver<Transaction>) -> Request {
    loop {
        let mut transaction = soon(asked.recv()).await.expect("it listens");
        assert_eq!(transaction.original.method, Method::Register);
        let proof =
            transaction.original.authorization_header().map(|proof| Authorization::parse(proof.value()).unwrap());
        let known = proof.is_some_and(|proof| {
            proof.username == LOGIN.0
                && DigestGenerator::from(&proof, LOGIN.1, &Method::Register).verify(&proof.response)
        });
        if known {
            let contact = transaction.original.contact_header().unwrap().value().to_owned();
            let granted = Header::Contact(format!("{contact};expires=120").into());
            transaction.reply_with(StatusCode::OK, vec![granted], None).await.unwrap();
            return transaction.original.clone();
        }
        let challenge = "Digest realm=\"peer.example\", nonce=\"a1b2\", algorithm=MD5, qop=\"auth\"";
        let challenge = Header::WwwAuthenticate(challenge.into());
        transaction.reply_with(StatusCode::Unauthorized, vec![challenge], None).await.unwrap();
    }
}

/// It has no registrar: one is made here of its transactions and its digest.
#[tokio::test(flavor = "multi_thread")]
async fn we_register_with_it_and_take_that_back() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 72], folder.path()).await;
    let register = format!(
        "register = {{ registrar = \"udp:{}\", aor = \"sip:12345@peer.example\", expires_s = 600 }}\n",
        stack.local
    );
    apply(world.node.store(), &format!("[[carrier]]\nid = \"home\"\n{}{register}", digest(&world, "off"))).await;
    let first = registers(&mut stack.asked).await;
    world.until(|| async { carrier(&world, "home").await.registration.as_deref() == Some("registered") }).await;
    assert!(first.contact_header().unwrap().value().contains("sip:12345@"), "{first}");
    assert_eq!(first.expires_header().map(|expires| expires.value()), Some("600"));
    let (_, last) = tokio::join!(world.end(), registers(&mut stack.asked));
    assert_eq!(last.expires_header().map(|expires| expires.value()), Some("0"), "{last}");
    assert_eq!(last.call_id_header().unwrap().value(), first.call_id_header().unwrap().value());
    let seq = |request: &Request| request.cseq_header().unwrap().seq().unwrap();
    assert!(seq(&last) > seq(&first));
}

/// The next NOTIFY of a subscription, answered. The first may be here before its dialog is made of the 200.
async fn notified(stack: &mut Stack, states: &mut DialogStateReceiver) -> Request {
    let wait = async {
        tokio::select! {
            transaction = stack.asked.recv() => {
                let mut transaction = transaction.expect("it listens");
                transaction.reply(StatusCode::OK).await.unwrap();
                transaction.original.clone()
            }
            state = states.recv() => {
                let Some(DialogState::Notify(_, request, handle)) = state else { panic!("{state:?}") };
                handle.reply(StatusCode::OK).await.unwrap();
                request
            }
        }
    };
    soon(wait).await
}

#[tokio::test(flavor = "multi_thread")]
async fn it_watches_the_meeting_that_it_is_in() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 73], folder.path()).await;
    stack.known(&world, "").await;
    let call = stack.call(DIRECT, Vec::new()).await.unwrap();
    world.inside("open", 1).await;
    let focus = call.answer.typed_contact_headers().unwrap().remove(0).uri;
    let headers = || vec![Header::Event("conference".into()), Header::Accept("application/conference-info+xml".into())];
    let asked = [headers(), vec![Header::Expires(120.into())]].concat();
    let (subscribe, answer) = stack.ask(Method::Subscribe, focus, asked).await;
    assert_eq!(answer.status_code, StatusCode::OK, "{answer}");
    assert_eq!(answer.expires_header().map(|expires| expires.value()), Some("120"));
    let id = DialogId::try_from((&answer, TransactionRole::Client)).unwrap();
    let (tell, mut states) = stack.layer.new_dialog_state_channel();
    let DialogId { call_id, local_tag, remote_tag } = id.clone();
    let own = Some(stack.contact());
    let subscription = stack
        .layer
        .get_or_create_client_subscription(call_id, local_tag, remote_tag, subscribe, tell, None, own)
        .unwrap();

    let whole = notified(&mut stack, &mut states).await;
    let text = |notify: &Request| String::from_utf8(notify.body.clone()).unwrap();
    let state = |notify: &Request| notify.header_value("Subscription-State").unwrap();
    assert!(state(&whole).starts_with("active;expires="), "{whole}");
    assert!(text(&whole).contains("state=\"full\"") && text(&whole).contains("<user-count>1</user-count>"), "{whole}");
    let guido = world.call("+390611111111", DIRECT).await;
    let mut notifies = vec![whole];
    // Of the first it is told whole and then in part.
    while !text(notifies.last().unwrap()).contains("+39061111****") {
        notifies.push(notified(&mut stack, &mut states).await);
    }
    // Its own `unsubscribe` answers the last NOTIFY 501 where the 200 came first.
    let no_more = [headers(), vec![Header::Expires(0.into())]].concat();
    let answer = soon(subscription.subscribe(Some(no_more), None)).await.unwrap().expect("an answer");
    assert_eq!(answer.status_code, StatusCode::OK, "{answer}");
    while !state(notifies.last().unwrap()).starts_with("terminated") {
        notifies.push(notified(&mut stack, &mut states).await);
    }
    let numbers: Vec<u32> = notifies.iter().map(|notify| notify.cseq_header().unwrap().seq().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    for notify in &notifies {
        assert_eq!(DialogId::try_from((notify, TransactionRole::Server)).unwrap(), id, "{notify}");
    }
    guido.hang_up();
    soon(call.dialog.bye()).await.unwrap();
    world.end().await;
}

/// A bridge that allows it to transfer, and it.
async fn trusted(ip: [u8; 4]) -> (World, Stack) {
    let world = bridge_with(|settings| settings.meeting.keypad_calls = true).await;
    let stack = Stack::start(&world, Transport::Tcp, ip, world.folder.path()).await;
    stack.known(&world, "transfers = true\n").await;
    (world, stack)
}

/// One of its telephones has another of its rung, by REFER, and is told how that goes; then the bridge has the first call elsewhere.
#[tokio::test(flavor = "multi_thread")]
async fn it_refers_and_is_referred() {
    let _turn = MACHINE.read().await;
    let (world, mut stack) = trusted([127, 0, 0, 74]).await;
    // What it may be asked for it does not say by itself.
    let allow = Header::Allow("INVITE, ACK, BYE, CANCEL, NOTIFY, REFER".into());
    let mut call = stack.call(DIRECT, vec![allow]).await.unwrap();
    world.inside("open", 1).await;
    let leg = leg_of(&world, NUMBER).await;
    let target = format!("<sip:{CALLED}@anywhere.example>");
    let refused = soon(call.dialog.refer(target.clone(), None, None)).await.unwrap().expect("an answer");
    assert_eq!(refused.status_code.code(), Cause::TransferRefused.sip(), "it leads no meeting");
    let told = world.ask(Ask::Promote { leg, role: Role::Organiser }).await;
    assert!(matches!(told, Told::Done), "{told:?}");
    let taken = soon(call.dialog.refer(target, None, None)).await.unwrap().expect("an answer");
    assert_eq!(taken.status_code, StatusCode::Accepted, "{taken}");
    let mut rung = stack.rung().await;
    rung.dialog.ringing(None, None).unwrap();
    let status = |what: &'static str| {
        move |state: &DialogState| match state {
            DialogState::Notify(_, notify, _) => String::from_utf8_lossy(&notify.body)
                .starts_with(what)
                .then(|| notify.header_value("Subscription-State").unwrap()),
            _ => None,
        }
    };
    assert!(call.until(status("SIP/2.0 180 ")).await.starts_with("active"));
    rung.accept().await;
    assert!(call.until(status("SIP/2.0 200 ")).await.starts_with("terminated;reason=noresource"));
    world.inside("open", 2).await;
    soon(rung.dialog.bye()).await.unwrap();
    world.inside("open", 1).await;

    let to = CALLED.parse().unwrap();
    let goes = async {
        let number = |state: &DialogState| match state {
            DialogState::Refer(_, refer, handle) => {
                Some((refer.refer_to_header().unwrap().value().to_owned(), handle.clone()))
            }
            _ => None,
        };
        let (target, handle) = call.until(number).await;
        handle.reply(StatusCode::Accepted).await.unwrap();
        for (status, state) in
            [(StatusCode::Ringing, "active;expires=60"), (StatusCode::OK, "terminated;reason=noresource")]
        {
            let answer = soon(call.dialog.notify_refer(status, state)).await.unwrap().expect("an answer");
            assert_eq!(answer.status_code, StatusCode::OK, "{answer}");
        }
        target
    };
    let (told, target) = tokio::join!(world.ask(Ask::Transfer { leg, to }), goes);
    assert!(matches!(told, Told::Done), "{told:?}");
    assert!(target.contains(CALLED), "{target}");
    assert_eq!(call.ended().await, "UasBye", "it is elsewhere now");
    let records = world.records().await;
    let mut causes: Vec<Cause> = records.iter().map(|record| record.beyond.cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, [Cause::HungUp, Cause::Transferred]);
    world.end().await;
}

/// A second telephone of its takes the place of the first, by the name that its own dialog has.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_its_takes_the_place_of_another() {
    let _turn = MACHINE.read().await;
    let (world, stack) = trusted([127, 0, 0, 75]).await;
    let mut first = stack.call(DIRECT, Vec::new()).await.unwrap();
    world.inside("open", 1).await;
    let DialogId { call_id, local_tag, remote_tag } = first.id();
    let replaces = |from: &str| Header::Replaces(format!("{call_id};to-tag={remote_tag};from-tag={from}").into());
    let refused = stack.call("conference", vec![replaces("astray")]).await.err().expect("there is no such call");
    assert_eq!(refused.status_code.code(), 481, "{refused}");
    let refused = stack.call(TOLL, vec![replaces(&local_tag)]).await.err().expect("another number has another price");
    assert_eq!(refused.status_code.code(), Cause::TransferRefused.sip(), "{refused}");
    let second = stack.call("conference", vec![replaces(&local_tag)]).await.unwrap();
    assert_eq!(first.ended().await, "UasBye");
    world.inside("open", 1).await;
    soon(second.dialog.bye()).await.unwrap();
    let records = world.records().await;
    let mut causes: Vec<Cause> = records.iter().map(|record| record.beyond.cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, [Cause::HungUp, Cause::Replaced]);
    world.end().await;
}
