//! Method × state of a subscription × how the request is: what a watcher is answered, what our owner is told, and what is told
//! to the watcher once our owner has agreed. Each cell is a subscription of its own, from its beginning to a state where nothing
//! is left.

use super::*;

/// How far a subscription has come.
#[derive(Clone, Copy, Debug)]
enum State {
    /// There is none; its call is up.
    None,
    /// Its first SUBSCRIBE waits for our owner.
    Asked,
    /// Our owner has agreed, and the call is in no room yet.
    Pending,
    Active,
    /// A NOTIFY of ours is not answered.
    Telling,
    /// A further SUBSCRIBE waits for our owner.
    Asking,
    /// Its last NOTIFY is not answered.
    Ending,
    Over,
}

const STATES: [State; 8] = [
    State::None,
    State::Asked,
    State::Pending,
    State::Active,
    State::Telling,
    State::Asking,
    State::Ending,
    State::Over,
];

/// The last SUBSCRIBE of a subscription in any state.
const LATEST: u32 = 3;

/// A subscription in this state: its call, where that is, and our tag, as far as the watcher knows it.
fn watch_in(state: State) -> (Bench, Call, NameAddr, String) {
    let mut bench = Bench::new();
    let (call, _, contact) = call(&mut bench, 1);
    let tag = match state {
        State::None => String::new(),
        State::Asked => {
            bench.receive(&subscribe(&contact, 1, "", LATEST, ""));
            String::new()
        }
        _ => {
            let shown = if matches!(state, State::Pending) { None } else { Some(room(1)) };
            let (subscription, tag) = watching(&mut bench, &contact, shown);
            match state {
                State::Telling => {
                    bench.pass(Duration::from_secs(1));
                    show(&mut bench, subscription, &room(2));
                }
                State::Asking => bench.receive(&subscribe(&contact, 1, &tag, LATEST, "")),
                State::Ending | State::Over => bench.receive(&subscribe(&contact, 1, &tag, LATEST, "Expires: 0\n")),
                _ => {}
            }
            if matches!(state, State::Over) {
                answer(&mut bench, 200);
            }
            tag
        }
    };
    bench.words();
    bench.told();
    (bench, call, contact, tag)
}

/// What becomes of one request, in words: what is sent, what is told, and what is sent once our owner has agreed.
fn cell(method: &str, state: State, kind: Kind, text: &str) -> String {
    let (mut bench, call, contact, tag) = watch_in(state);
    let tag = if kind == Kind::Astray { "astray" } else { &tag };
    let cseq = if kind == Kind::Old { LATEST - 2 } else { LATEST + 1 };
    let require = if kind == Kind::Invalid { "Require: nobody-knows\n" } else { "" };
    let text = format!("{require}{text}");
    let request = subscribe(&contact, 1, tag, cseq, &text).replace("z9hG4bKs1", "z9hG4bKcell");
    bench.receive(&request.replace("SUBSCRIBE", method));
    let mut became = [bench.words(), bench.events.iter().map(super::kind).collect()].concat();
    if let Some(Event::Subscribed(subscriber)) = bench.events.pop() {
        let (subscription, shown) = (subscriber.subscription, Some(Arc::new(room(1))));
        bench.command(Command::Admit { subscription, shown, tcp: None });
        became.extend(bench.words());
    }
    bench.told();
    what_became(bench, Some(call), method);
    if became.is_empty() { "-".to_owned() } else { became.join(" ").replace(&format!(" {method}"), "") }
}

/// Method, what it is, how it is and what it says, and a cell for each of [`STATES`].
#[rustfmt::skip]
const CELLS: &[(&str, &str, Kind, &str, [&str; 8])] = &[
    ("SUBSCRIBE", "the first, or a further one", Kind::Valid, "Expires: 600\n", ["Subscribed 200 NOTIFY", "Subscribed 200 NOTIFY", "Subscribed 200 NOTIFY", "Subscribed 200 NOTIFY", "Subscribed 200", "500", "481", "481"]),
    ("SUBSCRIBE", "requires what nobody knows", Kind::Invalid, "", ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("SUBSCRIBE", "of no subscription", Kind::Astray, "", ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", "its number was used up", Kind::Old, "", ["Subscribed 200 NOTIFY", "Subscribed 200 NOTIFY", "500", "500", "500", "500", "481", "481"]),
    ("SUBSCRIBE", "a look, or the end", Kind::Valid, "Expires: 0\n", ["Subscribed 200 NOTIFY", "Subscribed 200 NOTIFY", "200 NOTIFY", "200 NOTIFY", "200", "500", "481", "481"]),
    ("SUBSCRIBE", "too brief", Kind::Valid, "Expires: 59\n", ["423", "423", "423", "423", "423", "423", "423", "481"]),
    ("SUBSCRIBE", "of another package", Kind::Valid, "Event: presence\n", ["489", "489", "489", "489", "489", "489", "489", "481"]),
    ("NOTIFY", "as we send it", Kind::Valid, "Subscription-State: active\n", ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", "requires what nobody knows", Kind::Invalid, "Subscription-State: active\n", ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("NOTIFY", "of no subscription", Kind::Astray, "Subscription-State: active\n", ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", "its number was used up", Kind::Old, "Subscription-State: active\n", ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", "of another package", Kind::Valid, "Event: presence\nSubscription-State: active\n", ["481", "481", "481", "481", "481", "481", "481", "481"]),
];

#[test]
fn each_request_of_a_watcher_does_what_the_table_says() {
    let mut wrong = Vec::new();
    for (method, what, kind, text, expected) in CELLS {
        let found = STATES.map(|state| cell(method, state, *kind, text));
        if *expected != found {
            wrong.push(format!("{method}, {what}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
}
