//! The process dies in mid-call: the next one settles each leg at its last proof of life, and ends every dialog.

use crate::world::{CARRIER, DIRECT, PEOPLE, apply, tone};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::store::{Options, Store};
use tollbridge::types::Cause;

struct Bridge(Child);

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may be dead already: that is what the test is about.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Bridge {
    fn start(folder: &Path, sip: SocketAddr) -> Bridge {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollbridge"));
        command
            .current_dir(folder)
            .env("TOLLBRIDGE__SIP__LISTEN", format!("[\"udp:{sip}\"]"))
            .env("TOLLBRIDGE__API__LISTEN", "127.0.0.1:0")
            .env("TOLLBRIDGE__STORE__URL", format!("sqlite:{}", folder.join("books.db").display()))
            .env("TOLLBRIDGE__MEDIA__PORTS", "20000-29999")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Bridge(command.spawn().unwrap())
    }

    /// No warning, no last word.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn open(folder: &Path) -> Store {
    let url = format!("sqlite:{}", folder.join("books.db").display());
    for _ in 0..250 {
        if let Ok(store) = Store::open(&url, Options::default()).await {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the store stays locked");
}

async fn call(carrier: &Exchange) -> Phone {
    for _ in 0..250 {
        if let Ok(phone) = carrier.call("+390611111111", DIRECT).await {
            return phone;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the bridge does not take calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_mid_call_each_leg_is_settled_once_and_hung_up() {
    let folder = tempfile::tempdir().unwrap();
    // A port that was free a moment ago; the restarted bridge must have the same.
    let sip = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let store = open(folder.path()).await;
    apply(&store, PEOPLE).await;
    let source = IpAddr::from(CARRIER);
    apply(&store, &format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\n")).await;
    drop(store);

    let bridge = Bridge::start(folder.path(), sip);
    let carrier = Exchange::start((CARRIER, 0).into(), sip, 11).await.unwrap();
    let mut phones = Vec::new();
    for _ in 0..5 {
        let phone = call(&carrier).await;
        phone.say(tone(500));
        phones.push((std::time::Instant::now(), phone));
    }
    tokio::time::sleep(Duration::from_millis(3_400)).await;
    let longest = phones[0].0.elapsed();
    bridge.kill();

    let bridge = Bridge::start(folder.path(), sip);
    for (_, phone) in &mut phones {
        let ended = phone.ended(Duration::from_secs(10)).await.expect("BYE from the next life");
        assert_eq!(ended.reason.unwrap().text, Cause::NodeDied.words());
    }
    // A call comes in as if nothing had happened.
    call(&carrier).await.hang_up();
    tokio::time::sleep(Duration::from_millis(500)).await;
    bridge.kill();

    let store = open(folder.path()).await;
    store.recover(tollbridge::clock::wall()).await.unwrap();
    let records = store.usage(&Default::default()).await.unwrap();
    let dead: Vec<_> = records.iter().filter(|record| record.beyond.cause == Cause::NodeDied).collect();
    assert!(dead.len() >= 5, "{records:#?}");
    for record in dead.iter().take(5) {
        // At most a second short of the truth (and the time that it took to write the proof), never beyond it.
        let talked = Duration::from_millis(record.duration_ms);
        assert!(talked <= longest, "{talked:?} of {longest:?}");
        assert!(talked + Duration::from_millis(2_000) >= Duration::from_millis(3_400), "{talked:?} of {longest:?}");
    }
    assert_eq!(store.audit().await.unwrap(), []);
    assert_eq!(store.live_legs().await.unwrap(), []);
}
