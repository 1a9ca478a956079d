//! What is told of a refusal: in the log, and to whoever is refused.

use super::*;

/// What is turned away, or makes no sense, has its line; who is asked for nothing but patience or a password has none.
#[test]
fn a_refusal_has_its_line_with_its_reason() {
    let mut bench = Bench::new();
    let (_, tag) = up(&mut bench);
    bench.receive(
        &from_peer("INVITE", "i7", "", 1, "Content-Type: text/plain\nContent-Length: 1\n\nx").replace("c1", "n7"),
    );
    bench.receive(&from_peer("OPTIONS", "o1", &tag, 2, "Require: levitation\nContent-Length: 0\n\n"));
    bench.receive(&from_peer("BYE", "b1", "nobody", 3, EMPTY));
    bench.receive(&from_peer("BYE", "b1", "nobody", 3, EMPTY));
    bench.command(Command::Shed(true));
    bench.receive(&from_peer("INVITE", "i8", "", 1, OFFER).replace("c1", "n8"));
    bench.receive_from(
        "198.51.100.7:5060".parse().unwrap(),
        &from_peer("INVITE", "i9", "", 1, OFFER).replace("c1", "n9"),
    );
    let told: Vec<String> = bench
        .rejections
        .iter()
        .map(|Rejection { method, call_id, status, why, is_stranger, .. }| {
            format!("{method} {call_id} {status} {why}{}", if *is_stranger { " (stranger)" } else { "" })
        })
        .collect();
    assert_eq!(
        told,
        [
            "INVITE n7 415 Accept: application/sdp, multipart/mixed",
            "OPTIONS c1 420 Unsupported: levitation",
            "BYE c1 481 ",
            "INVITE n8 503 Retry-After: 5; Behind with the calls there are",
            "INVITE n9 403 Nobody who is listed (stranger)",
        ]
    );
}

/// RFC 3326: whoever is cancelled hears why, as whoever is hung up on.
#[test]
fn a_cancel_says_why() {
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    bench.receive(&reply(&invite, 180, "one", ""));
    let reason = Reason { q850: Some(19), sip: None, text: "no answer".into() };
    bench.command(Command::HangUp { call, reason: Some(reason) });
    assert_eq!(bench.request("CANCEL").header("Reason"), Some("Q.850;cause=19;text=\"no answer\""));
}
