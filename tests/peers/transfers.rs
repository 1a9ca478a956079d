//! sipp is the carrier whose telephone has somebody rung, and that is asked to take its caller elsewhere.

use crate::sipp::Sipp;
use crate::world::{CARRIER, TOLL, World, apply};
use crate::{CREDITS, MACHINE, bridge_with, caller};
use std::net::IpAddr;
use std::process::Command;
use std::time::Duration;
use tollbridge::meeting::Role;
use tollbridge::rating::{CallType, UsageRecord};
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::Cause;

const CALLED: &str = "+390699999999";
const SOON: Duration = Duration::from_secs(10);

/// The bridge, where the carrier may transfer.
async fn allowed() -> World {
    let world = bridge_with(|settings| settings.meeting.keypad_calls = true).await;
    let (source, route) = (IpAddr::from(CARRIER), world.carrier.local());
    // By another code than the usual one it is known that this is in force.
    let told = "[carrier.failure_map]\nunknown-number = \"410\"\n";
    let line = format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\nroute = \"udp:{route}\"\n");
    apply(world.node.store(), &format!("{line}transfers = true\n{told}")).await;
    let heard = || async { world.carrier.call(TOLL, "+390600000009").await.err().map(|e| e.status) == Some(410) };
    world.until(heard).await;
    world
}

/// What each second begun costs, and what has to be paid besides.
fn is_charged(record: &UsageRecord, a_second: i64, besides: i64) {
    let seconds = record.duration_ms.div_ceil(1_000) as i64;
    assert!(seconds > 0, "{record:?}");
    assert_eq!(record.charge.0, besides + seconds * a_second, "{record:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_has_a_phone_rung_and_is_told_how_that_goes() {
    let _turn = MACHINE.read().await;
    let world = allowed().await;
    let sipp = Sipp { pause_ms: 1_500, ..caller(&world, "refer") }.start();
    world.inside("open", 1).await;
    let leg = world.legs().await[0].id.parse().unwrap();
    let told = world.ask(Ask::Promote { leg, role: Role::Organiser }).await;
    assert!(matches!(told, Told::Done), "{told:?}");
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    assert_eq!(incoming.invitation.request_user, CALLED);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let called = incoming.answer().await.unwrap();
    sipp.all_well().await;
    called.hang_up();
    let records = world.records().await;
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!(record.beyond.cause, Cause::HungUp);
        match record.call_type {
            CallType::DialOut => is_charged(record, 30_000, 50_000),
            _ => is_charged(record, 10_000, 0),
        }
    }
    let charged: i64 = records.iter().map(|record| record.charge.0).sum();
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS - charged, 0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_its_caller_elsewhere() {
    let _turn = MACHINE.read().await;
    let world = allowed().await;
    let sipp = Sipp { pause_ms: 500, ..caller(&world, "sent") }.start();
    world.inside("open", 1).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollbridge"));
    command
        .args(["transfer", &world.legs().await[0].id, CALLED])
        .current_dir(world.folder.path())
        .env("TOLLBRIDGE__API__LISTEN", world.node.api().to_string())
        .env("TOLLBRIDGE__API__TOKEN_FILE", std::fs::canonicalize(world.node.token_file()).unwrap());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    sipp.all_well().await;
    let records = world.records().await;
    assert_eq!((records.len(), records[0].beyond.cause), (1, Cause::Transferred), "nothing but its own call");
    is_charged(&records[0], 10_000, 0);
    world.end().await;
}
