//! sipp calls in.

use crate::sipp::Sipp;
use crate::world::{DIRECT, TOLL, TOLL_FREE, hears, keypad};
use crate::{CREDITS, MACHINE, MICROS, bridge, bridge_with, caller, charged_once};
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::f64::consts::TAU;
use std::net::{IpAddr, Ipv6Addr};
use tollbridge::api::report::CarrierFile;
use tollbridge::clock::Wall;
use tollbridge::config::Listen;
use tollbridge::media::Codec;
use tollbridge::rating::CallType;
use tollbridge::rating::record::{EndedBy, utc};
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::Cause;

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_answered_and_charged_once() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let outcome = Sipp { calls: 50, calls_per_second: 20, pause_ms: 1_200, ..caller(&world, "call") }.start();
    assert_eq!(outcome.all_well().await.succeeded, 50);
    let records = charged_once(&world, 50).await;
    // sipp counts its pause in its own milliseconds, and wakes a few of them early or late.
    let (least, by) = (1_150, EndedBy::FarSide);
    assert!(records.iter().all(|record| record.duration_ms >= least && record.beyond.ended_by == by), "{records:#?}");
    world.end().await;
}

/// The far side's own records, by its own clock, against ours: nothing is missing on either side, and no length is off by a
/// second. One call that they have and we have not, and one that they say was longer, are found.
#[tokio::test(flavor = "multi_thread")]
async fn their_records_are_ours() {
    const CALLS: usize = 100;
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp { calls: CALLS as u32, calls_per_second: 50, pause_ms: 1_500, ..caller(&world, "recorded") };
    let outcome = sipp.start().all_well().await;
    charged_once(&world, CALLS).await;
    let rows: Vec<String> = outcome
        .notes
        .iter()
        .map(|note| {
            let cells: Vec<&str> = note.split(',').collect();
            let [call_id, from, moments @ ..] = cells.as_slice() else { panic!("{note}") };
            let micros: Vec<i64> = moments.iter().map(|text| text.parse::<f64>().unwrap() as i64).collect();
            let &[began_s, began_us, ended_s, ended_us] = micros.as_slice() else { panic!("{note}") };
            let began = began_s * MICROS + began_us;
            let talked_ms = (ended_s * MICROS + ended_us - began) / 1_000;
            format!("{call_id},{from},{DIRECT},{},{talked_ms}", utc(Wall::from_micros(began)))
        })
        .collect();
    assert_eq!(rows.len(), CALLS);
    let compared = async |rows: &[String]| {
        let text = format!("call_id,from,to,answer,duration\n{}\n", rows.join("\n"));
        let unit = Some("millisecond".to_owned());
        let file = CarrierFile { name: "sipp.csv".to_owned(), text, unit, dry_run: true, ..CarrierFile::default() };
        world.post("/carriers/line/reconcile", &file).await
    };
    let told = compared(&rows).await;
    assert_eq!((told["matched"].as_u64(), told["ours"].as_u64()), (Some(CALLS as u64), Some(CALLS as u64)), "{told}");
    assert_eq!(told["differences"].as_array().map(Vec::len), Some(0), "{told}");
    let mut wrong = rows.clone();
    wrong[7] = wrong[7].rsplit_once(',').map(|(rest, _)| format!("{rest},9000")).unwrap();
    wrong.push(rows[8].replacen(rows[8].split(',').next().unwrap(), "nobody@nowhere", 1).replace("+3906", "+3902"));
    let told = compared(&wrong).await;
    assert_eq!(told["differences"].as_array().map(Vec::len), Some(2), "{told}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_over_tcp_share_one_connection() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let calls_to = world.node.sip(Transport::Tcp);
    let sipp = Sipp { calls_to, tcp: true, calls: 20, calls_per_second: 20, ..caller(&world, "call") }.start();
    assert_eq!(sipp.all_well().await.succeeded, 20);
    charged_once(&world, 20).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_ipv6() {
    let _turn = MACHINE.read().await;
    let here = IpAddr::V6(Ipv6Addr::LOCALHOST);
    let world = bridge_with(|settings| {
        let address = (here, 0).into();
        settings.sip.listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen { transport, address }).to_vec();
        settings.media.bind = here.into();
    })
    .await;
    for (transport, tcp) in [(Transport::Udp, false), (Transport::Tcp, true)] {
        let calls_to = world.node.sip(transport);
        let sipp = Sipp { calls_to, tcp, local: (here, 0).into(), pause_ms: 300, ..caller(&world, "call") };
        assert_eq!(sipp.start().all_well().await.succeeded, 1, "{transport:?}");
    }
    charged_once(&world, 2).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_says_is_heard() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let listener = world.call("+390611111111", DIRECT).await;
    let mut voice = vec![0; 8_000];
    let wave = |hz: f64, n: u32| 6_000.0 * (TAU * hz * f64::from(n) / 8_000.0).sin();
    // The second is a fax's that calls (CNG, ITU-T T.30): sound as any other.
    let tones: Vec<i16> = (0..8_000).map(|n| (wave(500.0, n) + wave(1_100.0, n)) as i16).collect();
    Codec::Pcma.encode(&tones, &mut voice);
    let file = Some(("voice.alaw", voice));
    let sipp = Sipp { pause_ms: 4_000, file, ..caller(&world, "talk") }.start();
    world.inside("open", 2).await;
    assert_eq!(hears(&listener, &[500, 700, 1_100]).await, [500, 1_100]);
    sipp.all_well().await;
    listener.hang_up();
    charged_once(&world, 2).await;
    world.end().await;
}

/// Conference IDs in tones: as fast as telephones dial (ITU-T Q.24), and with a finger that stays on its first key. Whoever is heard
/// to press a key twice, or not, is in no meeting; and then the bridge hangs up.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_tones_fast_or_long() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let fast = keypad("1000001", 50, 50);
    let long = [keypad("1", 1_500, 200), keypad("000001", 300, 100)].concat();
    let phones = [(TOLL, fast), (TOLL_FREE, long)].map(|(number, keys)| {
        // Once: what follows is silence for as long as the test may take.
        let samples = [vec![0; 4_000], keys, vec![0; 30 * 8_000]].concat();
        let mut voice = vec![0; samples.len()];
        Codec::Pcma.encode(&samples, &mut voice);
        Sipp { number, file: Some(("voice.alaw", voice)), ..caller(&world, "tones") }.start()
    });
    world.inside("open", 2).await;
    for leg in world.legs().await {
        let told = world.ask(Ask::Remove { leg: leg.id.parse().unwrap() }).await;
        assert!(matches!(told, Told::Done), "{told:?}");
    }
    for sipp in phones {
        sipp.all_well().await;
    }
    let records = world.records().await;
    assert_eq!(records.len(), 2);
    for record in &records {
        assert_eq!((record.beyond.cause, record.beyond.ended_by), (Cause::Removed, EndedBy::Bridge), "{record:?}");
        let a_second = if record.call_type == CallType::DialInTollFree { 20_000 } else { 10_000 };
        assert!(record.charge.0 > 0 && record.charge.0 % a_second == 0, "{record:?}");
    }
    assert_ne!(records[0].call_type, records[1].call_type);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_in_info() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp { pause_ms: 3_000, ..caller(&world, "info") }.start();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !world.legs().await.iter().any(|leg| leg.muted) {
        assert!(std::time::Instant::now() < until, "star and six mute whoever presses them");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    sipp.all_well().await;
    charged_once(&world, 1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_and_resume() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp { calls: 5, ..caller(&world, "hold") }.start();
    assert_eq!(sipp.all_well().await.succeeded, 5);
    let records = charged_once(&world, 5).await;
    assert!(records.iter().all(|record| record.duration_ms >= 1_500), "a call on hold is charged");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_watches_the_meeting_that_it_is_in() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp { pause_ms: 1_000, ..caller(&world, "watch") }.start();
    sipp.all_well().await;
    charged_once(&world, 1).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_whether_we_are_there() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp { calls: 10, ..caller(&world, "options") }.start();
    assert_eq!(sipp.all_well().await.succeeded, 10);
    charged_once(&world, 0).await;
    world.end().await;
}

/// While the store is kept from writing, calls ring: who gives up then has cost nobody anything.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_while_it_rings_pays_nothing() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let file = SqliteConnectOptions::new().filename(world.node.store().place());
    let mut books = SqliteConnection::connect_with(&file).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut books).await.unwrap();
    let sipp = Sipp { calls: 5, calls_per_second: 50, pause_ms: 200, ..caller(&world, "cancel") }.start();
    assert_eq!(sipp.all_well().await.succeeded, 5);
    sqlx::query("ROLLBACK").execute(&mut books).await.unwrap();
    let records = world.records().await;
    assert!(
        records.iter().all(|record| record.charge.0 == 0 && record.beyond.cause == Cause::Cancelled),
        "{records:#?}"
    );
    world.end().await;
}

/// Runs beside everything else: it waits. (`benches/load` does it with thousands.)
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_never_acknowledged_are_ended_and_leave_nothing() {
    let calls = 50;
    let world = bridge().await;
    let file = Some(("numbers.csv", format!("SEQUENTIAL\n{DIRECT}\n").into_bytes()));
    let sipp = Sipp { calls, calls_per_second: 50, patience_s: 50, file, ..caller(&world, "never_acked") }.start();
    assert_eq!(sipp.all_well().await.succeeded, u64::from(calls));
    let records = world.records().await;
    assert_eq!(records.len(), calls as usize);
    for record in &records {
        assert_eq!(record.beyond.cause, Cause::NeverAcknowledged);
        assert_eq!((record.duration_ms, record.charge.0), (0, 0), "it was never up");
    }
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS, 0));
    world.end().await;
}
