//! The command line as people and scripts use it: the built program in a folder of its own, with and without a running
//! bridge, its output, its words and its exit codes. All traffic is on this machine.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tollbridge::cli::phone::{Exchange, Phone};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollbridge");
const DEMO: &str = include_str!("../config/demo.toml");
const RATES: &str = include_str!("../config/rates.csv");
/// Nothing here takes so long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with the demo's file, and the address that its bridge will have.
struct House {
    folder: TempDir,
    api: SocketAddr,
}

/// What a command said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn good(self) -> Said {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// It ended with `code`, and each of `words` stands in what it said to people.
    #[track_caller]
    fn failed(self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.err.contains(word), "\"{word}\" is missing: {self:?}");
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl House {
    fn new() -> House {
        House::with_carrier_at("127.0.0.1:5070".parse().unwrap())
    }

    fn with_carrier_at(carrier: SocketAddr) -> House {
        let house = House { folder: TempDir::new().unwrap(), api: free_address() };
        house.write("demo.toml", &DEMO.replace("udp:127.0.0.1:5070", &format!("udp:{carrier}")));
        house.write("rates.csv", RATES);
        house
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLBRIDGE") || name.contains("PROXY")) {
            command.env_remove(name);
        }
        command
            .env("TOLLBRIDGE__SIP__LISTEN", "[\"udp:127.0.0.1:0\"]")
            .env("TOLLBRIDGE__API__LISTEN", self.api.to_string())
            // Who tells it to stop here does not want to wait for calls.
            .env("TOLLBRIDGE__SIP__DRAIN_S", "0")
            .env("TOLLBRIDGE__MEDIA__THREADS", "1")
            .env("RUST_LOG", "error")
            // A proxy for everything: no command may send the token there.
            .env("http_proxy", "http://127.0.0.1:1")
            .env("ALL_PROXY", "http://127.0.0.1:1");
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    /// A bridge that answers.
    /// With the token of a file.
    fn run_by(&self, token: &str, arguments: &[&str]) -> Said {
        let mut command = self.command(arguments);
        let output = command.env("TOLLBRIDGE__API__TOKEN_FILE", token).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    fn serve(&self) -> Bridge {
        let mut command = self.command(&["serve"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let lines = lines_of(child.stdout.take().unwrap());
        let bridge = Bridge { child, lines };
        bridge.until("meetings:");
        bridge
    }
}

/// Its lines, read by a thread of their own, so that a test waits for one and no longer than it has patience.
fn lines_of(out: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| tell.send(line)));
    lines
}

/// A program that goes on until it is dropped.
struct Bridge {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Bridge {
    #[track_caller]
    fn until(&self, word: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(word) => return,
                Ok(_) => {}
                Err(error) => panic!("\"{word}\" was not said: {error}"),
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn ended(&mut self) -> i32 {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it did not end");
    }

    fn stop(mut self) {
        self.signal("-TERM");
        assert_eq!(self.ended(), 0);
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks until `seen`; a leg's way takes a moment.
#[track_caller]
fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(seen) = look() {
            return seen;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it was not seen in time");
}

// ------------------------------------------------------------------------------------------------------------ the books

#[test]
fn a_file_is_applied_once_and_again() {
    let house = House::new();
    let first = house.run(&["apply", "demo.toml"]).good();
    assert!(first.out.contains("2 organisations") && first.out.contains("2 opening fundings booked"), "{first:?}");
    let again = house.run(&["--json", "apply", "demo.toml"]).good().json();
    assert_eq!((&again["users"], &again["funded"], &again["rates"]), (&4.into(), &0.into(), &Value::Null));
}

#[test]
fn every_mistake_of_a_file_is_told_with_its_line_and_nothing_is_applied() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let before = house.run(&["balance", "--org", "aurora", "--json"]).good();
    house.write("bad.toml", "rates = \"none.csv\"\n[[organisation]]\nid = \"New\"\ncountry = \"IT\"\ncredit = \"1\"\n");
    house.run(&["apply", "bad.toml"]).failed(
        1,
        &[
            "bad.toml:1: rates: none.csv cannot be read",
            "bad.toml:3: ",
            "bad.toml:5: ",
            "3 mistakes; nothing was applied",
        ],
    );
    // What only the store can tell.
    house.write(
        "unknown.toml",
        "\n[[number]]\ne164 = \"+390611111111\"\nkind = \"toll\"\ncountry = \"IT\"\nmeeting = \"x\"\n",
    );
    let said = house.run(&["apply", "unknown.toml"]);
    assert!(said.err.starts_with("unknown.toml:"), "{said:?}");
    said.failed(1, &["1 mistake; nothing was applied"]);
    // A changed opening funding points to the command that books more.
    house.write("richer.toml", &DEMO.replace("\"25.00\"", "\"26.00\""));
    house.run(&["apply", "richer.toml"]).failed(1, &["tollbridge credits add --org aurora"]);
    house.write("deck.csv", "call_type,prefix\nx\n");
    house.write("deck.toml", "rates = \"deck.csv\"\n");
    house.run(&["apply", "deck.toml"]).failed(1, &["deck.csv:"]);
    house.run(&["apply", "no-such.toml"]).failed(1, &["no-such.toml: "]);
    house.run(&["apply"]).failed(2, &["FILE"]);
    assert_eq!(house.run(&["balance", "--org", "aurora", "--json"]).good(), before);
}

#[test]
fn money_is_paid_in_once_a_key() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let add = ["credits", "add", "--org", "aurora", "--amount", "5.5", "--key", "invoice-1", "--memo", "by wire"];
    let first = house.run(&add).good();
    assert!(first.out.contains("available: 30.5000 USD"), "{first:?}");
    let again = house.run(&[&add[..], &["--json"]].concat()).good().json();
    assert_eq!((&again["booked"], &again["key"]), (&false.into(), &"invoice-1".into()));
    let adjust = |amount: &'static str| house.run(&["credits", "adjust", "--org", "aurora", "--amount", amount]);
    assert!(adjust("-0.5").good().out.contains("available: 30.0000 USD"));
    adjust("-30.01").failed(1, &["only 30.0000 USD is available"]);
    adjust("0").failed(1, &["not zero"]);
    adjust("1.2345678").failed(2, &["at most 6 decimal places"]);
    let other = ["credits", "add", "--org", "aurora", "--amount", "6", "--key", "invoice-1"];
    house.run(&other).failed(1, &["booked before, with another amount"]);
    house.run(&["credits", "add", "--org", "aurora", "--amount", "-1"]).failed(1, &["more than zero"]);
    house.run(&["credits", "add", "--org", "nobody", "--amount", "1"]).failed(1, &["no organisation nobody"]);
    house.run(&["credits"]).failed(2, &["add"]);

    let balance = house.run(&["balance", "--org", "aurora", "--json"]).good().json();
    for (name, amount) in [("posted", "30.0000"), ("held", "0.0000"), ("available", "30.0000"), ("currency", "USD")] {
        assert_eq!(balance[name], amount, "{name}");
    }
    assert_eq!(balance["fundings"].as_array().unwrap().len(), 2);
    let table = house.run(&["balance", "--org", "aurora"]).good().out;
    assert!(table.contains("available  30.0000  USD") && table.contains("invoice-1"), "{table}");
    assert_eq!(house.run(&["audit"]).good().out, "0 differences\n");
    assert_eq!(house.run(&["audit", "--json"]).good().json()["differences"], Value::Array(Vec::new()));
}

#[test]
fn alerts_are_listed_and_hooks_that_lead_inside_are_not_saved() {
    let house = House::new();
    let told = |hook: &str| {
        format!(
            "[[organisation]]\nid = \"third\"\ncountry = \"IT\"\ncredits = \"1\"\n[organisation.alerts]\n\
             emails = [\"ops@example.com\"]\nwebhook = \"{hook}\"\nwebhook_secret = \"env:HOOK\"\n"
        )
    };
    for (hook, why) in [
        ("http://127.0.0.1:9/x", "127.0.0.1 is not an address of the open Internet"),
        ("http://localhost/x", "is not an address of the open Internet"),
        ("http://2130706433/", "expected a host name"),
        ("http://u@hooks.example.com/", "expected no user"),
    ] {
        house.write("inside.toml", &told(hook));
        house.run(&["apply", "inside.toml"]).failed(1, &["inside.toml:", why, "nothing was applied"]);
    }
    house.write("open.toml", &told("https://93.184.215.14/x"));
    house.run(&["apply", "open.toml"]).good();
    assert_eq!(house.run(&["alerts"]).good().out, "there is no alert\n\nthere is no recharge\n");
    house.run(&["credits", "adjust", "--org", "third", "--amount", "-0.9"]).good();
    assert!(house.run(&["alerts", "--org", "third", "--test"]).good().out.contains("on its way to 2 targets"));
    let shown = house.run(&["alerts", "--org", "third", "--json"]).good().json();
    let kinds: Vec<&str> = shown["alerts"].as_array().unwrap().iter().map(|a| a["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["test", "low-balance"]);
    let table = house.run(&["alerts"]).good().out;
    assert!(table.contains("low-balance") && table.contains("wanted") && table.contains("2 alerts"), "{table}");
    house.run(&["alerts", "--test"]).failed(2, &["--org"]);
}

/// A customer is made and changed word by word, the same with a bridge and without.
#[test]
fn what_there_is_is_shown_made_and_changed() {
    for with_bridge in [false, true] {
        let house = House::new();
        house.run(&["apply", "demo.toml"]).good();
        let bridge = with_bridge.then(|| house.serve());
        let set = |arguments: &[&str]| house.run(arguments).good().out;
        let cirrus = ["organisation", "set", "cirrus", "name=Cirrus Ltd", "country=IT", "volume_licensing=true"];
        assert_eq!(set(&cirrus), "organisation cirrus made\n");
        assert_eq!(set(&cirrus), "organisation cirrus is as it was\n");
        let more =
            ["organisation", "set", "cirrus", "limits.max_calls=5", "limits.max_spend_per_day=9.50", "credits=2"];
        assert_eq!(set(&more), "organisation cirrus changed: credits, limits.max_calls, limits.max_spend_per_day\n");
        house.write("pin", "20261\n");
        let zoe = ["user", "set", "--org", "cirrus", "zoe", "name=Zoe", "licences=pay-per-minute", "pin=@pin"];
        assert_eq!(set(&zoe), "user zoe made\n");
        let room = ["meeting", "set", "--org", "cirrus", "room", "organiser=zoe", "conference_id=3140077"];
        assert_eq!(set(&room), "meeting room made\n");
        let number =
            ["number", "set", "+390699999991", "kind=toll", "country=IT", "organisation=cirrus", "meeting=room"];
        assert_eq!(set(&number), "number +390699999991 made\n");
        let carrier =
            ["carrier", "set", "second", "sources=203.0.113.7", "codecs=PCMA,G722", "failure_map.busy=486/17"];
        assert_eq!(set(&carrier), "carrier second made\n");
        assert_eq!(set(&["user", "set", "--org", "cirrus", "zoe", "toll_free=false"]), "user zoe changed: toll_free\n");

        let users = house.run(&["user", "list", "--org", "cirrus"]).good().out;
        let lines: Vec<&str> = users.lines().collect();
        assert_eq!(lines.len(), 2, "{users}");
        for word in ["zoe", "Zoe", "pay-per-minute", "any", "no", "yes"] {
            assert!(lines[1].contains(word), "{word}: {users}");
        }
        assert_eq!(house.run(&["organisation", "list", "--json"]).good().json().as_array().unwrap().len(), 3);
        let shown = house.run(&["carrier", "show", "second"]).good().out;
        assert!(shown.contains("failure_map.busy") && shown.contains("486/17"), "{shown}");
        let zoe = house.run(&["--json", "user", "show", "--org", "cirrus", "zoe"]).good().json();
        assert_eq!((&zoe["has_pin"], &zoe["toll_free"]), (&true.into(), &false.into()));
        let quote = ["quote", "--organiser", "zoe", "--type", "dial-out", "--to", "+390699999999", "--json"];
        assert_eq!(house.run(&quote).good().json()["allowed"], true);

        let user = |keys: &str| house.run(&["user", "set", "--org", "cirrus", "zoe", keys]);
        user("licences=phone").failed(1, &["licences: expected one of", "1 mistake; nothing was applied"]);
        user("colour=red").failed(1, &["colour: unknown key"]);
        user("colour").failed(2, &["expected KEY=VALUE"]);
        user("pin=@none").failed(1, &["pin: none: "]);
        house.run(&["user", "set", "--org", "borealis", "zoe"]).failed(1, &["the name of user zoe is taken"]);
        house.run(&["user", "show", "--org", "borealis", "zoe"]).failed(1, &["there is no such user"]);
        house.run(&["user", "list", "--org", "nobody"]).failed(1, &["there is no such organisation"]);
        house.run(&["user", "list"]).failed(2, &["--org"]);

        let licence = |arguments: &[&str]| house.run(&[&["licence"], arguments].concat());
        let until = ["set", "--org", "cirrus", "zoe", "communications-credits", "--until", "2099-12-31"];
        let due = "user zoe has communications-credits until 2099-12-31\n";
        assert_eq!(licence(&until).good().out, due);
        set(&["organisation", "set", "cirrus", "seats.pay-per-minute=1"]);
        set(&["user", "set", "--org", "cirrus", "yan"]);
        licence(&["set", "--org", "cirrus", "yan", "pay-per-minute"]).failed(1, &["1 are bought"]);
        let listed = licence(&["list", "--org", "cirrus", "--json"]).good().json();
        let row =
            |at: usize| (&listed[at]["licence"], &listed[at]["bought"], &listed[at]["given"], &listed[at]["held"]);
        assert_eq!(row(1), (&"pay-per-minute".into(), &1.into(), &1.into(), &1.into()));
        let gone = licence(&["remove", "--org", "cirrus", "zoe", "communications-credits"]).good().out;
        assert_eq!(gone, "user zoe has communications-credits no more\n");
        let none = "there is no licence communications-credits of user zoe";
        licence(&["remove", "--org", "cirrus", "zoe", "communications-credits"]).failed(1, &[none]);

        let remove = |arguments: &[&str]| house.run(&[&arguments[..1], &["remove"], &arguments[1..]].concat());
        remove(&["meeting", "--org", "cirrus", "room"]).failed(1, &["number +390699999991 leads to it"]);
        assert_eq!(remove(&["number", "+390699999991"]).good().out, "number +390699999991 deleted\n");
        assert_eq!(remove(&["meeting", "--org", "cirrus", "room", "--json"]).good().json()["removed"], "closed");
        assert_eq!(remove(&["user", "--org", "cirrus", "zoe"]).good().out, "user zoe closed\n");
        remove(&["user", "--org", "cirrus", "zoe"]).failed(1, &["there is no user zoe"]);
        remove(&["organisation", "cirrus"]).failed(1, &["user yan is its"]);
        remove(&["user", "--org", "cirrus", "yan"]).good();
        remove(&["organisation", "cirrus"]).failed(1, &["its account stands at 2.0000 USD"]);

        let trail = house.run(&["trail", "--json", "--org", "cirrus"]).good().json();
        let (what, detail) = (&trail[0]["what"], &trail[0]["detail"]);
        assert_eq!((what, &detail["after"]["country"]), (&"organisation cirrus".into(), &"IT".into()));
        assert!(!trail.to_string().contains("20261"));
        assert_eq!(house.run(&["audit"]).good().out, "0 differences\n");
        bridge.into_iter().for_each(Bridge::stop);
    }
}

/// A token of one organisation is made without a bridge, and a bridge lets its holder do what its role may.
#[test]
fn a_token_opens_what_its_role_may_and_no_more() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let add = ["token", "add", "paola", "--role", "reader", "--org", "aurora", "--expires", "2099-01-01"];
    let made = house.run(&add).good();
    assert!(made.out.trim().len() == 64 && made.err.contains("the only time"), "{made:?}");
    house.write("paola.token", &made.out);
    let bridge = house.serve();
    let paola = |arguments: &[&str]| house.run_by("paola.token", arguments);
    assert!(paola(&["user", "list", "--org", "aurora"]).good().out.contains("anna"));
    assert!(paola(&["balance", "--org", "aurora"]).good().out.contains("25.0000"));
    paola(&["user", "set", "--org", "aurora", "anna", "name=A"]).failed(1, &["needs \"manage\"", "role reader"]);
    paola(&["user", "list", "--org", "borealis"]).failed(1, &["there is no such page"]);
    for house_alone in [&["carrier", "list"][..], &["rates", "list"], &["audit"], &["apply", "demo.toml"]] {
        paola(house_alone).failed(1, &["there is no such page"]);
    }
    // Without a name the token's own organisation is meant.
    assert_eq!(paola(&["legs"]).good().out, "nobody is in a call\n");
    assert_eq!(paola(&["meetings", "--org", "aurora"]).good().out, "no meeting runs\n");
    assert_eq!(paola(&["usage"]).good().out, "there is no record\n");
    assert_eq!(paola(&["usage", "--json"]).good().json(), serde_json::json!([]));
    assert_eq!(paola(&["usage", "--corrections"]).good().out, "nothing was put right\n");
    assert_eq!(paola(&["grant", "list", "--org", "aurora"]).good().out, "there is no grant\n");
    assert!(paola(&["trail"]).good().out.contains("token paola"));
    assert!(paola(&["alerts"]).good().out.starts_with("there is no alert\n"));
    assert!(paola(&["number", "list"]).good().out.contains("+39"));
    assert!(paola(&["report", "usage"]).good().out.contains("there is nothing to report"));
    let quote = ["quote", "--organiser", "anna", "--type", "dial-out", "--to", "+390611112222"];
    assert!(paola(&quote).code < 2);
    paola(&["token", "list"]).failed(1, &["needs \"manage\""]);
    paola(&["legs", "--org", "borealis"]).failed(1, &["there is no such page"]);
    house.run(&["token", "add", "paola", "--role", "admin"]).failed(1, &["the name of token paola is taken"]);
    house.run(&["token", "add", "x", "--role", "king"]).failed(2, &["expected operator, admin, billing or reader"]);
    let listed = house.run(&["token", "list"]).good().out;
    assert!(listed.contains("paola") && listed.contains("2099-01-01") && !listed.contains(made.out.trim()), "{listed}");
    assert_eq!(house.run(&["token", "revoke", "paola", "--org", "aurora"]).good().out, "token paola revoked\n");
    paola(&["balance", "--org", "aurora"]).failed(1, &["no longer in force"]);
    let trail = house.run(&["trail", "--what", "token paola"]).good().out;
    assert!(trail.contains("token-make") && trail.contains("token-revoke") && trail.contains("operator"), "{trail}");
    bridge.stop();
}

#[test]
fn a_quote_tells_who_pays_and_how_much() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let italy = ["quote", "--organiser", "anna", "--type", "dial-in-toll", "--to", "+390612345678"];
    let quote = house.run(&[&italy[..], &["--json"]].concat()).good().json();
    assert_eq!((&quote["allowed"], &quote["charge"]), (&true.into(), &"0.1000".into()), "{quote}");
    let words = house.run(&[&italy[..], &["--minutes", "3"]].concat()).good().out;
    assert!(
        words.contains("0.0300 USD") && words.contains("paid by") && words.contains("rate dial-in-toll"),
        "{words}"
    );

    let unlicensed = ["quote", "--organiser", "bruno", "--type", "dial-out", "--to", "+390612345678"];
    house.run(&unlicensed).failed(1, &["the organiser has no licence for calls by phone"]);
    let refused = house.run(&[&["--json"], &unlicensed[..]].concat());
    assert_eq!((refused.code, &refused.json()["cause"]), (1, &"not-licensed".into()));
    house.run(&["quote", "--organiser", "zoe", "--type", "dial-out", "--to", "+390612345"]).failed(1, &["no user zoe"]);
    house.run(&["quote", "--organiser", "anna", "--type", "free", "--to", "+39061"]).failed(2, &["dial-in-toll"]);
    house
        .run(&["quote", "--organiser", "anna", "--type", "dial-out", "--to", "0612"])
        .failed(2, &["expected a number"]);
    let minutes = ["--minutes", "0"];
    house.run(&[&italy[..], &minutes].concat()).failed(2, &["--minutes"]);
}

#[test]
fn grants_are_given_listed_and_ended() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let add =
        ["grant", "add", "spring", "--org", "aurora", "--seconds", "600", "--until", "2040-01-01", "--country", "IT"];
    let first = house.run(&add).good();
    assert!(first.out.contains("600 seconds for aurora: given (grant spring)"), "{first:?}");
    assert_eq!(house.run(&[&add[..], &["--json"]].concat()).good().json()["booked"], false);
    let paid = ["grant", "add", "bundle", "--org", "aurora", "--money", "2.50", "--paid", "--priority", "7", "--json"];
    assert_eq!(house.run(&paid).good().json()["grant"]["left"], "2.5000");
    house.run(&["grant", "add", "x", "--org", "aurora"]).failed(2, &["--seconds"]);
    house.run(&["grant", "add", "x", "--org", "aurora", "--seconds", "1", "--money", "1"]).failed(2, &["--money"]);
    house.run(&["grant", "add", "x", "--org", "aurora", "--seconds", "0"]).failed(1, &["more than zero"]);
    house.run(&["grant", "add", "x", "--org", "nobody", "--seconds", "1"]).failed(1, &["no organisation nobody"]);
    house.run(&["grant", "add", "x", "--org", "aurora", "--seconds", "1", "--prefix", "39a"]).failed(1, &["39a"]);
    house
        .run(&["grant", "add", "x", "--org", "aurora", "--seconds", "1", "--call-type", "in"])
        .failed(1, &["dial-out"]);
    house.run(&["grant", "add", "spring", "--org", "aurora", "--seconds", "601"]).failed(1, &["it is another"]);
    let table = house.run(&["grant", "list", "--org", "aurora"]).good().out;
    let place = |name: &str| table.find(name).unwrap_or_else(|| panic!("{name} in {table}"));
    assert!(place("spring") < place("bundle") && table.contains("good   IT"), "{table}");
    let balance = house.run(&["balance", "--org", "aurora"]).good().out;
    assert!(balance.contains("spring") && balance.contains("bundle"), "{balance}");
    let quote = ["quote", "--organiser", "anna", "--type", "dial-out", "--to", "+390612345678", "--minutes", "10"];
    assert!(house.run(&quote).good().out.contains("grant spring: the first 600 s"));
    let ended = house.run(&["grant", "end", "bundle", "--org", "aurora"]).good().out;
    assert!(ended.contains("of 2.5000 0.0000 used, 2.5000 lapsed, 0.0000 held"), "{ended}");
    house.run(&["grant", "end", "bundle", "--org", "borealis"]).failed(1, &["grant bundle of borealis"]);
    assert!(!house.run(&["grant", "list", "--org", "aurora"]).good().out.contains("bundle"));
    assert!(house.run(&["grant", "list", "--org", "aurora", "--all"]).good().out.contains("bundle"));
    assert!(house.run(&["trail"]).good().out.contains("grant-end"));
    assert_eq!(house.run(&["audit"]).good().out, "0 differences\n");
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() {
    let house = House::new();
    for command in [
        &["usage"][..],
        &["audit"],
        &["balance", "--org", "aurora"],
        &["credits", "add", "--org", "a", "--amount", "1"],
    ] {
        house.run(command).failed(1, &["no store data/tollbridge.db", "tollbridge serve", "tollbridge apply"]);
    }
    assert!(!house.path().join("data").exists(), "a question made a store");
    let leg = "018bcfe5-687b-7000-8000-000000000007";
    let address = house.api.to_string();
    for command in [
        &["legs"][..],
        &["meetings", "--json"],
        &["dial", "--meeting", "studio", "--to", "+390612345678"],
        &["mute", leg],
        &["remove", leg],
        &["end", "studio"],
        &["lock", "studio"],
        &["admit", "studio"],
        &["revoke", "--organisation", "aurora", "--reason", "x"],
    ] {
        house.run(command).failed(1, &[&address, "nobody listens there", "tollbridge serve"]);
    }
    house.run(&["mute", "7"]).failed(2, &["LEG"]);
    house.run(&["dial", "--meeting", "studio"]).failed(2, &["--to"]);
    house.run(&["usage", "--from", "yesterday"]).failed(2, &["2026-11-23"]);
    house.run(&["usage", "--format", "xml"]).failed(2, &["csv"]);
    house.run(&["frobnicate"]).failed(2, &["frobnicate"]);
}

#[test]
fn settings_and_help_stand_before_or_after_the_command() {
    let house = House::new();
    house.write("mine.toml", "[store]\nurl = \"sqlite:mine/books.db\"\n");
    house.run(&["apply", "demo.toml", "--config", "mine.toml"]).good();
    assert!(house.path().join("mine/books.db").exists());
    for arguments in [
        &["--config", "mine.toml", "--json", "balance", "--org", "aurora"][..],
        &["balance", "--org", "aurora", "--json", "--config", "mine.toml"],
    ] {
        assert_eq!(house.run(arguments).good().json()["available"], "25.0000");
    }
    house.write("wrong.toml", "[store]\nurl = 7\n[api]\nlisten = \"here\"\n");
    house.run(&["--config", "wrong.toml", "audit"]).failed(1, &["wrong.toml:2", "wrong.toml:4", "2 mistakes"]);
    house.run(&["check", "--config", "wrong.toml"]).failed(1, &["2 mistakes"]);
    for command in [
        "serve", "apply", "quote", "usage", "balance", "credits", "grant", "refund", "rerate", "audit", "legs",
        "meetings", "dial", "mute", "remove", "end", "lock", "admit", "revoke", "call", "check",
    ] {
        let after = house.run(&[command, "--help"]).good().out;
        assert!(after.contains("--config") && after.contains("--json"), "{command}: {after}");
        assert!(house.run(&["--help"]).good().out.contains(command));
    }
}

// ------------------------------------------------------------------------------------------------------------ a bridge

/// Questions whose answer is the same whoever holds the books.
const QUESTIONS: &[&[&str]] = &[
    &["balance", "--org", "aurora"],
    &["balance", "--org", "borealis", "--json"],
    &["balance", "--org", "nobody"],
    &["usage"],
    &["usage", "--json", "--org", "aurora"],
    &["usage", "--format", "csv", "--from", "2020-01-01", "--to", "2030-01-01T00:00:00+01:00"],
    &["usage", "--org", "nobody"],
    &["usage", "--corrections", "--json"],
    &["usage", "--leg", "018bcfe5-687b-7000-8000-000000000007"],
    &["refund", "018bcfe5-687b-7000-8000-000000000007", "--reason", "x"],
    &["rerate", "--org", "nobody", "--from", "2020-01-01", "--to", "2030-01-01", "--reason", "x", "--dry-run"],
    &["balance", "--org", "aurora", "--at", "2040-01-01"],
    &["quote", "--organiser", "carol", "--type", "dial-out", "--to", "+390612345678", "--json", "--minutes", "100"],
    &["quote", "--organiser", "bruno", "--type", "dial-out", "--to", "+390612345678"],
    &["quote", "--organiser", "zoe", "--type", "dial-out", "--to", "+390612345678"],
    &["audit"],
    &["audit", "--json"],
    &["credits", "adjust", "--org", "aurora", "--amount", "-1000"],
    &["apply", "unknown.toml"],
    &["grant", "list", "--org", "aurora"],
    &["grant", "list", "--org", "nobody", "--all"],
    &["grant", "add", "x", "--org", "nobody", "--seconds", "1"],
    &["grant", "end", "x", "--org", "aurora", "--json"],
    &["alerts"],
    &["alerts", "--org", "nobody"],
    &["alerts", "--org", "aurora", "--test"],
];

#[test]
fn with_and_without_a_bridge_the_answers_are_the_same() {
    let house = House::new();
    house.write(
        "unknown.toml",
        "[[number]]\ne164 = \"+390611111111\"\nkind = \"toll\"\ncountry = \"IT\"\nmeeting = \"x\"\n",
    );
    house.run(&["apply", "demo.toml"]).good();
    let without: Vec<Said> = QUESTIONS.iter().map(|question| house.run(question)).collect();
    let bridge = house.serve();
    for (question, before) in QUESTIONS.iter().zip(without) {
        assert_eq!(house.run(question), before, "{question:?}");
    }
    // What changes the books goes through the bridge too, and is there when it is gone.
    house.write("more.toml", "[[organisation]]\nid = \"third\"\ncountry = \"IT\"\ncredits = \"1\"\n");
    assert!(house.run(&["apply", "more.toml"]).good().out.contains("1 opening funding booked"));
    assert_eq!(house.run(&["apply", "demo.toml", "--json"]).good().json()["rates"], Value::Null);
    let add = ["credits", "add", "--org", "third", "--amount", "2", "--key", "k"];
    assert!(house.run(&add).good().out.contains("available: 3.0000 USD"));
    bridge.stop();
    assert_eq!(house.run(&["balance", "--org", "third", "--json"]).good().json()["available"], "3.0000");
    assert!(house.run(&add).good().out.contains("not booked again"));
}

#[test]
fn commands_at_once_wait_for_each_other() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let start = |n: usize| {
        let key = format!("k{n}");
        let add = ["credits", "add", "--org", "aurora", "--amount", "1", "--key", &key];
        house.command(&add).stdout(Stdio::null()).spawn().unwrap()
    };
    let children: Vec<Child> = (0..6).map(start).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(house.run(&["balance", "--org", "aurora", "--json"]).good().json()["available"], "31.0000");
}

#[test]
fn a_second_bridge_is_refused_and_so_is_a_stranger() {
    let house = House::new();
    let bridge = house.serve();
    let token = house.path().join("data/token");
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let pid = bridge.child.id().to_string();
    let second = house.run(&["serve"]);
    assert_eq!(second.err.lines().count(), 1, "{second:?}");
    second.failed(1, &["data/tollbridge.db is held by another tollbridge", &pid]);
    // Another store, the same address.
    let mut other = House::new();
    other.api = house.api;
    let taken = other.run(&["serve"]);
    assert_eq!(taken.err.lines().count(), 1, "{taken:?}");
    taken.failed(1, &["api.listen", &house.api.to_string()]);
    // Another bridge's token, or none.
    other.write("data/token", "a guess\n");
    other.run(&["legs"]).failed(1, &["does not take the token in data/token"]);
    fs::remove_file(other.path().join("data/token")).unwrap();
    other.run(&["legs"]).failed(1, &["its token is not in data/token"]);
    // The store is held, and its bridge is looked for at another address.
    let nowhere = free_address().to_string();
    let lost = house.command(&["audit"]).env("TOLLBRIDGE__API__LISTEN", &nowhere).output().unwrap();
    let said = String::from_utf8(lost.stderr).unwrap();
    assert!(said.contains(&pid) && said.contains(&nowhere), "{said}");
    assert_eq!(lost.status.code(), Some(1));
}

#[test]
fn a_refusal_of_the_api_has_one_shape() {
    let house = House::new();
    let _bridge = house.serve();
    let token = fs::read_to_string(house.path().join("data/token")).unwrap();
    let agent = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).build().new_agent();
    let leg = "/api/v1/legs/018bcfe5-687b-7000-8000-000000000007";
    let credits = "/api/v1/organisations/aurora/credits";
    let long = format!("{{\"meeting\":\"{}\"}}", "x".repeat(70_000));
    let json = "application/json";
    for (method, path, kind, body, status, error) in [
        ("GET", "/nowhere", "", "", 404, "unknown"),
        ("GET", "/api/v1/nowhere", "", "", 404, "unknown"),
        ("GET", leg, "", "", 404, "unknown"),
        ("GET", "/api/v1/legs/%ff", "", "", 400, "bad-request"),
        ("GET", "/api/v1/legs/7", "", "", 400, "bad-request"),
        ("PUT", "/api/v1/legs", "", "", 405, "method-not-allowed"),
        ("POST", "/health/live", "", "", 405, "method-not-allowed"),
        ("GET", "/api/v1/quote", "", "", 400, "bad-request"),
        ("GET", "/api/v1/quote?organiser=anna&type=dial-out&to=%2B390612345678&minutes=0", "", "", 400, "bad-request"),
        ("GET", "/api/v1/usage?from=x", "", "", 400, "bad-request"),
        ("GET", "/api/v1/usage?organisation=aurora", "", "", 400, "bad-request"),
        ("GET", "/api/v1/organisations/nobody/balance", "", "", 404, "unknown"),
        ("POST", "/api/v1/legs", "text/plain", "{}", 415, "not-json"),
        ("POST", "/api/v1/legs", json, "{", 400, "bad-request"),
        ("POST", "/api/v1/legs", json, "{}", 422, "bad-request"),
        ("POST", "/api/v1/legs", json, &long, 413, "too-large"),
        ("POST", "/api/v1/legs", json, "{\"meeting\":\"nothing\",\"to\":\"+390612345678\"}", 409, "unknown-meeting"),
        ("POST", "/api/v1/meetings/studio/lock", json, "{\"on\":1}", 422, "bad-request"),
        ("POST", "/api/v1/apply", json, "{\"name\":\"x\",\"text\":\"y\"}", 422, "mistakes"),
        ("POST", credits, json, "{\"kind\":\"add\",\"amount\":\"1\",\"key\":\"\"}", 400, "bad-request"),
        ("POST", credits, json, "{\"kind\":\"add\",\"amount\":1,\"key\":\"x\"}", 422, "bad-request"),
        ("POST", credits, json, "{\"kind\":\"add\",\"amount\":\"1\",\"key\":\"leg:x\"}", 409, "conflict"),
        ("POST", credits, json, "{\"kind\":\"adjust\",\"amount\":\"-99\",\"key\":\"x\"}", 409, "not-available"),
    ] {
        let request = ureq::http::Request::builder().method(method).uri(format!("http://{}{path}", house.api));
        let request = request.header("Authorization", format!("Bearer {}", token.trim()));
        let request = if kind.is_empty() { request } else { request.header("Content-Type", kind) };
        let mut answer = agent.run(request.body(body.to_owned()).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        let problem: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{method} {path}: {text}"));
        assert_eq!(
            (answer.status().as_u16(), problem["error"].as_str()),
            (status, Some(error)),
            "{method} {path}: {text}"
        );
        assert!(problem["message"].as_str().is_some_and(|message| !message.is_empty()));
    }
    let mut document = agent.get(format!("http://{}/api/openapi.json", house.api)).call().unwrap();
    let document: Value = serde_json::from_str(&document.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["paths"]["/api/v1/legs/{leg}"]["delete"].is_object());
    // A whole deck is no large body for apply, and without the token nothing is told.
    assert!(house.run(&["apply", "demo.toml"]).good().out.contains("applied"));
    for path in ["/api/v1/legs", "/api/v1/audit", "/api/v1/quote"] {
        let mut answer = agent.get(format!("http://{}{path}", house.api)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!(answer.status() == 401 && text.contains("unauthorized"), "{path}: {text}");
    }
}

// --------------------------------------------------------------------------------------------------------------- calls

/// A bridge whose carrier is an exchange of this test.
struct Line {
    runtime: tokio::runtime::Runtime,
    exchange: Exchange,
    house: House,
    bridge: Bridge,
}

impl Line {
    fn new() -> Line {
        Line::at("127.0.0.1:0")
    }

    fn at(local: &str) -> Line {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        // It only takes calls here, so the trunk that it would call is nobody's.
        let local: SocketAddr = local.parse().unwrap();
        let exchange = runtime.block_on(Exchange::start(local, free_address(), 1)).unwrap();
        let house = House::with_carrier_at(exchange.local());
        house.run(&["apply", "demo.toml"]).good();
        let bridge = house.serve();
        Line { runtime, exchange, house, bridge }
    }

    fn run(&self, arguments: &[&str]) -> Said {
        self.house.run(arguments)
    }

    fn run_by(&self, token: &str, arguments: &[&str]) -> Said {
        self.house.run_by(token, arguments)
    }

    /// `dial --wait`, going on.
    fn dial(&self, more: &[&str]) -> Child {
        let dial = ["dial", "--meeting", "studio", "--to", "+390611112222", "--wait"];
        let mut command = self.house.command(&[&dial[..], more].concat());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    fn incoming(&self) -> tollbridge::cli::phone::Incoming {
        self.runtime.block_on(self.exchange.incoming(PATIENCE)).expect("the bridge calls")
    }

    fn answered(&self) -> Phone {
        let incoming = self.incoming();
        self.runtime.block_on(incoming.answer()).unwrap()
    }

    /// The one leg that runs, once it is as `state` says.
    fn leg(&self, state: &str) -> Value {
        eventually(|| {
            let legs = self.run(&["legs", "--json"]).good().json();
            legs.as_array().unwrap().iter().find(|leg| leg["state"] == state).cloned()
        })
    }
}

fn said(child: Child) -> Said {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

#[test]
fn a_dialled_phone_is_followed_until_it_answers_or_does_not() {
    /// Four that failed, one busy, one answered, one without a licence, one to a satellite.
    const CALLS: usize = 8;
    let line = Line::new();
    for (status, words) in [(486, "busy"), (603, "declined"), (480, "no answer"), (404, "not in service")] {
        let dial = line.dial(&[]);
        line.incoming().refuse(status);
        said(dial).failed(1, &["calling +390611112222", words]);
        // The demo's organisation may begin five calls a second.
        std::thread::sleep(Duration::from_millis(250));
    }
    let dial = line.dial(&["--json"]);
    line.incoming().refuse(486);
    let busy = said(dial);
    let leg = busy.json();
    assert_eq!((busy.code, &leg["state"], &leg["cause"]), (1, &"over".into(), &"busy".into()));

    let dial = line.dial(&[]);
    let phone = line.answered();
    let answered = said(dial).good();
    assert_eq!(answered.out, "answered\n");
    phone.hang_up();

    let refused = ["dial", "--wait", "--meeting", "unlicensed", "--to", "+390611112222"];
    line.run(&refused).failed(1, &["the organiser has no licence for calls by phone"]);
    line.run(&["dial", "--meeting", "nothing", "--to", "+390611112222"]).failed(1, &["no such meeting"]);
    // A satellite: dear, and so never by default.
    line.run(&["dial", "--meeting", "studio", "--to", "+881612345678"]).failed(1, &["tollbridge: "]);

    // Each call left its record, and what was not answered cost nothing. That of the phone that hung up comes a moment
    // after its BYE.
    let records = eventually(|| {
        let records = line.run(&["usage", "--json", "--org", "aurora"]).good().json();
        records.as_array().filter(|records| records.len() >= CALLS).cloned()
    });
    assert_eq!(records.len(), CALLS);
    for record in records {
        for (_, name) in tollbridge::rating::record::FIELDS {
            assert!(record.get(name).is_some(), "{name}: {record}");
        }
        let cost = if record["cause"] == "hung-up" { "0.0160" } else { "0.0000" };
        assert_eq!(record["charge"], cost, "{record}");
    }
    let table = line.run(&["usage"]).good().out;
    assert!(table.contains("+390611112222") && table.contains("busy") && table.contains(", 0.0160 USD"), "{table}");
    assert_eq!(line.run(&["audit"]).good().out, "0 differences\n");
    money_back(&line);
}

/// What the one answered call cost is given back in part, and then whole; the record shows it.
#[track_caller]
fn money_back(line: &Line) {
    let records = line.run(&["usage", "--json", "--org", "aurora"]).good().json();
    let paid = records.as_array().unwrap().iter().find(|record| record["charge"] == "0.0160").unwrap().clone();
    let leg = paid["usage_id"].as_str().unwrap();
    let before = line.run(&["balance", "--org", "aurora", "--json"]).good().json();
    line.run(&["refund", leg, "--amount", "0.01"]).failed(2, &["--reason"]);
    let part = ["refund", leg, "--amount", "0.01", "--reason", "echo", "--key", "r1"];
    assert!(line.run(&part).good().out.starts_with("0.0100 to aurora given back"));
    assert!(line.run(&part).good().out.contains("was given back before"));
    line.run(&["refund", leg, "--amount", "0.01", "--reason", "echo"]).failed(1, &["only 0.0060"]);
    assert!(line.run(&["refund", leg, "--reason", "all of it"]).good().out.starts_with("0.0060"));
    let looked = line.run(&["rerate", "--leg", leg, "--reason", "a look", "--dry-run"]).good().out;
    assert!(looked.contains("1 leg looked at, 0 with another price") && looked.contains("would be booked"), "{looked}");
    line.run(&["rerate", "--org", "aurora", "--reason", "x"]).failed(2, &["--from"]);
    let period = ["rerate", "--org", "aurora", "--from", "2020-01-01", "--to", "2040-01-01", "--reason", "x", "--json"];
    assert_eq!(line.run(&period).good().json()["changed"], 0);
    let told = line.run(&["usage", "--corrections", "--org", "aurora"]).good().out;
    assert!(told.contains("refund") && told.contains("echo") && told.contains("all of it"), "{told}");
    let told = line.run(&["usage", "--leg", leg]).good().out;
    assert!(
        told.contains("charge 0.0160 USD") && told.contains("-0.0060") && told.contains("all told 0.0000"),
        "{told}"
    );
    assert_eq!(line.run(&["usage", "--leg", leg, "--json"]).good().json()["record"], paid, "as it was written");
    let after = line.run(&["balance", "--org", "aurora", "--json"]).good().json();
    assert_ne!(after["available"], before["available"]);
    assert_eq!(after["available"], "25.0000");
    let then = line.run(&["balance", "--org", "aurora", "--at", "2020-01-01"]).good().out;
    assert!(then.contains(": 0.0000 USD"), "{then}");
    assert_eq!(line.run(&["audit"]).good().out, "0 differences\n");
}

#[test]
fn an_interrupt_cancels_a_phone_that_rings() {
    let line = Line::new();
    let dial = line.dial(&[]);
    let pid = dial.id().to_string();
    let incoming = line.incoming();
    line.leg("ringing");
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert!(line.runtime.block_on(incoming.cancelled(PATIENCE)));
    said(dial).failed(1, &["cancelled while ringing"]);
}

#[test]
fn the_verbs_of_a_running_meeting() {
    let line = Line::new();
    assert_eq!(line.run(&["legs"]).good().out, "nobody is in a call\n");
    assert_eq!(line.run(&["meetings"]).good().out, "no meeting runs\n");
    let born = line.run(&["dial", "--json", "--meeting", "studio", "--to", "+390611112222"]).good().json();
    let mut phone = line.answered();
    let leg = line.leg("meeting");
    let id = leg["id"].as_str().unwrap();
    assert_eq!((&leg["id"], &leg["meeting"], &leg["muted"]), (&born["leg"], &"studio".into(), &false.into()));
    let table = line.run(&["legs"]).good().out;
    assert!(table.contains(id) && table.contains("+390611112222") && table.ends_with("1 leg\n"), "{table}");

    let muted = || line.leg("meeting")["muted"] == true;
    line.run(&["mute", id]).good();
    assert!(muted() && line.run(&["legs"]).good().out.contains("muted"));
    assert_eq!(line.run(&["mute", id, "--off", "--json"]).good().json()["muted"], false);
    assert!(!muted());

    line.run(&["lock", "studio"]).good();
    let meetings = line.run(&["meetings", "--json"]).good().json();
    assert_eq!((&meetings[0]["id"], &meetings[0]["locked"]), (&"studio".into(), &true.into()));
    assert!(line.run(&["meetings"]).good().out.contains("locked"));
    line.run(&["lock", "studio", "--off"]).good();
    line.run(&["admit", "studio"]).good();

    line.run(&["remove", id]).good();
    assert!(line.runtime.block_on(phone.ended(PATIENCE)).is_some());
    eventually(|| line.run(&["legs", "--json"]).good().json().as_array().unwrap().is_empty().then_some(()));
    line.run(&["remove", "018bcfe5-687b-7000-8000-000000000007"]).failed(1, &["no such leg"]);

    line.run(&["dial", "--meeting", "studio", "--to", "+390611112222"]).good();
    let mut phone = line.answered();
    line.leg("meeting");
    line.run(&["end", "studio"]).good();
    assert!(line.runtime.block_on(phone.ended(PATIENCE)).is_some());
    eventually(|| line.run(&["meetings", "--json"]).good().json().as_array().unwrap().is_empty().then_some(()));
    line.run(&["end", "studio"]).failed(1, &["no such running meeting"]);
}

/// The same verbs by tokens of one organisation: its own run, another's are not there, and a reader looks on.
#[test]
fn an_organisation_is_master_of_its_own_calls() {
    let line = Line::new();
    for (name, org, role) in [("own", "aurora", "admin"), ("eyes", "aurora", "reader"), ("other", "borealis", "admin")]
    {
        let made = line.run(&["token", "add", name, "--role", role, "--org", org]).good().out;
        line.house.write(name, &made);
    }
    let none = |token: &str, what: &str| {
        let told = line.run_by(token, &[what, "--json"]).good().json();
        assert_eq!(told, Value::Array(Vec::new()), "{token} {what}");
    };
    let dial = ["dial", "--meeting", "studio", "--to", "+390611112222"];
    line.run_by("other", &dial).failed(1, &["there is no such meeting"]);
    line.run_by("eyes", &dial).failed(1, &["needs \"manage\""]);
    line.run_by("own", &dial).good();
    let mut phone = line.answered();
    let id = line.leg("meeting")["id"].as_str().unwrap().to_owned();
    for token in ["own", "eyes"] {
        let legs = line.run_by(token, &["legs", "--json"]).good().json();
        assert_eq!((&legs[0]["id"], legs.as_array().map(Vec::len)), (&Value::from(&*id), Some(1)), "{token}");
        let meetings = line.run_by(token, &["meetings", "--json", "--org", "aurora"]).good().json();
        assert_eq!(meetings[0]["id"], "studio", "{token}");
    }
    none("other", "legs");
    none("other", "meetings");
    assert_eq!(line.run(&["legs", "--org", "borealis"]).good().out, "nobody is in a call\n");
    assert!(line.run(&["legs", "--org", "aurora"]).good().out.contains(&id));

    let verbs: [(&[&str], &str); 7] = [
        (&["mute", &id], "leg"),
        (&["mute", &id, "--off"], "leg"),
        (&["lock", "studio"], "meeting"),
        (&["lock", "studio", "--off"], "meeting"),
        (&["admit", "studio"], "meeting"),
        (&["remove", &id], "leg"),
        (&["end", "studio"], "meeting"),
    ];
    for (verb, what) in verbs {
        line.run_by("other", verb).failed(1, &[&format!("there is no such {what}")]);
        line.run_by("eyes", verb).failed(1, &["needs \"manage\""]);
        line.run_by("own", &[verb, &["--org", "borealis"]].concat()).failed(1, &["there is no such page"]);
    }
    assert_eq!(line.leg("meeting")["muted"], false, "others muted it");
    line.run_by("own", verbs[0].0).good();
    assert_eq!(line.leg("meeting")["muted"], true);
    line.run_by("own", verbs[1].0).good();
    line.run_by("own", verbs[2].0).good();
    assert_eq!(line.run(&["meetings", "--json"]).good().json()[0]["locked"], true);
    line.run_by("own", verbs[3].0).good();
    line.run_by("own", verbs[4].0).good();
    line.run_by("own", verbs[5].0).good();
    assert!(line.runtime.block_on(phone.ended(PATIENCE)).is_some());
    eventually(|| line.run(&["legs", "--json"]).good().json().as_array().unwrap().is_empty().then_some(()));
    let usage = ["usage", "--leg", &id];
    // It is settled a moment after it is over.
    eventually(|| (line.run_by("own", &usage).code == 0).then_some(()));
    assert!(line.run_by("own", &usage).good().out.contains("+390611112222"));
    line.run_by("other", &usage).failed(1, &["there is no leg"]);
    line.run(&dial).good();
    let mut phone = line.answered();
    line.leg("meeting");
    line.run_by("own", verbs[6].0).good();
    assert!(line.runtime.block_on(phone.ended(PATIENCE)).is_some());
    // The call is over, and the meeting is still there to be called.
    assert!(line.run_by("own", &["meeting", "list", "--org", "aurora"]).good().out.contains("studio"));

    // Locks, by who put them.
    let lock = ["revoke", "--org", "aurora", "--lock", "--reason", "a stolen PIN"];
    line.run_by("own", &lock).good();
    line.run(&dial).failed(1, &["the organisation is locked"]);
    assert_eq!(line.run_by("own", &["unlock", "--org", "aurora"]).good().out, "aurora is open again\n");
    line.run(&[&lock[..], &["--user", "anna"]].concat()).good();
    let unlock = ["unlock", "--org", "aurora", "--user", "anna"];
    line.run_by("own", &unlock).failed(1, &["user anna was locked by whoever runs the bridge"]);
    assert_eq!(line.run(&unlock).good().out, "anna is open again\n");
    assert_eq!(line.run(&unlock).good().out, "anna was not locked\n");
    assert_eq!(line.run(&["audit"]).good().out, "0 differences\n");
}

#[test]
fn a_switch_ends_calls_and_locks_until_somebody_says_otherwise() {
    let line = Line::new();
    line.run(&["revoke", "--organisation", "aurora"]).failed(2, &["--reason"]);
    line.run(&["revoke", "--org", "nobody", "--reason", "x"]).failed(1, &["organisation nobody"]);
    line.run(&["revoke", "--org", "aurora", "--user", "carol", "--reason", "x"]).failed(1, &["user carol"]);
    line.run(&["revoke", "--org", "aurora", "--meeting", "studio", "--lock", "--reason", "x"]).failed(2, &["--lock"]);
    let dial = ["dial", "--meeting", "studio", "--to", "+390611112222"];
    line.run(&dial).good();
    let mut phone = line.answered();
    let leg = line.leg("meeting");
    let order = ["revoke", "--organisation", "aurora", "--dial-out", "--lock", "--reason", "a stolen PIN"];
    let told = line.run(&order).good().out;
    assert!(told.starts_with("1 leg ended: ") && told.ends_with("organisation aurora is locked\n"), "{told}");
    let ended = line.runtime.block_on(phone.ended(PATIENCE)).expect("a BYE");
    assert_eq!(ended.reason.unwrap().text, "the call was ended by whoever runs the bridge");
    let record = line.run(&["usage", "--json"]).good().json()[0].clone();
    assert_eq!((&record["usage_id"], &record["cause"]), (&leg["id"], &"revoked".into()));
    // Asked again, it names the leg as long as the books have not heard that its BYE was answered, and then none.
    let again = || line.run(&["revoke", "--org", "aurora", "--reason", "x", "--json"]).good().json()["legs"].clone();
    eventually(|| (again() == Value::Array(vec![])).then_some(()));
    line.run(&dial).failed(1, &["the organisation is locked"]);
    line.run(&["apply", "demo.toml"]).good();
    line.run(&dial).failed(1, &["the organisation is locked"]);
    let trail = line.run(&["trail"]).good().out;
    assert!(trail.contains("revoke") && trail.contains("a stolen PIN"), "{trail}");
    line.run(&["organisation", "set", "aurora", "locked="]).good();
    line.run(&dial).good();
    line.answered().hang_up();
    eventually(|| line.run(&["legs", "--json"]).good().json().as_array().unwrap().is_empty().then_some(()));
    assert_eq!(line.run(&["audit"]).good().out, "0 differences\n");
}

/// Whoever read enough (`| head -1`) and closed the pipe makes nothing panic, and a bridge goes on.
#[test]
fn a_closed_pipe_is_no_panic() {
    let house = House::new();
    let closed = |arguments: &[&str]| {
        let mut command = house.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        child
    };
    house.run(&["apply", "demo.toml"]).good();
    for arguments in [&["check"][..], &["check", "--json"], &["completion", "bash"], &["usage"], &["--help"]] {
        said(closed(arguments)).good();
    }
    let mut child = closed(&["serve"]);
    // Nobody hears its errors either.
    drop(child.stderr.take());
    let bridge = Bridge { child, lines: mpsc::channel().1 };
    eventually(|| (house.run(&["legs"]).code == 0).then_some(()));
    bridge.stop();
}

/// From the loopback address of the family that the bridge is on.
#[test]
fn a_test_caller_with_a_closed_pipe_still_calls() {
    for local in ["127.0.0.1:0", "[::1]:0"] {
        let line = Line::at(local);
        let bridge = line.exchange.local().to_string();
        let mut command = line.house.command(&["call", "+390687654321", "--bridge", &bridge, "--seconds", "1"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        line.incoming().refuse(486);
        said(child).failed(1, &["1 call was not answered: 1 × 486 Busy Here"]);
    }
}

// ------------------------------------------------------------------------------------------------------------- signals

/// Waits until the process catches what tells it to stop (bits of INT and TERM in its status).
fn catches_signals(pid: u32) -> Option<()> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    let caught = u64::from_str_radix(caught.trim(), 16).ok()?;
    (caught & 0x4002 == 0x4002).then_some(())
}

/// Told to stop while it starts (here: while it waits for a store that another one holds), it does not start.
#[test]
fn a_bridge_that_starts_can_be_told_to_stop() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let lock = fs::File::options().write(true).open(house.path().join("data/tollbridge.db.lock")).unwrap();
    lock.lock().unwrap();
    let mut command = house.command(&["serve"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually(|| catches_signals(child.id()));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let said = said(child).good();
    assert!(said.out.is_empty() && said.err.contains("stopped before it had started"), "{said:?}");
}

/// The first signal ends calls in good order; who sends a second will not wait for a phone that does not answer.
#[test]
fn a_second_signal_stops_at_once_and_the_next_start_closes_the_books() {
    let carrier = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    carrier.set_read_timeout(Some(PATIENCE)).unwrap();
    let house = House::with_carrier_at(carrier.local_addr().unwrap());
    house.run(&["apply", "demo.toml"]).good();
    let mut bridge = house.serve();
    house.run(&["dial", "--meeting", "studio", "--to", "+390611112222"]).good();
    let mut datagram = [0; 4_096];
    let mut hear = |word: &str| loop {
        let (length, from) = carrier.recv_from(&mut datagram).unwrap();
        let message = String::from_utf8_lossy(&datagram[..length]).into_owned();
        if message.starts_with(word) {
            return (message, from);
        }
    };
    let (invite, from) = hear("INVITE");
    let same = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let copied: String = invite
        .lines()
        .filter(|line| same.iter().any(|name| line.starts_with(name)))
        .fold(String::new(), |text, line| text + line + "\r\n");
    let trying = format!("SIP/2.0 100 Trying\r\n{copied}Content-Length: 0\r\n\r\n");
    carrier.send_to(trying.as_bytes(), from).unwrap();
    bridge.signal("-INT");
    hear("CANCEL");
    bridge.signal("-TERM");
    assert_eq!(bridge.ended(), 1);
    house.serve().stop();
    assert_eq!(house.run(&["audit"]).good().out, "0 differences\n");
    assert_eq!(house.run(&["usage", "--json"]).good().json().as_array().unwrap().len(), 1);
}

/// The program is killed in mid-call: commands see the books as they are, and the next start closes the leg.
#[test]
fn a_killed_bridge_leaves_books_that_commands_can_read() {
    let line = Line::new();
    line.run(&["dial", "--meeting", "studio", "--to", "+390611112222"]).good();
    let _phone = line.answered();
    line.leg("meeting");
    let Line { house, bridge, .. } = &line;
    bridge.signal("-KILL");
    eventually(|| (house.run(&["legs"]).code == 1).then_some(()));
    assert_eq!(house.run(&["audit"]).good().out, "0 differences\n");
    house.run(&["apply", "demo.toml"]).good();
    let held = house.run(&["balance", "--org", "aurora", "--json"]).good().json();
    assert_ne!(held["held"], "0.0000");
    let next = house.serve();
    let records = house.run(&["usage", "--json"]).good().json();
    assert_eq!(records[0]["cause"], "node-died", "{records}");
    let free = house.run(&["balance", "--org", "aurora", "--json"]).good().json();
    assert_eq!(free["held"], "0.0000");
    assert_eq!(house.run(&["audit"]).good().out, "0 differences\n");
    next.stop();
}

/// A carrier's list as it comes: its own columns, ranges, decimal commas.
const THEIRS: &str = "Code;Code Name;Rate;Setup Fee;Min;Interval\n\
    44 7400-7402;UK mobile;0,0350;0,01;30;6\n\
    39;Italy;0,0150;;60;60\n\
    33;France;0,9000;;60;60\n";

const FILLED: [&str; 9] = [
    "--decimal-comma",
    "--allow-past",
    "--fill",
    "call_type=dial-out",
    "--fill",
    "connect_fee=0",
    "--fill",
    "valid_from=2026-01-01",
    "--json",
];

#[test]
fn price_lists_are_brought_in_compared_and_written_out() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    house.write("theirs.csv", THEIRS);
    let import = |more: &[&str]| house.run(&[&["rates", "import", "theirs.csv"], &FILLED[..], more].concat());

    // Into the air first: nothing is there after it.
    let dry = import(&["--list", "gold", "--dry-run"]).good().json();
    assert_eq!(
        (&dry["rows"], &dry["applied"], dry["changes"].as_array().unwrap().len()),
        (&6.into(), &false.into(), 6)
    );
    house.run(&["rates", "export", "gold"]).failed(1, &["there is no price list gold"]);
    import(&["--list", "gold"]).good();
    let exported = house.run(&["rates", "export", "gold"]).good().out;
    assert!(exported.contains("dial-out,7401,UK mobile,0.0350,0.0100,30,6,2026-01-01,standard,USD"), "{exported}");

    // What is written out and brought in again is the same.
    house.write("again.csv", &exported);
    let again = house.run(&["rates", "import", "again.csv", "--list", "gold", "--json"]).good().json();
    assert_eq!((&again["unchanged"], again["changes"].as_array().unwrap().len()), (&6.into(), 0));
    assert_eq!(house.run(&["rates", "export", "gold"]).good().out, exported);

    // A slip is asked about; what is meant is done, also through a running bridge.
    house.write("theirs.csv", &THEIRS.replace("0,0150", "0,1500").replace("33;France;0,9000", "33;France;0,0800"));
    let slip = import(&["--list", "gold"]);
    assert_eq!(slip.json()["applied"], false);
    slip.failed(1, &["theirs.csv:3: dial-out 39 is more than 5 times as dear, 0.1500 after 0.0150", "--allow-jumps"]);
    assert_eq!(house.run(&["rates", "export", "gold"]).good().out, exported, "nothing was changed");
    let bridge = house.serve();
    let meant = import(&["--list", "gold", "--allow-jumps"]).good().json();
    let told: Vec<_> =
        meant["changes"].as_array().unwrap().iter().map(|c| format!("{} {}", c["prefix"], c["change"])).collect();
    assert_eq!(told, ["\"33\" \"cheaper\"", "\"39\" \"dearer\""]);
    let lists = house.run(&["rates", "list"]).good().out;
    assert!(lists.contains("house") && lists.contains("gold"), "{lists}");
    drop(bridge);
}

/// Carriers' lists: brought in as price lists are, told apart from them, and held against them.
#[test]
fn what_carriers_take_is_known_to_the_house_alone() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let head = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n";
    house.write(
        "cost.csv",
        &format!("{head}dial-out,39,Italy,0.0100,0,1,1,2026-01-01\ndial-out,3906,Rome,0.5,0,1,1,2026-01-01\n"),
    );
    let import = ["rates", "import", "cost.csv", "--allow-past", "--list"];
    house.run(&[&import[..], &["cost:nobody"]].concat()).failed(1, &["there is no carrier nobody"]);
    house.run(&[&import[..], &["cost:local"]].concat()).good();
    assert!(house.run(&["rates", "list"]).good().out.contains("what the carrier takes"));
    assert!(house.run(&["rates", "export", "cost:local"]).good().out.contains("dial-out,3906,Rome,0.5000"));

    let quote = ["quote", "--organiser", "anna", "--type", "dial-out", "--to", "+390299999999"];
    assert!(!house.run(&quote).good().out.contains("costs"));
    let quoted = house.run(&[&quote[..], &["--costs"]].concat()).good().out;
    assert!(quoted.contains("by local") && quoted.contains("costs 0.1000 USD (+39), earns"), "{quoted}");

    let margin = |more: &[&str]| house.run(&[&["rates", "margin"], more].concat());
    let all = margin(&["--json"]).good().json();
    let worst = &all["destinations"][0];
    assert_eq!(
        (&worst["prefix"], &worst["carrier"], &worst["cost"]),
        (&"3906".into(), &"local".into(), &"5.0000".into())
    );
    assert!(worst["earned"].as_str().unwrap().starts_with('-'), "{worst}");
    let losses = margin(&["--below", "0", "--organisation", "aurora"]).good().out;
    assert!(losses.contains("+3906") && losses.contains("2 at a loss, 0 of unknown cost"), "{losses}");
    assert_eq!(losses.lines().count(), 4, "{losses}");
    margin(&["--list", "silver"]).failed(1, &["there is no price list silver"]);
    margin(&["--below", "x"]).failed(2, &["expected a percentage"]);
    let bridge = house.serve();
    assert_eq!(margin(&["--json"]).good().json()["destinations"][0], *worst);
    let there = house.run(&[&quote[..], &["--costs"]].concat()).good().out;
    assert!(there.contains("costs 0.1000 USD (+39)"), "{there}");
    drop(bridge);
}

#[test]
fn what_must_be_meant_is_asked_with_its_line_and_all_at_once() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let head = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,currency\n";
    house.write(
        "new.csv",
        &format!(
            "{head}dial-out,39,Italy,9,0,60,60,2099-01-01,USD\ndial-out,\"999,44\",UK,0.01,0,60,60,2026-01-01,USD\n"
        ),
    );
    let refused = house.run(&["rates", "import", "new.csv"]);
    assert!(refused.out.contains("would be"), "{}", refused.out);
    refused.failed(
        1,
        &[
            "new.csv:2: dial-out 39 is more than 5 times as dear",
            "new.csv:3: dial-out 44 begins in the past, 2026-01-01",
            "new.csv:3: dial-out 999: no country and no service has such numbers",
            "nothing was applied",
        ],
    );
    let meant = ["rates", "import", "new.csv", "--allow-jumps", "--allow-past"];
    house.run(&meant).failed(1, &["new.csv:3: dial-out 999"]);
    house.write("new.csv", &format!("{head}dial-out,39,Italy,9,0,60,60,2099-01-01,USX\n"));
    house.run(&meant).failed(1, &["there is no USX"]);
    house.write("new.csv", &format!("{head}dial-out,39,Italy,9,0,60,60,2099-01-01,USD\n"));
    assert!(house.run(&meant).good().out.contains("price list house is 1 rate in USD"));
}

#[test]
fn an_organisation_with_its_own_list_is_quoted_by_it() {
    let house = House::new();
    house.write(
        "gold.csv",
        "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,bands,zone\n\
        dial-out,39,Italy,0.0100,0,60,60,2020-01-01,daily 00:00-24:00 0.0200,Europe/Rome\n",
    );
    let list = "\n[[price_list]]\nname = \"gold\"\nrates = \"gold.csv\"\n";
    let of_aurora = DEMO.replacen("id = \"aurora\"\n", "id = \"aurora\"\nprice_lists = [\"gold\"]\n", 1);
    assert_ne!(of_aurora, DEMO);
    house.write("demo.toml", &(of_aurora + list));
    house.run(&["apply", "demo.toml"]).good();
    let quoted = house.run(&["quote", "--organiser", "anna", "--type", "dial-out", "--to", "+390699999999"]).good().out;
    assert!(quoted.contains("daily 00:00-24:00 Europe/Rome") && quoted.contains("0.2000 USD"), "{quoted}");
}

#[test]
fn a_price_list_with_mistakes_changes_nothing() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let before = house.run(&["rates", "export"]).good().out;
    house.write("bad.csv", "Code;Rate;Destination\n39;0.01;Italy\n4.42E+11;0.01;UK\n41;-1;Switzerland\n");
    house.run(&["rates", "import", "bad.csv"]).failed(1, &["no column \"call_type\""]);
    let fill = ["--fill", "call_type=dial-out", "--fill", "connect_fee=0", "--fill", "valid_from=2026-01-01"];
    let fill = [&fill[..], &["--fill", "initial_s=60", "--fill", "next_s=60"]].concat();
    let said = house.run(&[&["rates", "import", "bad.csv"], &fill[..]].concat());
    said.failed(1, &["bad.csv:3: prefix", "spreadsheet", "bad.csv:4: rate"]);
    house.run(&["rates", "import", "bad.csv", "--fill", "colour=red"]).failed(2, &["there is no column colour"]);
    house.run(&["rates", "import", "none.csv"]).failed(1, &["none.csv"]);
    assert_eq!(house.run(&["rates", "export"]).good().out, before);
}

/// Reports, a statement, a carrier's file and a person, with and without a bridge.
#[test]
fn books_are_told_compared_and_cleared_of_people() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    house.write("cut.csv", "call_id,start,duration\nx,2026-11-01T10:00:00Z,61");
    house.write("theirs.csv", "call_id,start,duration\nx,2026-11-01T10:00:00Z,61\n");
    let ask = || {
        let days = house.run(&["report", "balance", "--org", "aurora", "--by", "day", "--json"]).good().json();
        assert_eq!(days["rows"][0]["closing"], "25.0000", "{days}");
        assert!(
            house
                .run(&["report", "usage", "--by", "day,organiser", "--format", "csv"])
                .good()
                .out
                .starts_with("day,organiser,legs,")
        );
        assert_eq!(house.run(&["report", "pool", "--json"]).good().json()["rows"][1]["total_minutes"], 120);
        house.run(&["report", "usage", "--by", "week"]).failed(1, &["expected day, organisation"]);
        let page = house.run(&["statement", "--org", "aurora", "--month", "2026-11"]).good().out;
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        house.run(&["statement", "--org", "aurora", "--month", "november"]).failed(1, &["like 2026-11"]);
        house
            .run(&["reconcile", "cut.csv", "--carrier", "local"])
            .failed(1, &["cut.csv:2: the file ends in the middle"]);
        let told = house.run(&["reconcile", "theirs.csv", "--carrier", "local", "--json"]);
        assert_eq!((told.code, &told.json()["counts"]["only_theirs"]), (1, &Value::from(1)), "{told:?}");
        assert_eq!(house.run(&["forget", "--number", "+393331234567", "--json"]).good().json()["dry_run"], true);
        house.run(&["forget", "--user", "nobody"]).failed(1, &["nobody"]);
        house.run(&["forget"]).failed(2, &["--number"]);
        assert_eq!(house.run(&["retention", "run", "--dry-run", "--json"]).good().json()["records"], 0);
    };
    ask();
    let bridge = house.serve();
    ask();
    let again = house.run(&["reconcile", "theirs.csv", "--carrier", "local"]);
    assert!(again.out.contains("was brought in before"), "{again:?}");
    assert!(house.run(&["forget", "--user", "anna", "--yes"]).good().out.contains("forgotten-"));
    house.run(&["audit"]).good();
    drop(bridge);
}

/// A list comes in (or, with every bad row named, does not), is looked into and changed, with a bridge and without; a number
/// of it is not called.
#[test]
fn numbers_known_from_fraud_are_brought_in_looked_at_and_changed() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    house.write("bad.csv", "number;note\n+371 2345 6;a\n371;b\nabc;c\n");
    house.run(&["hot-list", "import", "bad.csv"]).failed(1, &["bad.csv:3: ", "bad.csv:4: ", "2 mistakes"]);
    assert_eq!(house.run(&["hot-list", "show", "--json"]).good().json()["lists"], Value::Array(Vec::new()));
    house.write("hot.csv", "number;note\n+39 06 5551234;test number\n+371 2345 6;\n");
    let import = |more: &[&str]| house.run(&[&["hot-list", "import", "hot.csv"], more].concat()).good();
    assert!(import(&["--dry-run"]).out.contains("would have 2 numbers: 2 new"));
    assert!(import(&[]).out.contains("hot list imported has 2 numbers: 2 new, 0 removed"));
    let bridge = house.serve();
    assert_eq!(import(&["--json"]).json()["unchanged"], 2);
    house.run(&["hot-list", "add", "+44 7700 9001", "--note", "by hand"]).good();
    house.run(&["hot-list", "add", "44"]).failed(2, &["4 to 15"]);
    let hash = format!("sha256:pep/per+=:{}", "0a".repeat(32));
    house.run(&["hot-list", "add", &hash, "--note", "shared"]).good();
    let shown = house.run(&["hot-list", "show", "--list", "own"]).good().out;
    assert!(shown.contains(&hash) && shown.contains("shared"), "{shown}");
    assert!(house.run(&["hot-list", "remove", &hash]).good().out.contains("1 removed"));
    house.run(&["hot-list", "add", &hash[..60]]).failed(2, &["64 hexadecimal digits"]);
    let met = house.run(&["hot-list", "show", "--number", "+447700900123"]).good().out;
    assert!(met.contains("447700900") && met.contains("own") && met.contains("by hand"), "{met}");
    house.run(&["hot-list", "remove", "447700900"]).failed(1, &["447700900 in hot list own"]);
    let quote = ["quote", "--organiser", "anna", "--type", "dial-out", "--to", "+39065551234"];
    house.run(&quote).failed(1, &["known from fraud"]);
    let dial = house.run(&["dial", "--meeting", "studio", "--to", "+39065551234"]);
    dial.failed(1, &["known from fraud"]);
    let shown = house.run(&["hot-list", "show"]).good().out;
    assert!(shown.contains("imported") && shown.contains("aurora") && shown.contains("+390655"), "{shown}");
    house.run(&["hot-list", "lift", "--org", "aurora"]).failed(2, &["--reason"]);
    let lifted = house.run(&["hot-list", "lift", "--org", "aurora", "--reason", "a slip"]).good().out;
    assert!(lifted.contains("1 destination open again for aurora"), "{lifted}");
    drop(bridge);
    let trail = house.run(&["trail"]).good().out;
    assert!(["import", "add", "block", "lift"].iter().all(|verb| trail.contains(verb)), "{trail}");
}

/// A raise waits, is shown, and holds at once where somebody says that it is meant.
#[test]
fn a_raised_limit_waits_until_it_is_confirmed() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let set =
        |amount: &str| house.run(&["organisation", "set", "aurora", &format!("limits.max_spend_per_leg={amount}")]);
    let lowered = set("0.50").good().out;
    assert!(!lowered.contains("raised limit"), "{lowered}");
    let raised = set("0.90").good().out;
    assert!(raised.contains("max_spend_per_leg") && raised.contains("0.5000") && raised.contains("0.9000"), "{raised}");
    let shown = house.run(&["organisation", "show", "aurora", "--json"]).good().json();
    assert_eq!(shown["pending_limits"][0]["limit"], "max_spend_per_leg");
    assert_eq!(house.run(&["limits", "show", "--org", "aurora", "--json"]).good().json(), shown["pending_limits"]);
    house.run(&["limits", "confirm", "--org", "aurora"]).failed(2, &["--reason"]);
    let confirm = ["limits", "confirm", "--org", "aurora", "--reason", "agreed by telephone"];
    house.run(&[&confirm[..], &["--limit", "max_spend_first_day"]].concat()).failed(1, &["no raise"]);
    assert!(house.run(&confirm).good().out.contains("1 limit of aurora raised at once"));
    assert_eq!(house.run(&["limits", "show", "--org", "aurora"]).good().out, "");
    assert!(house.run(&["trail"]).good().out.contains("confirm"));
    // Named one table too high, it is told where it belongs.
    let hint = "did you mean \"limits.max_spend_per_day\"?";
    house
        .run(&["organisation", "set", "aurora", "max_spend_per_day=5.00"])
        .failed(1, &["max_spend_per_day: unknown key", hint]);

    // A carrier's likewise, with a bridge.
    let bridge = house.serve();
    let raised = house.run(&["carrier", "set", "local", "max_spend_per_day=900.00"]).good().out;
    assert!(raised.contains("100.0000") && raised.contains("900.0000"), "{raised}");
    let shown = house.run(&["carrier", "show", "local", "--json"]).good().json();
    assert_eq!(house.run(&["limits", "show", "--carrier", "local", "--json"]).good().json(), shown["pending_limits"]);
    assert_eq!(shown["pending_limits"][0]["now"], "100.0000");
    house.run(&["limits", "show"]).failed(2, &["--org", "--carrier"]);
    house.run(&["limits", "show", "--carrier", "nobody"]).failed(1, &["carrier"]);
    let confirm = ["limits", "confirm", "--carrier", "local", "--reason", "agreed"];
    assert!(house.run(&confirm).good().out.contains("1 limit of local raised at once"));
    assert_eq!(house.run(&["limits", "show", "--carrier", "local"]).good().out, "");
    drop(bridge);
}

/// What a file would change, by itself and with a bridge: the same, and nothing has.
#[test]
fn a_dry_run_tells_what_a_file_would_change() {
    let house = House::new();
    house.run(&["apply", "demo.toml"]).good();
    let file = DEMO.replace("max_spend_per_leg = \"10.00\"", "max_spend_per_leg = \"90.00\"").replacen(
        "id = \"local\"",
        "id = \"other\"",
        1,
    );
    house.write("next.toml", &file.replace("sources = [\"127.0.0.1\"]", "sources = [\"192.0.2.9\"]"));
    let rows = house.run(&["trail", "--json"]).good().json();
    let ask = || {
        let told = house.run(&["apply", "next.toml", "--dry-run"]).good().out;
        for words in
            ["carrier other", "new", "limits.max_spend_per_leg", "10.0000", "90.0000", "would stay", "nothing was"]
        {
            assert!(told.contains(words), "\"{words}\" is missing: {told}");
        }
        let same = house.run(&["apply", "demo.toml", "--dry-run"]).good().out;
        assert!(same.starts_with("nothing would change\n"), "{same}");
        let mut told = house.run(&["--json", "apply", "next.toml", "--dry-run"]).good().json();
        // A day after it was asked.
        assert!(told["would_change"]["pending"][0]["at"].take().is_string(), "{told}");
        told
    };
    let first = ask();
    assert_eq!(first["would_change"]["pending"][0]["limit"], "max_spend_per_leg", "{first}");
    let bridge = house.serve();
    assert_eq!(ask(), first);
    house.write("wrong.toml", &file.replace("country = \"IT\"", "country = \"Italy\""));
    house.run(&["apply", "wrong.toml", "--dry-run"]).failed(1, &["wrong.toml:", "country"]);
    drop(bridge);
    assert_eq!(house.run(&["trail", "--json"]).good().json(), rows, "it is no change, and not told");
    assert_eq!(house.run(&["carrier", "list", "--json"]).good().json().as_array().unwrap().len(), 1);
}

/// Asked what would be, nothing is made: no store, no folder, no key; and none is brought up to date.
#[test]
fn a_dry_run_without_a_store_makes_none() {
    let house = House::new();
    house.write("hot.csv", "number;note\n+39 06 5551234;test number\n");
    house.write("theirs.csv", THEIRS);
    let rates = [&["rates", "import", "theirs.csv"][..], &FILLED[..8], &["--list", "gold", "--dry-run"]].concat();
    for order in [&["apply", "demo.toml", "--dry-run"][..], &["hot-list", "import", "hot.csv", "--dry-run"], &rates] {
        let told = house.run(order).good().out;
        assert!(
            told.starts_with("there is no store data/tollbridge.db: it would be made") && told.contains("would"),
            "{told}"
        );
        let told = house.run(&[order, &["--json"]].concat()).good().json();
        assert_eq!(told["schema"]["found"], 0, "{told}");
        assert!(!house.path().join("data").exists(), "{order:?}");
    }
    // Of what is in no books there is nothing to tell.
    house.write("cdr.csv", "call_id,start,duration\nx,2026-11-01T10:00:00Z,61\n");
    let years = ["--from", "2020-01-01", "--to", "2030-01-01", "--reason", "a look", "--dry-run"];
    let rerate = [&["rerate", "--org", "aurora"], &years[..]].concat();
    let looks = [
        (&["reconcile", "cdr.csv", "--carrier", "local", "--dry-run"][..], 1),
        (&["forget", "--user", "anna"], 0),
        (&["retention", "run", "--dry-run"], 0),
        (&rerate, 0),
    ];
    for (order, _) in looks {
        house.run(order).failed(1, &["there is no store data/tollbridge.db"]);
        assert!(!house.path().join("data").exists(), "{order:?}");
    }
    // A store of this program is told nothing of, and no byte of it changes.
    house.run(&["apply", "demo.toml"]).good();
    let files = || -> std::collections::BTreeMap<_, _> {
        let files = fs::read_dir(house.path().join("data")).unwrap().map(|file| file.unwrap().path());
        files.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    };
    let before = files();
    for order in [&["apply", "demo.toml", "--dry-run"][..], &["hot-list", "import", "hot.csv", "--dry-run"], &rates] {
        let told = house.run(order).good().out;
        assert!(!told.contains("schema") && !told.contains("there is no store"), "{told}");
        assert_eq!(files(), before, "{order:?}");
    }
    for (order, code) in looks {
        let told = house.run(order);
        assert_eq!(told.code, code, "{told:?}");
        assert!(!told.out.contains("schema") && !told.out.is_empty(), "{told:?}");
        assert_eq!(files(), before, "{order:?}");
    }
}

/// A copy says which key its PINs need, and whoever reads it without that is told what to do.
#[test]
fn a_copy_is_made_and_read_back() {
    let house = House::new();
    house.run(&["backup", "books.copy"]).failed(1, &["there is no store"]);
    house.run(&["apply", "demo.toml"]).good();
    let bridge = house.serve();
    let made = house.run(&["backup", "books.copy"]).good().out;
    assert!(
        made.contains("in books.copy") && made.contains("SHA-256") && made.contains("which is not in it"),
        "{made}"
    );
    let told = house.run(&["backup", "again.copy", "--json"]).good().json();
    let key = told["pin_key"]["file"].as_str().unwrap().to_owned();
    assert_eq!(told["pin_key"]["fingerprint"].as_str().unwrap().len(), 16, "{told}");
    assert!(made.contains(&key), "{made}");
    house.run(&["restore", "books.copy"]).failed(1, &[]);
    drop(bridge);
    let mode = fs::metadata(house.path().join("books.copy")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    house.run(&["restore", "books.copy"]).failed(1, &["empty"]);

    let other = House::new();
    other.write("books.copy", &fs::read_to_string(house.path().join("books.copy")).unwrap());
    other.run(&["restore", "books.copy"]).failed(1, &["another key than", "--without-pins"]);
    other.run(&["restore", "nothing.copy"]).failed(1, &["nothing.copy"]);
    let place = other.path().join(&key);
    fs::write(&place, fs::read(house.path().join(&key)).unwrap()).unwrap();
    let read = other.run(&["restore", "books.copy"]).good().out;
    assert!(read.contains("the audit found 0 differences") && !read.contains("without a PIN"), "{read}");
    other.run(&["backup", "back.copy"]).good();
    assert_eq!(fs::read(other.path().join("back.copy")).unwrap(), fs::read(house.path().join("books.copy")).unwrap());

    let lost = House::new();
    lost.write("books.copy", &fs::read_to_string(house.path().join("books.copy")).unwrap());
    let read = lost.run(&["restore", "books.copy", "--without-pins"]).good().out;
    assert!(read.contains("without a PIN now"), "{read}");
    let made = lost.run(&["backup", "none.copy"]).good().out;
    assert!(made.contains("there is no PIN in it: no key has to be kept"), "{made}");
}
