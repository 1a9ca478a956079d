//! The disk is full: nobody is let in whom the books do not know, who has paid talks on, and when there is room again all
//! goes on as before.

use crate::bridge::{Bridge, call, free};
use crate::world::{CARRIER, DIRECT, PEOPLE, apply};
use std::io::Write;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tollbridge::cli::phone::Exchange;
use tollbridge::store::{Options, Store, UsageFilter};
use tollbridge::types::{Cause, Micros};

/// Bytes of the disk: the books of a few calls, and little more.
const DISK: &str = "6m";

/// A disk of its own in memory: `mount` wants a namespace in which it may, and there is one without being root where the
/// kernel lets people have one.
fn on_a_small_disk(folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o size={DISK} none \"$1\" && cp -a \"$2\"/. \"$1\" && exec \"$3\" serve");
    command.args(["--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command.arg(folder.join("disk")).arg(folder.join("books")).arg(env!("CARGO_BIN_EXE_tollbridge"));
    command
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

/// Writes zeroes until there is no room.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    let some = [0; 512];
    while file.write_all(&some).is_ok() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_lets_nobody_in_and_ends_nobody_who_has_paid() {
    let folder = tempfile::tempdir().unwrap();
    let [books, disk] = ["books", "disk"].map(|name| folder.path().join(name));
    std::fs::create_dir(&disk).unwrap();
    let store = open(&books).await;
    apply(&store, PEOPLE).await;
    let source = IpAddr::from(CARRIER);
    apply(&store, &format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\n")).await;
    drop(store);
    // The file is whole when its lock is free.
    drop(open(&books).await);
    drop(open(&books).await);

    let sip = free();
    let url = format!("sqlite:{}", disk.join("books.db").display());
    let mut bridge = Bridge::run(on_a_small_disk(folder.path()), &url, folder.path(), sip);
    let carrier = Exchange::start((CARRIER, 0).into(), sip, 21).await.unwrap();
    let started = tokio::time::timeout(Duration::from_secs(15), call(&carrier, "+390611111111")).await;
    let mut talking = match started {
        Ok(phone) => phone,
        Err(_) => {
            panic!("no bridge on a small disk; unshare and mount are needed: {:?}", bridge.ended(Duration::ZERO).await)
        }
    };
    // The disk as its process sees it.
    let seen = Path::new("/proc").join(bridge.id().to_string()).join("root").join(disk.strip_prefix("/").unwrap());
    let filler = seen.join("filler");
    fill(&filler);
    let mut refused = 0;
    for n in 0..40 {
        match carrier.call(&format!("+3907{n:08}"), DIRECT).await {
            // What room was left in the books' own pages was used first.
            Ok(phone) => {
                assert_eq!(refused, 0, "once it is full it is full");
                phone.hang_up();
            }
            Err(ended) => {
                assert_eq!(ended.status, Cause::StoreDown.sip(), "{ended}");
                refused += 1;
            }
        }
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5, "a disk of {DISK} takes so many calls");
    assert!(talking.ended(Duration::from_secs(1)).await.is_none(), "who has paid talks on");
    std::fs::remove_file(&filler).unwrap();
    let late = tokio::time::timeout(Duration::from_secs(10), call(&carrier, "+390622222222")).await;
    late.expect("there is room, and calls are taken again").hang_up();
    talking.hang_up();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    // Its disk goes with it: the books are taken out before.
    let kept = folder.path().join("kept");
    std::fs::create_dir(&kept).unwrap();
    bridge.signal("-STOP");
    for file in std::fs::read_dir(&seen).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), kept.join(file.file_name())).unwrap();
    }
    bridge.kill();
    let store = open(&kept).await;
    store.recover(tollbridge::clock::wall()).await.unwrap();
    assert_eq!(store.audit().await.unwrap(), []);
    let records = store.usage(&UsageFilter::default()).await.unwrap();
    let of =
        |number: &str| records.iter().filter(|r| r.caller.as_ref().is_some_and(|c| c.to_string() == number)).count();
    assert_eq!((of("+390611111111"), of("+390622222222")), (1, 1));
    assert!(records.iter().all(|record| record.charge >= Micros::ZERO && record.beyond.cause == Cause::HungUp));
}
