//! The messages of RFC 4475, and mutants of them: what is read, what is refused and with what, what is dropped.
//!
//! What a message that is read is answered with (405, 415, 416, 420, 501 …) is the endpoint's part.

use Expected::{Answer, Dropped, Parsed, Refused};
use bytes::Bytes;
use proptest::prelude::*;
use sha2::{Digest, Sha256};
use std::path::Path;
use tollbridge::sip::transport::{Frame, StreamFramer};
use tollbridge::sip::{Framing, Malformed, Message, Request, Response, Scheme};

#[derive(Debug, PartialEq)]
enum Expected {
    /// A request of that method.
    Parsed(&'static str),
    /// A response of that status.
    Answer(u16),
    /// A request that is answered so.
    Refused(u16),
    /// Nothing is sent.
    Dropped,
}

/// File, bytes, SHA-256, outcome as a datagram.
#[rustfmt::skip]
const MESSAGES: &[(&str, usize, &str, Expected)] = &[
    ("wsinv", 1001, "d6f6cdee99cd0a1f8e3d9a0fdd67c877700e19ab86d8186dada06f61260e3e61", Parsed("INVITE")),
    ("intmeth", 641, "b957a8292c1c0a9851fe94705b90f94320738f43aacde64998e401f742ef688d", Parsed("!interesting-Method0123456789_*+`.%indeed'~")),
    ("esc01", 543, "be3a316d4ce5f69cad474646191e390dd4b50fc8371e44b5197fe1237781973e", Parsed("INVITE")),
    ("escnull", 359, "263fe2ecd12a5ccbb6c67b3174e9211d11da9b600e7d69666a86d2ee42873e90", Parsed("REGISTER")),
    ("esc02", 439, "9a9c59449f00327b02071feafc8e5c2a261c98c818044167894cc17809a12199", Parsed("RE%47IST%45R")),
    ("lwsdisp", 255, "d1b36b6316c12824f6f04bf6b1fd1f021cade9b74871693b9c3474cd9fa7f4e6", Parsed("OPTIONS")),
    ("longreq", 3515, "185739292bc676760e5b1cca77c87705aa570240171c506ad76f8c35af0ecdaa", Parsed("INVITE")),
    ("dblreq", 750, "a6be48426565c2a705389c4ce2ea17e57b891cb13f80490a2cb9392c797b46ef", Parsed("REGISTER")),
    ("semiuri", 380, "87bbaed6b4b354dbd3c5c7a20e66686303c63e43a0aa19b89de1ac75231611a2", Parsed("OPTIONS")),
    ("transports", 503, "33b4553a3b9418121b099ff07882535151edd6a1e81898c63a916aad2cbf90bc", Parsed("OPTIONS")),
    ("mpart01", 1290, "92147c8e24997bac59629e1b163767697d0d6d499af87f89e325d69968bec3ba", Parsed("MESSAGE")),
    ("unreason", 526, "4f939d6ebf4817eea70f011d3209e83732872ffc20ffd304b244084dc392f4d7", Answer(200)),
    ("noreason", 274, "07e11e470a69fffa3674de805e5165d1351a9439a91045ee70c9570ea24ab4fe", Answer(100)),
    ("badinv01", 472, "9ee2b88f2e0b5a9eeb9bf729b6177f0a0c7d0b5e6c84be593e0480d7962f3ab8", Refused(400)),
    ("clerr", 498, "d9da629086a38df433438fb0fb19a8730f34516f049a5520dd0cac3285485290", Refused(400)),
    ("ncl", 486, "7ea6538edc1f054fdb6cd1c821040460cffca3cb682fa2e8e2a502d92170b4c2", Refused(400)),
    ("scalar02", 476, "53158177326568e9964bce5dcfac27a2bf8a90953bbc03f6c5e2775864a97e4b", Refused(400)),
    ("scalarlg", 385, "0957eca31737e3592eb1418bb41e9f5219278a78ff420111620d7fb60175b551", Dropped),
    ("quotbal", 485, "e61978a2ea359fc666f0336fe4dbc623447532280e3273ea98119b3d3f788c84", Refused(400)),
    ("ltgtruri", 452, "bcacb2dc17610e8cc8f9b8b0e3d6ee65ab473f93787a03bbd33579e1cea473df", Refused(400)),
    ("lwsruri", 541, "3e22ceeca585ad23cc180208e2dad94e0a5aa4bb877a61cac443aa927f758b9e", Refused(400)),
    ("lwsstart", 506, "f884e5626c6c5b1210cfc4a3540b8a28bd52939cff092f3f0c5c971e032adb0e", Refused(400)),
    ("trws", 327, "64ae20694026e28c10746b57386b7fd1276de02b6f8d42d418070e87d6f4499f", Refused(400)),
    ("escruri", 550, "c3cf30af13a9d107829cc105effd79355f1139c6ecc683a048b4c27951f8f416", Refused(400)),
    ("baddate", 532, "1208a6e3e0c8a8c33a06a1f3733d158413cb72e58c379d094c4ecea11e9d4c28", Parsed("INVITE")),
    ("regbadct", 307, "575d27530275814c1c98be164808fac89a0e2b4fc899dadcd97e6ba499437bda", Refused(400)),
    ("badaspec", 346, "f8f6e2f4247287b0be6adb5ac222a6db4759395e44d27d2ddb9b39393e94867e", Refused(400)),
    ("baddn", 331, "9d9428e8017092f194ec11077ba6865c251308cdfd7fd9db6a993b28e5748951", Refused(400)),
    ("badvers", 291, "037d702d19e934bfeebbd2609050d7d54928d590cf90c78f3914522771dd8e03", Refused(505)),
    ("mismatch01", 236, "a2c285636e451e75420da0cc62ee55ca3e398827008418befbfb078726bf0793", Refused(400)),
    ("mismatch02", 449, "01b287f9a9c492f7f57405c36c8a2af0e2393896ed2d25fb92b502f2a6722bc4", Parsed("NEWMETHOD")),
    ("bigcode", 332, "f79450070975da54c3525c9a5cbe75bae3c9d8cb92eba609772c26f66f225c2e", Dropped),
    ("badbranch", 262, "cb049c727f16b5ec49e822f9e8b7d0ee20ca2d20ffb50baecd0b411a5e64fa7d", Refused(400)),
    ("insuf", 304, "1e3efd9f3b238c6351ba12bc7eb46d843f2761b5d4a6b82b63bffdf07f2c5aee", Refused(400)),
    ("unkscm", 291, "81be1a6a566c7ab52fe1c58c4a75440dfd697ad04c5e09fa71340de7da7b8bbb", Parsed("OPTIONS")),
    ("novelsc", 277, "9a50a7343fcf685e77c4d0f477138a28f32a41c75aa566d200f3df210b01e648", Parsed("OPTIONS")),
    ("unksm2", 282, "f6914409ced613ef5eb56e264d2f096dac26ab9e397d6a638934d2027f1f6acb", Parsed("REGISTER")),
    ("bext01", 381, "57181987c02c4f5752b7aa8c2847311f6184216ce7621e40303015949e70761c", Parsed("OPTIONS")),
    ("invut", 391, "9b39e824947df46f90f824cd308fb3c118f548d94637f581101e355b381a0d92", Parsed("INVITE")),
    ("regaut01", 304, "885ba0488872cfc04a3c7622854b8381955a5ee890745d6010834e3731a73faa", Parsed("REGISTER")),
    ("multi01", 643, "d156ab12105b4bfd8a6498de6f7195087058162b8cda1606169855b722411791", Refused(400)),
    ("mcl01", 382, "887191619bf003b7e87399200b5cf4c3b5397344dbf70288ad5e23bd157b7fe4", Refused(400)),
    ("bcast", 516, "073637c63597199179cf5fc91b980b2d530c066a0048ea3b908772def57b4c36", Dropped),
    ("zeromf", 272, "50954ef47acca4f9f5263ded06246d06dee4e2ee508a8d284191795d7fddf365", Parsed("OPTIONS")),
    ("cparam01", 321, "dfa6b5cdb289adc694b9b7e103ebfa7a2167335c46e5dc9de67055021910ae1c", Parsed("REGISTER")),
    ("cparam02", 311, "e93574215bd1d804bb46cc15ca6176b567def7ea1b15f72ab2c2dcf598af465a", Parsed("REGISTER")),
    ("regescrt", 302, "dab4087c133348b06fd7b3c4c7ef15094f8754e265e4e8c2137bb3ecda2ef477", Parsed("REGISTER")),
    ("sdp01", 494, "497c5f1ced6c7b579b48075e2dca919ce9b819a735964128a6e744a3a0b9e57f", Parsed("INVITE")),
    ("inv2543", 445, "76fac8afe22dee49ea696b511621946694897ac7030fc5d07f57c8b487ce0521", Parsed("INVITE")),
    ("extra/test", 318, "fe1cb604956316c0831e28bdc2ebda829a999e187ee801b08251bdb6e74014c7", Dropped),
    ("extra/baddn-terminated", 333, "4768517cb1c40f60f215ac45f4fc5653ee53b0bf2df37e06c6543e874be4a7f9", Refused(400)),
];

fn read(name: &str) -> Bytes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/rfc4475/{name}.dat"));
    std::fs::read(path).unwrap().into()
}

fn parse(name: &str) -> Result<Message, Malformed> {
    Message::parse(&read(name), Framing::Datagram)
}

fn request(name: &str) -> Request {
    match parse(name) {
        Ok(Message::Request(request)) => request,
        other => panic!("{name}: {other:?}"),
    }
}

fn response(name: &str) -> Response {
    match parse(name) {
        Ok(Message::Response(response)) => response,
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn the_files_are_those_of_the_rfc() {
    assert_eq!(MESSAGES.len(), 51);
    for (name, length, sha256, _) in MESSAGES {
        let bytes = read(name);
        assert_eq!(bytes.len(), *length, "{name}");
        let hash: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, *sha256, "{name}");
    }
}

#[test]
fn each_message_has_its_outcome() {
    for (name, _, _, expected) in MESSAGES {
        let parsed = parse(name);
        let good = match (&parsed, expected) {
            (Ok(Message::Request(request)), Parsed(method)) => request.method().as_str() == *method,
            (Ok(Message::Response(response)), Answer(status)) => response.status() == *status,
            (Err(malformed), Refused(status)) => {
                malformed.status == *status && malformed.reply.as_ref().is_some_and(|reply| reply.status() == *status)
            }
            (Err(malformed), Dropped) => malformed.reply.is_none(),
            _ => false,
        };
        assert!(good, "{name}: expected {expected:?}, found {parsed:?}");
    }
}

#[test]
fn what_is_odd_is_read_right() {
    let wsinv = request("wsinv");
    assert_eq!(wsinv.vias().iter().map(|via| via.transport()).collect::<Vec<_>>(), ["UDP", "TCP", "UDP"]);
    assert_eq!(wsinv.vias().last().map(|via| via.host()), Some("192.168.255.111"));
    assert_eq!(wsinv.via().branch(), Some("390skdjuw"));
    assert_eq!((wsinv.max_forwards(), wsinv.cseq(), wsinv.body().len()), (Some(68), 9, 150));
    assert_eq!(wsinv.from().display(), Some("J Rosenberg \\\""));
    assert_eq!(wsinv.from().tag(), Some("98asjd8"));
    assert_eq!(wsinv.to().tag(), Some("1918181833n"));
    assert_eq!(wsinv.contact().and_then(|contact| contact.param("newparam")), Some("newvalue"));
    assert_eq!(wsinv.contact().and_then(|contact| contact.param("q")), Some("0.33"));
    assert_eq!(wsinv.header("s"), Some(""));
    assert_eq!(wsinv.header("newfangledheader"), Some("newfangled value continued newfangled value"));
    assert_eq!(wsinv.routes()[0].uri().param("lr"), Some(""));
    assert!(!wsinv.has_old_syntax() && !wsinv.via().has_cookie());

    let intmeth = request("intmeth");
    assert_eq!(intmeth.call_id(), "intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{");
    assert_eq!(intmeth.from().tag(), Some("_token~1'+`*%!-."));
    assert_eq!(intmeth.to().display(), Some("BEL:\u{7} NUL:\0 DEL:\u{7f}"));
    assert_eq!(intmeth.from().display(), Some("token1~` token2'+_ token3*%!.-"));
    assert_eq!(intmeth.uri().user(), Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
    assert_eq!(intmeth.uri().host(), "example.com");
    assert_eq!(intmeth.header("extensionHeader-!.%*+_`'~"), Some("\u{feff}大停電"));

    let esc01 = request("esc01");
    assert_eq!(esc01.uri().user_unescaped().as_deref(), Some("sips:user@example.com"));
    assert_eq!(esc01.to().uri().user_unescaped().as_deref(), Some("user"));
    assert_eq!(esc01.contact().and_then(|contact| contact.uri().param("n%61me")), Some("v%61lue%25%34%31"));

    let escnull = request("escnull");
    assert_eq!(escnull.to().uri().user_unescaped().as_deref(), Some("null-\0-null"));
    let contacts: Vec<_> = escnull.addresses("Contact").iter().map(|c| c.uri().user_unescaped().unwrap()).collect();
    assert_eq!(contacts, ["\0", "\0\0"]);

    assert_eq!(request("esc02").addresses("Contact").len(), 2);
    assert_eq!(request("lwsdisp").from().display(), Some("caller"));
    assert_eq!(request("longreq").vias().len(), 34);
    assert!(request("dblreq").body().is_empty());
    assert_eq!(request("semiuri").uri().user_unescaped().as_deref(), Some("user;par=u@example.net"));
    assert_eq!(request("mpart01").body().len(), 553);
    assert!(response("unreason").phrase().starts_with("= 2**3 * 5**2 но сто"));
    assert_eq!(response("noreason").phrase(), "");
    assert_eq!(request("unkscm").uri().scheme(), Scheme::Other);
    assert_eq!(request("novelsc").uri().as_str(), "soap.beep://192.0.2.103:3002");
    assert_eq!(request("unksm2").to().uri().scheme(), Scheme::Other);
    assert_eq!(request("bext01").header_all("Require").collect::<Vec<_>>().len(), 1);
    assert_eq!(request("zeromf").max_forwards(), Some(0));
    assert!(request("inv2543").has_old_syntax());
}

#[test]
fn a_parameter_is_on_the_side_where_it_stands() {
    let outside = request("cparam01").contact().unwrap().clone();
    assert_eq!((outside.param("unknownparam"), outside.uri().param("unknownparam")), (Some(""), None));
    let inside = request("cparam02").contact().unwrap().clone();
    assert_eq!((inside.param("unknownparam"), inside.uri().param("unknownparam")), (None, Some("")));
    let escaped = request("regescrt");
    assert_eq!(escaped.contact().unwrap().uri().headers(), "Route=%3Csip:sip.example.com%3E");
    assert!(escaped.routes().is_empty());
}

#[test]
fn a_refusal_gives_back_what_could_be_read() {
    let text = |name: &str| {
        let reply = parse(name).unwrap_err().reply.unwrap();
        String::from_utf8(reply.to_bytes().to_vec()).unwrap()
    };
    let badinv = text("badinv01");
    assert!(badinv.starts_with("SIP/2.0 400 "), "{badinv}");
    assert!(badinv.contains("\r\nVia: SIP/2.0/UDP 192.0.2.15\r\n"), "{badinv}");
    assert!(badinv.contains("\r\nCall-ID: badinv01.0ha0isndaksdjasdf3234nas\r\n"), "{badinv}");
    assert!(badinv.contains("\r\nTo: sip:j.user@example.com;tag="), "{badinv}");
    assert!(badinv.ends_with("\r\nContent-Length: 0\r\n\r\n"), "{badinv}");
    assert!(text("badvers").starts_with("SIP/2.0 505 Version Not Supported\r\nVia: SIP/2.0/UDP c.example.com;branch="));
    assert!(text("quotbal").contains("\r\nTo: \"Mr. J. User <sip:j.user@example.com>\r\n"));
    assert!(text("lwsruri").contains("\r\nTo: sip:user@example.com;tag=3xfe-9921883-z9f\r\n"));
    assert!(!text("insuf").contains("\r\nTo:") && text("insuf").contains("\r\nCSeq: 193942 INVITE\r\n"));
    assert_eq!(text("multi01").matches("\r\nCall-ID: ").count(), 1);
    // Nothing is remembered, and yet the same request is answered with the same tag.
    assert_eq!(text("baddn"), text("baddn"));
}

/// Over a stream a message is found by its length, and a broken length ends the stream.
#[test]
fn a_stream_is_cut_where_the_messages_end() {
    for (name, _, _, expected) in MESSAGES {
        let mut framer = StreamFramer::new();
        framer.push(&read(name));
        let frame = framer.next();
        match *name {
            // Longer than announced bodies wait for more; a short head waits for its end.
            "clerr" | "baddn" => assert_eq!((frame, framer.is_midway()), (Ok(None), true), "{name}"),
            "ncl" | "mcl01" => {
                let malformed = frame.unwrap_err();
                assert!(malformed.close && malformed.reply.is_some() && malformed.status == 400, "{name}");
                assert!(!framer.is_midway() && framer.next() == Ok(None), "{name}");
            }
            // No Content-Length at all; a line that could be one to another parser.
            "inv2543" | "extra/test" => assert!(frame.unwrap_err().close, "{name}"),
            _ => {
                let Ok(Some(Frame::Message(bytes))) = frame else { panic!("{name}: {frame:?}") };
                match (Message::parse(&bytes, Framing::Stream), expected) {
                    (Ok(Message::Request(request)), Parsed(method)) => assert_eq!(request.method().as_str(), *method),
                    (Ok(Message::Response(response)), Answer(status)) => assert_eq!(response.status(), *status),
                    (Err(malformed), Refused(status)) => {
                        assert_eq!((malformed.status, malformed.close), (*status, false))
                    }
                    (Err(malformed), Dropped) => assert!(malformed.reply.is_none(), "{name}"),
                    (parsed, _) => panic!("{name}: {parsed:?}"),
                }
            }
        }
    }
    let mut framer = StreamFramer::new();
    framer.push(&read("dblreq"));
    let mut methods = Vec::new();
    while let Ok(Some(Frame::Message(bytes))) = framer.next() {
        let Ok(Message::Request(request)) = Message::parse(&bytes, Framing::Stream) else { panic!() };
        methods.push(request.method().to_string());
    }
    assert_eq!(methods, ["REGISTER", "INVITE"]);
}

/// What is written is read back as it was.
#[test]
fn what_is_written_is_read_back() {
    for (name, _, _, expected) in MESSAGES {
        match parse(name) {
            Ok(Message::Request(request)) => {
                let again = Message::parse(&request.to_bytes(), Framing::Stream);
                assert_eq!(again, Ok(Message::Request(request)), "{name}");
            }
            Ok(Message::Response(response)) => {
                let again = Message::parse(&response.to_bytes(), Framing::Stream);
                assert_eq!(again, Ok(Message::Response(response)), "{name}");
            }
            Err(malformed) => {
                let Refused(_) = expected else { continue };
                let bytes = malformed.reply.unwrap().to_bytes();
                assert!(bytes.ends_with(b"\r\n\r\n"), "{name}");
            }
        }
    }
}

#[test]
fn the_answer_to_each_request_is_a_message() {
    let source = "127.0.0.9:7777".parse().unwrap();
    for (name, _, _, expected) in MESSAGES.iter().filter(|(_, _, _, expected)| matches!(expected, Parsed(_))) {
        let mut request = request(name);
        request.stamp(source);
        let mut response = Response::to(&request, 404, "");
        response.set_to_tag("mine");
        assert_eq!(response.vias(), request.vias(), "{name}: {expected:?}");
        assert_eq!(response.via().received(), Some(source.ip()), "{name}");
        assert!(response.to().tag().is_some(), "{name}");
        let text = response.to_bytes();
        let single = request.vias().len() == 1;
        assert_eq!(Message::parse(&text, Framing::Stream).is_ok(), single, "{name}");
    }
}

/// One change to a file: flip, cut, insert, repeat.
fn mutate(bytes: &mut Vec<u8>, kind: u8, at: prop::sample::Index, byte: u8, other: prop::sample::Index) {
    if bytes.is_empty() {
        return;
    }
    let (at, other) = (at.index(bytes.len()), other.index(bytes.len()));
    let piece = bytes[at.min(other)..at.max(other)].to_vec();
    match kind % 5 {
        0 => bytes[at] ^= byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        3 => drop(bytes.splice(at..at, piece)),
        _ => drop(bytes.drain(at.min(other)..at.max(other))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// No mutant panics, and whatever is still a message is written and read back as it was.
    #[test]
    fn a_mutant_is_read_or_refused(
        file in 0..MESSAGES.len(),
        changes in prop::collection::vec((any::<u8>(), any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()), 1..6),
        cut in 1..200_usize,
    ) {
        let mut bytes = read(MESSAGES[file].0).to_vec();
        for (kind, at, byte, other) in changes {
            mutate(&mut bytes, kind, at, byte, other);
        }
        let bytes = Bytes::from(bytes);
        let source = "127.0.0.9:7777".parse().unwrap();
        match Message::parse(&bytes, Framing::Datagram) {
            Ok(Message::Request(request)) => {
                prop_assert_eq!(Message::parse(&request.to_bytes(), Framing::Stream), Ok(Message::Request(request.clone())));
                let mut answered = request.clone();
                answered.stamp(source);
                let mut response = Response::to(&answered, 200, "");
                response.set_to_tag("mine");
                let again = Message::parse(&response.to_bytes(), Framing::Stream);
                prop_assert!(again == Ok(Message::Response(response)) || request.vias().len() > 1);
            }
            Ok(Message::Response(response)) => {
                prop_assert_eq!(Message::parse(&response.to_bytes(), Framing::Stream), Ok(Message::Response(response)));
            }
            Err(malformed) => if let Some(mut reply) = malformed.reply {
                reply.stamp(source);
                // One head, one empty line, nothing smuggled.
                let bytes = reply.to_bytes();
                prop_assert_eq!(bytes.windows(4).position(|four| four == b"\r\n\r\n"), Some(bytes.len() - 4));
            },
        }
        // However a stream is cut into reads, the same messages come out of it.
        let whole = frames(std::iter::once(&bytes[..]));
        prop_assert_eq!(frames(bytes.chunks(cut)), whole);
    }
}

fn frames<'a>(reads: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<u16>) {
    let mut framer = StreamFramer::new();
    let mut found = Vec::new();
    for read in reads {
        framer.push(read);
        loop {
            match framer.next() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(malformed) => return (found, Some(malformed.status)),
            }
        }
    }
    (found, None)
}
