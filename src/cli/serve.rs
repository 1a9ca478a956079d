//! `tollbridge serve`: runs the bridge until it is told to stop.

use super::{Context, Done, Failure};
use crate::clock;
use crate::form::Mistake;
use crate::node::Node;
use crate::sip::Transport;
use crate::store::{Document, OpenError, Options, Store};
use crate::telemetry;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// The demo's data, as they stand in `config/`.
pub(super) const DEMO: &str = include_str!("../../config/demo.toml");
pub(super) const DEMO_RATES: &str = include_str!("../../config/rates.csv");

/// How often, and how long apart, a store that is held is tried again.
const HELD_TRIES: u32 = 10;
const HELD_WAIT: Duration = Duration::from_millis(100);

pub async fn run(context: &Context) -> Done {
    let settings = &context.settings;
    telemetry::start(&settings.log_level);
    // A second recorder in one process is refused; the first goes on then.
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    // Only without settings is anything made up, and only where there is no store yet.
    let fresh = context.config.is_none() && !store_exists(&settings.store_url);
    let store = open(&settings.store_url).await?;
    if fresh {
        fill_with_demo(&store).await?;
    }
    let mut node = Node::start_on(store, settings, metrics).await?;
    welcome(&node, fresh);

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = node.failed() => return Err(Failure("the switchboard stopped: the log says why; start again".into())),
    }
    eprintln!("tollbridge: stopping: calls are ended and their accounts closed");
    node.stop().await;
    Ok(())
}

/// A command that looks into the books holds them for a moment: it is waited for. Another bridge is not.
async fn open(url: &str) -> Result<Store, OpenError> {
    let mut tries = 0;
    loop {
        match Store::open(url, Options::default()).await {
            Err(OpenError::Held { .. }) if tries < HELD_TRIES => tries += 1,
            opened => return opened,
        }
        tokio::time::sleep(HELD_WAIT).await;
    }
}

fn store_exists(url: &str) -> bool {
    url.strip_prefix("sqlite:").is_some_and(|path| Path::new(path).exists())
}

pub(super) async fn fill_with_demo(store: &Store) -> Done {
    let beside = |_: &str| Ok(DEMO_RATES.to_owned());
    let told =
        |mistakes: Vec<Mistake>| Failure(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let document = Document::parse("demo.toml", DEMO, beside).map_err(told)?;
    store.apply(document, clock::wall()).await?.map_err(told)?;
    Ok(())
}

/// Says where it is reached, and what to dial.
fn welcome(node: &Node, fresh: bool) {
    let facts = node.store().facts();
    println!("tollbridge {} is running", env!("CARGO_PKG_VERSION"));
    for (transport, name) in [(Transport::Udp, "udp"), (Transport::Tcp, "tcp")] {
        if let Some(address) = node.sip(transport) {
            println!("  SIP      {name}:{address}");
        }
    }
    println!("  API      http://{} (token in {})", node.api(), node.token_file().display());
    println!("  store    {}", node.store().path().display());
    println!("numbers:");
    for number in facts.directory.numbers() {
        let leads = number.meeting.as_ref().map(|meeting| format!(", straight to meeting {meeting}"));
        println!("  {:16} {:9} {}{}", number.e164.to_string(), number.kind, number.country, leads.unwrap_or_default());
    }
    println!("meetings:");
    for meeting in facts.meetings.values() {
        let set = &meeting.settings;
        println!("  {:16} conference ID {}, organiser {}", set.id, set.conference_id, set.organiser);
    }
    if fresh {
        println!("This is the demo's data (PINs stand in its file, config/demo.toml). Try, in another terminal:");
        if let (Some(number), Some(meeting)) = (
            facts.directory.numbers().iter().find(|number| number.meeting.is_none()),
            facts.meetings.values().find(|meeting| meeting.settings.callers_may_start),
        ) {
            println!("  tollbridge call {} --digits ,,{} --tone 440", number.e164, meeting.settings.conference_id);
        }
    }
}
