//! Names and passwords (RFC 7616): asked of those who call, and proven to those whom we call.

use super::*;
use crate::sip::auth::digest::{Challenge, Credentials, Quality};

pub(super) const PASSWORD: &[u8] = b"open sesame";

fn login(realm: Option<&str>) -> Login {
    Login {
        owner: "acme".to_owned(),
        username: "ali".to_owned(),
        password: Some(Password::new(PASSWORD.to_vec())),
        realm: realm.map(str::to_owned),
    }
}

pub(super) fn asked(from: Vec<Source>) -> Asked {
    Asked { login: login(None), from, options: false, sha256: true, md5: true }
}

pub(super) fn listed() -> Source {
    Source::at(address(1).ip())
}

/// The peer, listed, has to prove who it is.
fn challenging() -> Bench {
    let mut bench = Bench::new();
    bench.command(Command::Asked(vec![asked(vec![listed()])]));
    bench
}

fn elsewhere() -> SocketAddr {
    "198.51.100.7:5060".parse().unwrap()
}

pub(super) fn last_response(bench: &Bench) -> Response {
    parse_response(&bench.sent.last().expect("an answer").1).unwrap()
}

/// What the peer says to a challenge, `at` which place of its algorithms.
fn said(response: &Response, at: usize, password: &[u8], count: u32) -> Credentials {
    said_of(response, at, password, count, "INVITE", b"offer")
}

/// The same, for any request.
pub(super) fn said_of(
    response: &Response,
    at: usize,
    password: &[u8],
    count: u32,
    method: &str,
    body: &[u8],
) -> Credentials {
    let challenges: Vec<Challenge> = response.header_all("WWW-Authenticate").filter_map(Challenge::parse).collect();
    let challenge = challenges[at].clone();
    assert_eq!(challenge.quality, Quality::Auth);
    let credentials = Credentials {
        username: "ali".to_owned(),
        realm: challenge.realm,
        nonce: challenge.nonce,
        uri: "sip:room@192.0.2.1".to_owned(),
        response: String::new(),
        algorithm: challenge.algorithm,
        quality: Quality::Auth,
        nc: format!("{count:08x}"),
        cnonce: "c1".to_owned(),
    };
    let response = credentials.sum(password, method, body);
    Credentials { response, ..credentials }
}

pub(super) fn header(said: &Credentials) -> String {
    format!(
        "Authorization: Digest username=\"{}\", realm=\"{}\", nonce=\"{}\", uri=\"{}\", response=\"{}\", algorithm={}, \
         qop=auth, nc={}, cnonce=\"{}\"\n",
        said.username,
        said.realm,
        said.nonce,
        said.uri,
        said.response,
        said.algorithm.name(),
        said.nc,
        said.cnonce
    )
}

/// An INVITE of its own call, so that none is a repeat or a loop.
fn invite(number: u32, more: &str) -> String {
    let text = from_peer("INVITE", &format!("i{number}"), "", 1, &format!("{more}{OFFER}"));
    text.replace("Call-ID: c1", &format!("Call-ID: c{number}"))
}

/// Asks for a nonce with a call that comes to nothing, from `peer`.
fn challenge(bench: &mut Bench, peer: SocketAddr, number: u32) -> Response {
    bench.receive_from(peer, &invite(number, ""));
    let response = last_response(bench);
    assert_eq!(response.status(), 401, "{response:?}");
    bench.sent.clear();
    response
}

fn stale(response: &Response) -> bool {
    response.header_all("WWW-Authenticate").all(|value| value.ends_with(",stale=true"))
}

#[test]
fn who_calls_proves_it_by_either_algorithm_and_the_strongest_is_asked_first() {
    for at in [0, 1] {
        let mut bench = challenging();
        bench.receive(&invite(1, ""));
        assert_eq!(bench.words(), ["401 INVITE"]);
        bench.receive(&invite(1, ""));
        assert_eq!(bench.sent.len(), 1, "a repeat gets the same");
        let response = last_response(&bench);
        let algorithms: Vec<bool> =
            response.header_all("WWW-Authenticate").map(|value| value.contains("algorithm=SHA-256,")).collect();
        assert_eq!(algorithms, [true, false]);
        assert!(!stale(&response));
        bench.receive(&invite(1, "").replace("INVITE", "ACK"));
        bench.words();
        assert_eq!(bench.told(), Vec::<String>::new(), "nobody is told of a call that nobody may make");
        bench.receive(&invite(2, &header(&said(&response, at, PASSWORD, 1))));
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.words()) };
        assert_eq!(invitation.login.as_deref(), Some("acme"));
        // Its repeat says again what was said, and is no second call and no fraud.
        bench.receive(&invite(2, &header(&said(&response, at, PASSWORD, 1))));
        assert_eq!(bench.words(), ["100 INVITE", "100 INVITE"]);
        bench.command(Command::HangUp { call: invitation.call, reason: None });
        bench.assert_at_rest();
    }
}

#[test]
fn within_the_call_nothing_is_asked() {
    let mut bench = challenging();
    let response = challenge(&mut bench, address(1), 9);
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{}{OFFER}", header(&said(&response, 0, PASSWORD, 1)))));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.words()) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.receive(&from_peer("INVITE", "r1", &tag, 2, OFFER));
    bench.command(Command::Agree { call, answer: Bytes::from_static(b"answer") });
    bench.receive(&from_peer("ACK", "a2", &tag, 2, EMPTY));
    bench.receive(&from_peer("OPTIONS", "o1", &tag, 3, EMPTY));
    // A CANCEL is never asked, since it cannot be made again (RFC 3261 section 22.1).
    bench.receive(&from_peer("CANCEL", "none", "", 1, EMPTY));
    bench.receive(&from_peer("BYE", "b1", &tag, 4, EMPTY));
    let words = bench.words();
    let expected = ["100 INVITE", "200 INVITE", "100 INVITE", "200 INVITE", "200 OPTIONS", "481 CANCEL", "200 BYE"];
    assert_eq!(words, expected);
    assert_eq!(bench.told(), ["Acknowledged", "Offered", "HungUp"]);
    bench.assert_at_rest();
}

#[test]
fn options_are_asked_only_where_that_is_wanted() {
    let mut bench = challenging();
    bench.receive(&from_peer("OPTIONS", "o1", "", 1, EMPTY));
    assert_eq!(bench.words(), ["200 OPTIONS"]);
    bench.command(Command::Asked(vec![Asked { options: true, ..asked(vec![listed()]) }]));
    bench.receive(&from_peer("OPTIONS", "o2", "", 2, EMPTY));
    assert_eq!(bench.words(), ["401 OPTIONS"]);
}

/// A wrong password and an unknown name: the same answer but for its nonce.
#[test]
fn nobody_learns_whether_a_name_is_known() {
    let answers = [("ali", &b"wrong"[..]), ("baba", PASSWORD)].map(|(username, password)| {
        let mut bench = challenging();
        let response = challenge(&mut bench, address(1), 1);
        let mut said = said(&response, 0, password, 1);
        said.username = username.to_owned();
        said.response = said.sum(password, "INVITE", b"offer");
        bench.receive(&invite(2, &header(&said)));
        assert_eq!(bench.endpoint.counters().logins_wrong, 1);
        let answer = last_response(&bench);
        assert!(!stale(&answer));
        let nonce = Challenge::parse(answer.header("WWW-Authenticate").unwrap()).unwrap().nonce;
        String::from_utf8(answer.to_bytes().to_vec()).unwrap().replace(&nonce, "NONCE")
    });
    // The seed is the same, so even our tag is.
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn what_was_said_is_not_taken_again() {
    let mut bench = challenging();
    let response = challenge(&mut bench, address(1), 1);
    let first = said(&response, 0, PASSWORD, 1);
    bench.receive(&invite(2, &header(&first)));
    assert_eq!(bench.told(), ["Invited"]);
    let rows = [
        ("the same in another call", invite(3, &header(&first))),
        ("a count that was used", invite(4, &header(&said(&response, 1, PASSWORD, 1)))),
    ];
    for (what, text) in rows {
        bench.receive(&text);
        let answer = last_response(&bench);
        assert!(answer.status() == 401 && stale(&answer), "{what}");
    }
    bench.receive(&invite(5, &header(&said(&response, 0, PASSWORD, 2))));
    assert_eq!(bench.told(), ["Invited"], "the next count is good");
    let elsewhere_uri = Credentials { uri: "sip:other@192.0.2.1".to_owned(), ..said(&response, 0, PASSWORD, 3) };
    bench.receive(&invite(6, &header(&elsewhere_uri)));
    assert_eq!(last_response(&bench).status(), 400);
    // A count that is used for nothing but a wrong address is not used up.
    bench.receive(&invite(7, &header(&said(&response, 0, PASSWORD, 3))));
    assert_eq!(bench.told(), ["Invited"]);
    assert_eq!(bench.endpoint.counters().logins_replayed, 2);
    bench.pass(Duration::from_secs(301));
    bench.sent.clear();
    bench.receive(&invite(8, &header(&said(&response, 0, PASSWORD, 4))));
    let answer = last_response(&bench);
    assert!(answer.status() == 401 && stale(&answer), "it has grown old");
}

#[test]
fn a_nonce_of_another_address_or_of_nobody_opens_nothing_and_tells_nothing() {
    let other = Source { network: elsewhere().ip(), ..listed() };
    let mut bench = Bench::new();
    bench.command(Command::Sources(vec![listed(), other.clone()]));
    bench.command(Command::Asked(vec![asked(vec![listed(), other])]));
    let theirs = challenge(&mut bench, elsewhere(), 1);
    let own = challenge(&mut bench, address(1), 2);
    let mut forged = said(&own, 0, PASSWORD, 1);
    forged.nonce = forged.nonce.replace(char::is_numeric, "0");
    for (number, password) in (3..).zip([PASSWORD, b"wrong"]) {
        let made_up = Credentials { response: forged.sum(password, "INVITE", b"offer"), ..forged.clone() };
        for (at, said) in [said(&theirs, 0, password, 1), made_up].iter().enumerate() {
            bench.receive(&invite(number * 10 + at as u32, &header(said)));
            let answer = last_response(&bench);
            // Right or wrong, it is answered alike: nobody tries passwords over a nonce of their own.
            assert!(answer.status() == 401 && stale(&answer));
        }
    }
    let counters = bench.endpoint.counters();
    assert_eq!((counters.logins_stale, counters.logins_wrong, counters.logins_right), (4, 0, 0));
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn ten_thousand_wrong_passwords_are_not_listened_to() {
    let mut bench = Bench::new();
    bench.command(Command::Asked(vec![asked(Vec::new())]));
    let elsewhere = elsewhere();
    let challenge = |bench: &mut Bench, number| {
        bench.receive_from(elsewhere, &long(number, ""));
        let response = last_response(bench);
        bench.sent.clear();
        response
    };
    let mut response = challenge(&mut bench, 0);
    let (mut asked, mut refused) = (0, 0);
    for number in 1..=10_000 {
        let guess = said(&response, 0, format!("guess {number}").as_bytes(), 1);
        // Slow enough for each to be answered.
        bench.now = bench.now + Duration::from_millis(if number > 10 { 0 } else { 250 });
        bench.receive_from(elsewhere, &long(number, &header(&guess)));
        if bench.sent.is_empty() {
            refused += 1;
            continue;
        }
        let answer = last_response(&bench);
        match answer.status() {
            401 => {
                asked += 1;
                response = answer;
            }
            403 => refused += 1,
            other => panic!("{other}"),
        }
        bench.sent.clear();
    }
    assert_eq!((asked, refused), (9, 9_991));
    assert_eq!(bench.endpoint.counters().logins_wrong, 10, "no more were worked out");
    assert_eq!(bench.told(), ["Guessed"], "and somebody is told, once");
    bench.now = bench.now + Duration::from_secs(1);
    // Even the right one waits, and is then taken.
    bench.receive_from(elsewhere, &long(20_001, &header(&said(&response, 0, PASSWORD, 1))));
    assert_eq!(last_response(&bench).status(), 403);
    bench.pass(Duration::from_secs(15 * 60));
    let fresh = challenge(&mut bench, 20_002);
    bench.receive_from(elsewhere, &long(20_003, &header(&said(&fresh, 0, PASSWORD, 1))));
    assert_eq!(bench.told(), ["Invited"]);
}

/// One side alone has the new password: a busy trunk tries the old one many times a second, and the moment that both have
/// the new one its calls go on.
#[test]
fn a_carrier_whose_password_has_changed_is_not_barred() {
    let mut bench = challenging();
    let mut response = challenge(&mut bench, address(1), 0);
    for number in 1..=1_000 {
        bench.receive(&invite(number, &header(&said(&response, 0, b"the old one", 1))));
        response = last_response(&bench);
        assert_eq!(response.status(), 401);
        bench.receive(&invite(number, "").replace("INVITE", "ACK"));
        bench.sent.clear();
    }
    let told = std::mem::take(&mut bench.events);
    assert!(
        matches!(told[..], [Event::Guessed { peer, listed: true, tries: 10 }] if peer == address(1)),
        "told once: {told:?}"
    );
    bench.receive(&invite(2_000, &header(&said(&response, 0, PASSWORD, 1))));
    assert_eq!(bench.told(), ["Invited"]);
}

/// Somebody who calls from anywhere was barred while the bridge had the old password.
#[test]
fn with_a_new_password_nobody_is_barred_for_the_old_one() {
    let mut bench = Bench::new();
    bench.command(Command::Asked(vec![asked(Vec::new())]));
    for number in 0..11 {
        bench.now = bench.now + Duration::from_secs(1);
        bench.receive_from(elsewhere(), &long(2 * number, ""));
        let response = last_response(&bench);
        if number < 10 {
            bench.receive_from(elsewhere(), &long(2 * number + 1, &header(&said(&response, 0, b"new", 1))));
        } else {
            assert_eq!(response.status(), 403);
        }
    }
    // What there is was told anew, and the passwords are what they were.
    bench.command(Command::Asked(vec![asked(Vec::new())]));
    bench.receive_from(elsewhere(), &long(98, ""));
    assert_eq!(last_response(&bench).status(), 403);
    let changed = Login { password: Some(Password::new(b"new".to_vec())), ..login(None) };
    bench.command(Command::Asked(vec![Asked { login: changed, ..asked(Vec::new()) }]));
    bench.receive_from(elsewhere(), &long(99, ""));
    let response = last_response(&bench);
    bench.receive_from(elsewhere(), &long(100, &header(&said(&response, 0, b"new", 1))));
    assert_eq!(bench.told(), ["Guessed", "Invited"]);
}

/// An INVITE long enough to be answered with both challenges.
fn long(number: u32, more: &str) -> String {
    let body = format!("Content-Type: application/sdp\nContent-Length: 400\n\n{}", "o".repeat(400));
    invite(number, more).replace(OFFER, &body)
}

#[test]
fn a_short_invite_from_anywhere_is_asked_for_what_fits() {
    let mut bench = Bench::new();
    bench.command(Command::Asked(vec![asked(Vec::new())]));
    let mut asked_with = Vec::new();
    for length in 0..500_usize {
        // One a second, so that none is left out for want of a budget.
        bench.now = bench.now + Duration::from_secs(1);
        let body = format!("Content-Type: application/sdp\nContent-Length: {length}\n\n{}", "o".repeat(length));
        let text = invite(1_000 + length as u32, "").replace(OFFER, &body);
        bench.receive_from(elsewhere(), &text);
        let sent = std::mem::take(&mut bench.sent);
        let challenges = sent.first().map(|(_, bytes)| {
            assert!(bytes.len() <= text.trim_start().replace('\n', "\r\n").len());
            let response = parse_response(bytes).unwrap();
            response.header_all("WWW-Authenticate").map(|value| value.contains("MD5")).collect::<Vec<bool>>()
        });
        asked_with.push(challenges);
    }
    asked_with.dedup();
    let expected = [None, Some(vec![true]), Some(vec![false, true])];
    assert_eq!(asked_with, expected, "nothing where nothing fits, then what everybody knows, then both");
}

#[test]
fn whoever_may_call_from_anywhere_is_asked_and_others_stay_strangers() {
    let mut bench = Bench::new();
    bench.receive_from(elsewhere(), &invite(1, ""));
    assert_eq!(bench.words(), ["403 INVITE"], "nobody may call from anywhere");
    bench.command(Command::Asked(vec![asked(Vec::new())]));
    bench.receive_from(elsewhere(), &from_peer("OPTIONS", "o1", "", 1, EMPTY));
    assert_eq!(bench.words(), ["403 OPTIONS"]);
    bench.receive_from(elsewhere(), &invite(2, ""));
    assert!(bench.words().is_empty(), "no stranger is sent more than it sent");
    bench.receive_from(elsewhere(), &long(3, ""));
    let response = last_response(&bench);
    assert_eq!((response.status(), bench.endpoint.transactions()), (401, 0), "and no state is kept");
    bench.words();
    bench.receive_from(elsewhere(), &long(3, "").replace("INVITE", "ACK"));
    bench.receive_from(elsewhere(), &long(4, &header(&said(&response, 0, PASSWORD, 1))));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.words()) };
    assert_eq!(invitation.login.as_deref(), Some("acme"));
    // What follows is of somebody whom we know now: repeats, and the end by CANCEL.
    bench.receive_from(elsewhere(), &long(4, &header(&said(&response, 0, PASSWORD, 1))));
    let cancel = from_peer("CANCEL", "i4", "", 1, EMPTY).replace("Call-ID: c1", "Call-ID: c4");
    let third = "203.0.113.9:5060".parse().unwrap();
    bench.receive_from(third, &cancel);
    assert_eq!(bench.words(), ["100 INVITE", "100 INVITE", "403 CANCEL"]);
    bench.receive_from(elsewhere(), &cancel);
    assert_eq!(bench.words(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(bench.told(), ["Cancelled"]);
    bench.receive_from(elsewhere(), &long(4, "").replace("INVITE", "ACK"));
    bench.assert_at_rest();
}

#[test]
fn where_md5_is_not_wanted_it_is_neither_asked_nor_taken() {
    let mut bench = Bench::new();
    bench.command(Command::Asked(vec![Asked { md5: false, ..asked(vec![listed()]) }]));
    let response = challenge(&mut bench, address(1), 1);
    assert_eq!(response.header_all("WWW-Authenticate").count(), 1);
    let mut weak = said(&response, 0, PASSWORD, 1);
    weak.algorithm = crate::sip::auth::digest::Algorithm::Md5;
    weak.response = weak.sum(PASSWORD, "INVITE", b"offer");
    bench.receive(&invite(2, &header(&weak)));
    assert_eq!(last_response(&bench).status(), 401);
    bench.receive(&invite(3, &header(&said(&response, 0, PASSWORD, 1))));
    assert_eq!(bench.told(), ["Invited"]);
    // And those who give up when they are asked for something else first.
    bench.command(Command::Asked(vec![Asked { sha256: false, ..asked(vec![listed()]) }]));
    let response = challenge(&mut bench, address(1), 4);
    assert!(response.header_all("WWW-Authenticate").all(|value| value.contains("algorithm=MD5,")));
    bench.receive(&invite(5, &header(&said(&response, 0, PASSWORD, 1))));
    assert_eq!(bench.told(), ["Invited"]);
}

#[test]
fn a_password_that_could_not_be_read_lets_nobody_in() {
    let mut bench = Bench::new();
    let nobody = Login { password: None, ..login(None) };
    bench.command(Command::Asked(vec![Asked { login: nobody, ..asked(vec![listed()]) }]));
    let response = challenge(&mut bench, address(1), 1);
    for (number, password) in (2..).zip([&b""[..], PASSWORD, b"0123456789abcdef"]) {
        bench.receive(&invite(number, &header(&said(&response, 0, password, 1))));
        assert_eq!(last_response(&bench).status(), 401);
    }
    assert_eq!(bench.told(), Vec::<String>::new());
}

// ------------------------------------------------------------------------------------------------------------ calls out

fn dial_with(bench: &mut Bench, login: Option<Login>, transport: Transport) -> Request {
    let mut rng = StdRng::seed_from_u64(5);
    let plain = dial(&mut rng, 1, 60_000);
    let flow = Flow { transport, ..plain.flow };
    bench.command(Command::Dial(Box::new(Dial { login: login.map(std::sync::Arc::new), flow, ..plain })));
    bench.request("INVITE")
}

/// The peer's answer, over the flow that the request went by.
fn answers(bench: &mut Bench, response: &Response) {
    let flow = bench.sent.last().expect("a request").0;
    bench.sent.clear();
    bench.endpoint.receive(bench.now, flow, &response.to_bytes());
    bench.drain();
}

fn challenges(request: &Request, status: u16, challenges: &[&str]) -> Response {
    let mut response = Response::to(request, status, "");
    response.set_to_tag("theirs");
    for challenge in challenges {
        let name = if status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        assert!(response.push(name, challenge));
    }
    response
}

fn accepts(request: &Request) -> Response {
    let mut response = Response::to(request, 200, "");
    response.set_to_tag("theirs");
    response.push("Contact", "<sip:them@192.0.2.2>");
    response.set_body("application/sdp", Bytes::from_static(b"answer"));
    response
}

/// What a request of ours proves, for this realm; checked as the peer would.
fn proven(request: &Request, name: &str) -> Credentials {
    let said = Credentials::parse(request.header(name).expect("credentials")).unwrap();
    assert_eq!(said.sum(PASSWORD, request.method().as_str(), request.body()), said.response);
    assert_eq!((said.username.as_str(), said.count()), ("ali", Some(1)));
    assert_eq!(said.uri, request.uri().to_string());
    said
}

#[test]
fn a_challenge_to_our_call_is_answered_with_the_strongest_we_know() {
    use crate::sip::auth::digest::Algorithm::{Md5, Sha256, Sha512_256};
    let md5 = "Digest realm=\"carrier\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"";
    let sha = "Digest realm=\"carrier\", nonce=\"n2\", algorithm=SHA-256, qop=\"auth,auth-int\", opaque=\"o\"";
    let strongest = "Digest realm=\"carrier\", nonce=\"n3\", algorithm=SHA-512-256, qop=\"auth\"";
    let bare = "Digest realm=\"carrier\", nonce=\"n4\"";
    let whole = "Digest realm=\"carrier\", nonce=\"n5\", qop=\"auth-int\"";
    let unknown = "Digest realm=\"carrier\", nonce=\"n6\", algorithm=FUTURE-9, qop=\"auth\"";
    let rows: [(u16, &[&str], _); 6] = [
        (401, &[sha, md5], (Sha256, Quality::Auth)),
        (407, &[md5, sha, unknown], (Sha256, Quality::Auth)),
        (401, &[md5, strongest, sha], (Sha512_256, Quality::Auth)),
        (401, &[bare], (Md5, Quality::Bare)),
        (407, &[whole], (Md5, Quality::AuthInt)),
        (401, &[unknown, md5], (Md5, Quality::Auth)),
    ];
    for transport in [Transport::Udp, Transport::Tcp] {
        for (status, asked, expected) in rows {
            let mut bench = Bench::new();
            let first = dial_with(&mut bench, Some(login(Some("carrier"))), transport);
            answers(&mut bench, &challenges(&first, status, asked));
            assert_eq!(bench.sent.iter().map(|(_, bytes)| word(bytes)).collect::<Vec<_>>(), ["ACK", "INVITE"]);
            let again = bench.request("INVITE");
            let name = if status == 407 { "Proxy-Authorization" } else { "Authorization" };
            let mut said = again.header(name).map(|value| Credentials::parse(value).unwrap()).unwrap();
            if said.quality == Quality::Bare {
                said.nc = "00000001".to_owned();
            }
            assert_eq!((said.algorithm, said.quality), expected);
            assert_eq!(said.response, said.sum(PASSWORD, "INVITE", b"offer"));
            assert_eq!((again.cseq(), again.call_id()), (first.cseq() + 1, first.call_id()));
            let branch = again.via().branch().unwrap().to_owned();
            assert_eq!(branch, format!("{}-2", first.via().branch().unwrap()), "as the journal knows it");
            assert_eq!(again.header("P-Asserted-Identity"), first.header("P-Asserted-Identity"));
            answers(&mut bench, &accepts(&again));
            let ack = bench.request("ACK");
            assert_eq!(ack.header(name), again.header(name), "RFC 3261 section 22.1");
            assert_eq!(bench.told(), ["Answered"]);
            assert_eq!(bench.endpoint.counters().proofs, 1);
        }
    }
}

#[test]
fn a_challenge_is_answered_once_and_once_more_where_the_nonce_was_old() {
    let sha = |nonce: &str, more: &str| {
        format!("Digest realm=\"carrier\",nonce=\"{nonce}\",algorithm=SHA-256,qop=\"auth\"{more}")
    };
    // What the second answer asks, and whether we go on.
    let rows = [
        (sha("n1", ""), false),
        (sha("n2", ""), false),
        (sha("n1", ",stale=true"), false),
        (sha("n2", ",stale=TRUE"), true),
    ];
    for (second, goes_on) in rows {
        let mut bench = Bench::new();
        let first = dial_with(&mut bench, Some(login(Some("carrier"))), Transport::Udp);
        answers(&mut bench, &challenges(&first, 401, &[&sha("n1", "")]));
        let again = bench.request("INVITE");
        answers(&mut bench, &challenges(&again, 401, &[&second]));
        if !goes_on {
            assert_eq!(
                (bench.words(), bench.told()),
                (vec!["ACK".to_owned()], vec!["Failed 401".to_owned()]),
                "{second}"
            );
            bench.assert_at_rest();
            continue;
        }
        let third = bench.request("INVITE");
        assert_eq!(proven(&third, "Authorization").nonce, "n2");
        assert_eq!(third.header_all("Authorization").count(), 1);
        // However often it says so: there is no loop.
        answers(&mut bench, &challenges(&third, 401, &[&sha("n3", ",stale=true")]));
        assert_eq!((bench.words(), bench.told()), (vec!["ACK".to_owned()], vec!["Failed 401".to_owned()]));
        bench.assert_at_rest();
    }
}

#[test]
fn no_password_goes_to_a_realm_that_is_not_the_carriers() {
    let other = "Digest realm=\"elsewhere\",nonce=\"n1\",algorithm=SHA-256,qop=\"auth\"";
    let unread = Login { password: None, ..login(None) };
    for (login, status) in [(Some(login(Some("carrier"))), 401), (None, 407), (Some(unread), 401)] {
        let mut bench = Bench::new();
        let first = dial_with(&mut bench, login, Transport::Udp);
        answers(&mut bench, &challenges(&first, status, &[other]));
        assert_eq!(bench.words(), ["ACK"]);
        assert_eq!(bench.told(), [format!("Failed {status}")]);
        bench.assert_at_rest();
    }
    // One of a chain: theirs is not answered, ours is.
    let ours = "Digest realm=\"carrier\",nonce=\"n2\",qop=\"auth\"";
    let mut bench = Bench::new();
    let first = dial_with(&mut bench, Some(login(Some("carrier"))), Transport::Udp);
    answers(&mut bench, &challenges(&first, 407, &[other, ours]));
    assert_eq!(proven(&bench.request("INVITE"), "Proxy-Authorization").realm, "carrier");
}

#[test]
fn a_challenge_from_a_third_party_is_no_answer() {
    let mut bench = Bench::new();
    let first = dial_with(&mut bench, Some(login(None)), Transport::Udp);
    let flow = Flow { peer: elsewhere(), ..bench.sent.last().unwrap().0 };
    bench.sent.clear();
    let response = challenges(&first, 401, &["Digest realm=\"a\",nonce=\"n\",qop=\"auth\""]);
    bench.endpoint.receive(bench.now, flow, &response.to_bytes());
    bench.drain();
    assert_eq!((bench.words(), bench.told()), (Vec::new(), Vec::new()));
}

#[test]
fn what_we_ask_within_our_call_is_proven_too() {
    const ASKS: &str = "Digest realm=\"carrier\",nonce=\"n9\",algorithm=SHA-256,qop=\"auth\"";
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bench = Bench::new();
        let first = dial_with(&mut bench, Some(login(Some("carrier"))), transport);
        answers(&mut bench, &accepts(&first));
        bench.told();
        let call = Call::outbound(1);
        bench.command(Command::Offer { call, offer: Bytes::from_static(b"hold") });
        let offer = bench.request("INVITE");
        answers(&mut bench, &challenges(&offer, 401, &[ASKS]));
        let again = bench.request("INVITE");
        assert_eq!((proven(&again, "Authorization").nonce.as_str(), again.cseq()), ("n9", offer.cseq() + 1));
        assert_eq!(again.body().as_ref(), b"hold");
        answers(&mut bench, &accepts(&again));
        assert_eq!(bench.told(), ["Agreed"]);
        let ack = bench.request("ACK");
        assert_eq!((ack.cseq(), ack.header("Authorization")), (again.cseq(), again.header("Authorization")));
        let reason = Some(Reason { q850: Some(16), sip: None, text: String::new() });
        bench.command(Command::HangUp { call, reason });
        let bye = bench.request("BYE");
        answers(&mut bench, &challenges(&bye, 407, &[ASKS]));
        let again = bench.request("BYE");
        assert_eq!((proven(&again, "Proxy-Authorization").realm.as_str(), again.cseq()), ("carrier", bye.cseq() + 1));
        assert_eq!(again.header("Reason"), bye.header("Reason"));
        assert!(bench.told().is_empty(), "it is not over");
        answers(&mut bench, &challenges(&again, 407, &[ASKS]));
        assert_eq!((bench.words(), bench.told()), (Vec::new(), vec!["Released".to_owned()]));
        bench.assert_at_rest();
    }
}

/// What we ask others would come back to us as theirs, and our answer to it be said to us.
#[test]
fn our_own_challenge_is_never_answered() {
    let mut bench = Bench::new();
    let other = Asked { login: Login { realm: Some("house".to_owned()), ..login(None) }, ..asked(Vec::new()) };
    bench.command(Command::Asked(vec![asked(vec![listed()]), other]));
    let ours = challenge(&mut bench, address(1), 0);
    let nonce = Challenge::parse(ours.header("WWW-Authenticate").unwrap()).unwrap().nonce;
    // Whether a realm is set; the realm and nonce of the challenge; whether it is answered.
    let rows = [
        (None, "tollbridge", "n1", false),
        (None, "house", "n1", false),
        (None, "carrier", "n1", true),
        (None, "carrier", nonce.as_str(), false),
        (Some("tollbridge"), "tollbridge", "n1", true),
        (Some("tollbridge"), "tollbridge", nonce.as_str(), false),
    ];
    for (realm, asks, nonce, expected) in rows {
        bench.sent.clear();
        let first = dial_with(&mut bench, Some(login(realm)), Transport::Udp);
        let text = format!("Digest realm=\"{asks}\",nonce=\"{nonce}\",algorithm=SHA-256,qop=\"auth\"");
        answers(&mut bench, &challenges(&first, 401, &[&text]));
        assert_eq!(bench.words().contains(&"INVITE".to_owned()), expected, "{realm:?} {text}");
        bench.command(Command::Cancel { call: Call::outbound(1), reason: None });
        bench.pass(Duration::from_secs(100));
        bench.events.clear();
    }
}

/// What is still owed from an earlier life is proven too, where the carrier wants it; and asked for it in vain, it stays owed.
#[test]
fn the_bye_of_an_earlier_life_is_proven() {
    const ASKS: &str = "Digest realm=\"carrier\",nonce=\"n9\",algorithm=SHA-256,qop=\"auth\"";
    let mut first = Bench::new();
    let invite = dial_with(&mut first, Some(login(Some("carrier"))), Transport::Udp);
    answers(&mut first, &accepts(&invite));
    let Some(Event::Answered { journal: out, .. }) = first.events.pop() else { panic!() };
    let mut second = Bench::new();
    second.receive(&from_peer("INVITE", "i9", "", 1, OFFER));
    let Some(Event::Invited(invitation)) = second.events.pop() else { panic!() };
    // Which journal, with which realm that is set, and whether the BYE is proven.
    let rows = [
        (&out, Some(login(Some("carrier"))), true),
        (&out, Some(login(None)), true),
        (&out, None, false),
        (&invitation.journal, Some(login(Some("carrier"))), true),
        (&invitation.journal, Some(login(None)), false),
    ];
    for (journal, login, proves) in rows {
        let what = format!("{login:?} {journal}");
        let mut bench = Bench::new();
        let login = login.map(std::sync::Arc::new);
        bench.command(Command::Bury {
            call: Call::past(1),
            journal: journal.clone(),
            reason: None,
            login,
            tls_name: None,
        });
        let bye = bench.request("BYE");
        answers(&mut bench, &challenges(&bye, 401, &[ASKS]));
        if proves {
            let again = bench.request("BYE");
            assert_eq!(
                (proven(&again, "Authorization").nonce.as_str(), again.cseq()),
                ("n9", bye.cseq() + 1),
                "{what}"
            );
            assert!(bench.told().is_empty(), "it is not over: {what}");
            answers(&mut bench, &Response::to(&again, 200, ""));
            assert_eq!(bench.told(), ["Released"], "{what}");
        }
        bench.assert_at_rest();
        assert!(bench.told().is_empty(), "whoever asks for a proof has ended nothing: {what}");
    }
}

#[test]
fn in_a_call_that_came_in_the_carriers_realm_alone_is_answered() {
    for (realm, asks, proves) in
        [(Some("carrier"), "carrier", true), (Some("carrier"), "other", false), (None, "x", false)]
    {
        let mut bench = Bench::new();
        let (call, _) = up(&mut bench);
        bench.command(Command::Prove { call, login: std::sync::Arc::new(login(realm)) });
        bench.command(Command::HangUp { call, reason: None });
        let bye = bench.request("BYE");
        answers(&mut bench, &challenges(&bye, 401, &[&format!("Digest realm=\"{asks}\",nonce=\"n\",qop=\"auth\"")]));
        if proves {
            let again = bench.request("BYE");
            assert_eq!(proven(&again, "Authorization").realm, asks);
            answers(&mut bench, &Response::to(&again, 200, ""));
        }
        assert_eq!(bench.told(), ["Released"], "{realm:?} {asks}");
        bench.assert_at_rest();
    }
}

/// An answer crosses our CANCEL, at a carrier that wants a proof of each BYE.
#[test]
fn the_bye_of_a_call_that_was_given_up_is_proven() {
    const ASKS: &str = "Digest realm=\"carrier\",nonce=\"n9\",algorithm=SHA-256,qop=\"auth\"";
    let mut bench = Bench::new();
    let invite = dial_with(&mut bench, Some(login(Some("carrier"))), Transport::Udp);
    let mut ringing = Response::to(&invite, 180, "");
    ringing.set_to_tag("theirs");
    answers(&mut bench, &ringing);
    bench.events.clear();
    bench.command(Command::Cancel { call: Call::outbound(1), reason: None });
    assert_eq!(bench.sent.iter().map(|(_, bytes)| word(bytes)).collect::<Vec<_>>(), ["CANCEL"]);
    answers(&mut bench, &accepts(&invite));
    let bye = bench.request("BYE");
    assert_eq!(bench.told(), ["Failed 487"], "to its owner it has failed");
    answers(&mut bench, &challenges(&bye, 407, &[ASKS]));
    let again = bench.request("BYE");
    assert_eq!(proven(&again, "Proxy-Authorization").realm, "carrier");
    assert!(bench.told().is_empty(), "and it is not over");
    answers(&mut bench, &Response::to(&again, 200, ""));
    assert_eq!(bench.told(), ["Released"]);
    bench.assert_at_rest();
}

#[test]
fn a_re_invite_that_cannot_be_proven_changes_nothing() {
    let mut bench = Bench::new();
    let first = dial_with(&mut bench, Some(login(Some("carrier"))), Transport::Udp);
    answers(&mut bench, &accepts(&first));
    bench.told();
    let call = Call::outbound(1);
    bench.command(Command::Offer { call, offer: Bytes::from_static(b"hold") });
    let offer = bench.request("INVITE");
    answers(&mut bench, &challenges(&offer, 401, &["Digest realm=\"elsewhere\",nonce=\"n\",qop=\"auth\""]));
    assert_eq!(bench.told(), ["Disagreed 401"]);
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

/// ES2021-05: whoever calls us is owed no proof, whatever they ask of our BYE.
#[test]
fn in_a_call_that_came_in_no_challenge_is_answered() {
    let mut bench = Bench::new();
    bench.command(Command::Asked(vec![asked(Vec::new())]));
    let (call, _) = up(&mut bench);
    bench.command(Command::HangUp { call, reason: None });
    let bye = bench.request("BYE");
    answers(&mut bench, &challenges(&bye, 401, &["Digest realm=\"tollbridge\",nonce=\"n\",qop=\"auth\""]));
    assert_eq!((bench.words(), bench.told()), (Vec::new(), vec!["Released".to_owned()]));
    assert_eq!(bench.endpoint.counters().proofs, 0);
    bench.assert_at_rest();
}

#[test]
fn a_call_that_is_given_up_is_not_made_again() {
    let mut bench = Bench::new();
    let first = dial_with(&mut bench, Some(login(None)), Transport::Udp);
    bench.command(Command::Cancel { call: Call::outbound(1), reason: None });
    assert_eq!(bench.told(), ["Failed 487"]);
    answers(&mut bench, &challenges(&first, 401, &["Digest realm=\"a\",nonce=\"n\",qop=\"auth\""]));
    assert_eq!(bench.words(), ["ACK"]);
    assert_eq!(bench.told(), ["Released"]);
    bench.assert_at_rest();
}
