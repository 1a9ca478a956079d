//! Faults put in by hand, one a row: whoever is to find them does.

use crate::book::{Book, Last, compare};
use crate::referee::Referee;
use crate::watcher::Watcher;
use bytes::Bytes;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tollbridge::clock::Mono;
use tollbridge::sip::{Call, Framing, Message};

/// Changes the caller's book, or the callee's.
type Plant = fn(&mut Book, &mut Book);

fn second(number: u64) -> Mono {
    Mono::from_millis(number * 1_000)
}

/// Two books of one call, hung up by the caller, of which nobody has anything to say.
fn books() -> [Book; 2] {
    let mut caller = Book::new(Call::outbound(1), true, "");
    (caller.answers, caller.hung_up, caller.last) = (1, true, Some(Last::Released));
    (caller.up, caller.over) = (Some(second(2)), Some(second(20)));
    let mut callee = Book::new(Call::outbound(2), false, "");
    (callee.accepted, callee.acknowledged, callee.last) = (true, true, Some(Last::HungUp));
    (callee.up, callee.over) = (Some(second(1)), Some(second(21)));
    for (book, other) in [(&mut caller, "theirs"), (&mut callee, "ours")] {
        book.answer = "answer".to_owned();
        (book.ours, book.theirs) = ("ours".to_owned(), "theirs".to_owned());
        if other == "ours" {
            std::mem::swap(&mut book.ours, &mut book.theirs);
        }
    }
    [caller, callee]
}

#[test]
fn books_that_disagree_are_found() {
    let rows: [(&str, Plant); 12] = [
        ("no last word", |caller, _| caller.last = None),
        ("both were hung up on", |caller, _| caller.last = Some(Last::HungUp)),
        ("nobody hung up", |caller, _| caller.hung_up = false),
        ("answered, and cancelled", |_, callee| callee.last = Some(Last::Cancelled)),
        ("up alone", |_, callee| callee.over = Some(second(100))),
        ("another agreement", |caller, _| caller.theirs = "other".to_owned()),
        ("an answer of nobody", |caller, _| caller.answer = "other".to_owned()),
        ("answered by whoever never accepted", |_, callee| callee.accepted = false),
        ("an ACK of nobody", |caller, _| (caller.answers, caller.last) = (0, Some(Last::Failed(408)))),
        ("answered, and not acknowledged", |_, callee| callee.unacknowledged = true),
        ("a transfer that nobody told of", |_, callee| callee.handed_over.push(200)),
        ("dead, and up with it", |caller, callee| {
            caller.last = Some(Last::Died(second(3)));
            callee.over = Some(second(60));
        }),
    ];
    let [caller, callee] = books();
    compare(&caller, &[&callee]);
    for (what, plant) in rows {
        let [mut caller, mut callee] = books();
        plant(&mut caller, &mut callee);
        let found = catch_unwind(AssertUnwindSafe(|| compare(&caller, &[&callee]))).is_err();
        assert!(found, "{what}");
    }
}

fn request(method: &str, branch: &str, to_tag: &str, cseq: u32) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{branch}\r\nFrom: <sip:a@h>;tag=a\r\n\
         To: <sip:b@h>{to_tag}\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\nContact: <sip:a@h>\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

fn response(status: u16, branch: &str, more: &str) -> String {
    format!(
        "SIP/2.0 {status} x\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK{branch}\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:b@h>;tag=b\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:b@h>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// What the caller (0) and the callee (1) send, all of which arrives at once.
fn read(said: &[(usize, String)]) -> Result<(), ()> {
    let mut referee = Referee::default();
    let read = || {
        for (who, text) in said {
            let bytes = Bytes::from(text.clone());
            let message = Message::parse(&bytes, Framing::Datagram).expect("SIP");
            referee.sent(second(1), *who, &message, &bytes);
            referee.arrived(1 - who, &message);
        }
        referee.close();
    };
    catch_unwind(AssertUnwindSafe(read)).map_err(drop)
}

#[test]
fn a_breach_of_the_rules_is_found() {
    let invite = (0, request("INVITE", "i", "", 1));
    let ringing = |rseq: u32| (1, response(180, "i", &format!("Require: 100rel\r\nRSeq: {rseq}\r\n")));
    let answer = (1, response(200, "i", ""));
    let ack = (0, request("ACK", "a", "b", 1));
    let of_caller = |method: &str, branch: &str, cseq| (0, request(method, branch, "b", cseq));
    let up = [invite.clone(), ringing(1), answer.clone(), ack.clone()];
    assert_eq!(read(&[&up[..], &[of_caller("INVITE", "r", 2)]].concat()), Ok(()));
    let bye_of_callee = request("BYE", "z", "a", 1).replace("From: <sip:a@h>;tag=a", "From: <sip:b@h>;tag=b");
    let rows = [
        ("a number twice", [&up[..], &[of_caller("INFO", "x", 2), of_caller("BYE", "y", 2)]].concat()),
        ("changed when sent again", [&up[..], &[of_caller("INFO", "x", 2), of_caller("INFO", "x", 3)]].concat()),
        ("after BYE", [&up[..], &[of_caller("BYE", "x", 2), of_caller("INFO", "y", 3)]].concat()),
        ("offers upon offers", [&up[..], &[of_caller("INVITE", "x", 2), of_caller("INVITE", "y", 3)]].concat()),
        ("an ACK of no INVITE", vec![invite.clone(), answer.clone(), (0, request("ACK", "a", "b", 7))]),
        ("CANCEL before a word", vec![invite.clone(), (0, request("CANCEL", "i", "", 1))]),
        ("two final answers", vec![invite.clone(), answer.clone(), (1, response(486, "i", "")), ack.clone()]),
        ("an answer without an ACK", vec![invite.clone(), answer.clone()]),
        ("BYE before the ACK", vec![invite.clone(), answer, (1, bye_of_callee)]),
        ("ringing upon ringing", vec![invite.clone(), ringing(1), ringing(2)]),
        ("no Contact", vec![(0, invite.1.replace("Contact: <sip:a@h>\r\n", ""))]),
    ];
    for (what, said) in rows {
        assert_eq!(read(&said), Err(()), "{what}");
    }
}

#[test]
fn a_version_that_is_left_out_is_found() {
    let rows: [(&[(u32, u32)], bool); 6] = [
        (&[(1, 1), (1, 1), (2, 2), (3, 3)], true),
        (&[(1, 2)], false),
        (&[(1, 1), (2, 3)], false),
        (&[(1, 1), (2, 1)], false),
        (&[(1, 1), (1, 2)], false),
        (&[(2, 1), (1, 2)], false),
    ];
    for (said, is_right) in rows {
        let mut watcher = Watcher::default();
        let read = || {
            for (cseq, version) in said {
                let body = format!("<?xml version=\"1.0\"?><conference-info version=\"{version}\">");
                let end = format!("Content-Length: {}\r\n\r\n{body}", body.len());
                let notify = request("NOTIFY", "n", "w", *cseq).replace("Content-Length: 0\r\n\r\n", &end);
                watcher.note_sent(&Bytes::from(notify));
            }
        };
        assert_eq!(catch_unwind(AssertUnwindSafe(read)).is_ok(), is_right, "{said:?}");
    }
}
