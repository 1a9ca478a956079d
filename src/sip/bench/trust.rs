//! Method × who asks: what a stranger, a carrier, a carrier that has to prove who it is, and each of them within a call that is
//! or is not theirs are answered, and what our owner is told.

use super::digest::{PASSWORD, asked, header, last_response, listed, said_of};
use super::*;

/// Who sends a request, and within which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// Nobody listed them, and there is no call.
    Stranger,
    /// Nobody listed them, but they know a call's names.
    Eavesdropper,
    /// Listed; no call.
    Carrier,
    /// Listed, within their own call.
    Partner,
    /// Listed, and within another carrier's call, whose names they know.
    OtherCarrier,
    /// Listed, within a call of theirs that is from another address of theirs.
    Elsewhere,
    /// Listed; names a call that is none.
    Astray,
    /// No longer listed, within their own call.
    Former,
    /// Listed, has to prove who they are, and does not.
    Unproven,
    /// Nobody listed them; whoever proves who they are may call from anywhere; and does not.
    Roamer,
    /// The same, with a wrong proof.
    Liar,
    /// The same, with the right one.
    Proven,
}

const EVERYBODY: [Who; 12] = [
    Who::Stranger,
    Who::Eavesdropper,
    Who::Carrier,
    Who::Partner,
    Who::OtherCarrier,
    Who::Elsewhere,
    Who::Astray,
    Who::Former,
    Who::Unproven,
    Who::Roamer,
    Who::Liar,
    Who::Proven,
];

fn other_carrier() -> SocketAddr {
    "192.0.2.9:5060".parse().unwrap()
}

fn elsewhere() -> SocketAddr {
    "198.51.100.7:5060".parse().unwrap()
}

/// A request with all that its method needs.
fn request(method: &str, tag: &str, more: &str) -> String {
    let body = if matches!(method, "INVITE" | "UPDATE") { OFFER } else { EMPTY };
    let needed = match method {
        "REFER" => "Refer-To: <sip:+4930@192.0.2.2>\n",
        "SUBSCRIBE" | "NOTIFY" => "Event: refer\n",
        _ => "",
    };
    // As long as requests are: nobody unknown is answered by more than they sent.
    let subject = format!("Subject: {}\n", "x".repeat(300));
    from_peer(method, "cell", tag, 2, &format!("{more}{subject}{needed}{body}"))
}

fn cell(method: &str, who: Who) -> String {
    let mut bench = Bench::new();
    let mut sources = vec![listed()];
    if matches!(who, Who::OtherCarrier | Who::Elsewhere) {
        let owner = (who == Who::OtherCarrier).then(|| "other".into());
        sources.push(Source { network: other_carrier().ip(), owner, ..listed() });
    }
    bench.command(Command::Sources(sources));
    let in_call = [Who::Eavesdropper, Who::Partner, Who::OtherCarrier, Who::Elsewhere, Who::Astray, Who::Former];
    let in_call = in_call.contains(&who);
    let (call, tag) = if in_call { Some(up(&mut bench)).unzip() } else { (None, None) };
    let tag = if who == Who::Astray { "astray".to_owned() } else { tag.unwrap_or_default() };
    match who {
        Who::Former => bench.command(Command::Sources(Vec::new())),
        Who::Unproven => bench.command(Command::Asked(vec![asked(vec![listed()])])),
        Who::Roamer | Who::Liar | Who::Proven => bench.command(Command::Asked(vec![asked(Vec::new())])),
        _ => {}
    }
    let peer = match who {
        Who::Carrier | Who::Partner | Who::Astray | Who::Former | Who::Unproven => address(1),
        Who::OtherCarrier | Who::Elsewhere => other_carrier(),
        _ => elsewhere(),
    };
    let proof = match who {
        Who::Liar | Who::Proven => {
            bench.receive_from(peer, &request("INVITE", "", "").replace("cell", "first"));
            let challenge = last_response(&bench);
            bench.sent.clear();
            let password = if who == Who::Proven { PASSWORD } else { b"close sesame" };
            let body: &[u8] = if matches!(method, "INVITE" | "UPDATE") { b"offer" } else { b"" };
            header(&said_of(&challenge, 0, password, 1, method, body))
        }
        _ => String::new(),
    };
    let text = request(method, &tag, &proof);
    bench.receive_from(peer, &text);
    // Nobody who is not known gets more than they sent.
    let known = in_call && who != Who::Eavesdropper || matches!(who, Who::Carrier | Who::Unproven | Who::Proven);
    assert!(
        known || bench.sent.iter().all(|(to, bytes)| to.peer == peer && bytes.len() <= text.len()),
        "{method} {who:?}"
    );
    let overheard = matches!(who, Who::OtherCarrier | Who::Eavesdropper);
    assert_eq!(bench.endpoint.counters().foreign, u64::from(overheard), "{method} {who:?}");
    what_became(bench, call, method)
}

/// A method, and a cell for each of [`EVERYBODY`]. A carrier may speak in its calls from all its addresses, but spend from the
/// one that it called from alone; of another carrier's call there is nothing for it.
#[rustfmt::skip]
const CELLS: &[(&str, [&str; 12])] = &[
    ("INVITE", ["403", "403", "100 Invited", "100 Offered", "481", "100 Offered", "481", "100 Offered", "401", "401", "401", "100 Invited"]),
    ("ACK", ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("CANCEL", ["403", "403", "481", "481", "481", "481", "481", "481", "481", "403", "403", "403"]),
    ("BYE", ["403", "403", "481", "200 HungUp", "481", "200 HungUp", "481", "200 HungUp", "401", "403", "403", "403"]),
    ("OPTIONS", ["403", "403", "200", "200", "481", "200", "481", "200", "200", "403", "403", "403"]),
    ("UPDATE", ["403", "403", "481", "Offered", "481", "Offered", "481", "Offered", "401", "403", "403", "403"]),
    ("INFO", ["403", "403", "481", "200", "481", "200", "481", "200", "401", "403", "403", "403"]),
    ("PRACK", ["403", "403", "481", "400", "481", "400", "481", "400", "401", "403", "403", "403"]),
    ("REGISTER", ["403", "403", "405", "405", "405", "405", "405", "405", "405", "403", "403", "403"]),
    ("REFER", ["403", "403", "403", "Referred", "481", "403", "481", "Referred", "401", "403", "403", "403"]),
    ("SUBSCRIBE", ["403", "403", "489", "481", "481", "481", "481", "481", "401", "401", "401", "489"]),
    ("NOTIFY", ["403", "403", "481", "481", "481", "481", "481", "481", "401", "403", "403", "403"]),
    ("MESSAGE", ["403", "403", "405", "405", "405", "405", "405", "405", "405", "403", "403", "403"]),
    ("PUBLISH", ["403", "403", "405", "405", "405", "405", "405", "405", "405", "403", "403", "403"]),
    ("NOPE", ["403", "403", "501", "501", "501", "501", "501", "501", "501", "403", "403", "403"]),
];

#[test]
fn each_method_does_for_each_of_them_what_the_table_says() {
    let mut wrong = Vec::new();
    for method in methods() {
        let expected = CELLS.iter().find(|(name, _)| *name == method).map(|(_, row)| row);
        let found = EVERYBODY.map(|who| cell(method, who));
        if expected.is_none_or(|expected| *expected != found) {
            wrong.push(format!("    (\"{method}\", {found:?}),"));
        }
    }
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
    assert_eq!(CELLS.len(), methods().count());
}
