//! `tollbridge serve`: runs the bridge until it is told to stop.

use super::{Context, Done, Failure, note, say};
use crate::clock;
use crate::config::Settings;
use crate::form::Mistake;
use crate::node::{Failed, Node};
use crate::sip::Transport;
use crate::store::{Document, OpenError, Options, Store};
use crate::telemetry;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The demo's data, as they stand in `config/`.
pub(super) const DEMO: &str = include_str!("../../config/demo.toml");
pub(super) const DEMO_RATES: &str = include_str!("../../config/rates.csv");

/// How often figures of single legs are summed up.
const SUMMED_UP: Duration = Duration::from_secs(5);
/// How often, and how long apart, a store that is held is tried again.
const HELD_TRIES: u32 = 10;
const HELD_WAIT: Duration = Duration::from_millis(100);

#[derive(Default, clap::Args)]
pub struct Serve {
    /// Take the node's name from the process that has it (one that hangs, or runs on a machine that cannot be reached).
    /// What that one still sends to the books is refused, and its calls end with what they have paid for; its legs are
    /// settled here, each at its last proof of life. Of a store on a server alone: a file is held until its holder ends
    #[arg(long)]
    take_over: bool,
}

impl Serve {
    pub async fn run(self, context: &Context) -> Done {
        run(context, self.take_over).await
    }
}

async fn run(context: &Context, take_over: bool) -> Done {
    telemetry::start(&context.settings.log_level);
    let mut signals = Signals::listen()?;
    let mut node = tokio::select! {
        node = start(context, take_over) => node?,
        () = signals.stop() => {
            note("tollbridge: stopped before it had started");
            return Ok(());
        }
    };
    tokio::select! {
        () = signals.stop() => {}
        failed = node.failed() => return Err(end(node, failed).await),
    }
    let limit = Duration::from_secs(context.settings.sip.drain_s);
    if !limit.is_zero() && node.legs() > 0 {
        let (calls, limit_s) = (node.legs(), limit.as_secs());
        note(&format!(
            "tollbridge: stopping: no new calls; {calls} of them may go on for {limit_s} s, then they are warned and ended. \
             A second signal ends them now"
        ));
        let wound_down = tokio::select! {
            wound_down = node.wind_down(limit) => wound_down,
            () = signals.stop() => Ok(()),
        };
        if let Err(failed) = wound_down {
            return Err(end(node, failed).await);
        }
    }
    note("tollbridge: stopping: calls are ended and their accounts closed");
    tokio::select! {
        () = node.stop() => Ok(()),
        () = signals.stop() => Err(Failure("stopped at once: the next start closes what is still open".into())),
    }
}

/// Whoever still talks here is told.
async fn end(node: Node, failed: Failed) -> Failure {
    match failed {
        Failed::Stopped => Failure("the switchboard stopped: the log says why; start again".into()),
        Failed::TakenOver => {
            note("tollbridge: another process has taken this node over: calls are ended here");
            node.stop().await;
            Failure("another process has taken this node over: it goes on there".into())
        }
    }
}

/// What tells a process to stop. Heard from the first moment on, and as often as it is said.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn start(context: &Context, take_over: bool) -> Result<Node, Failure> {
    let settings = &context.settings;
    // A second recorder in one process is refused; the first goes on then.
    let metrics = PrometheusBuilder::new().install_recorder().ok();
    if let Some(metrics) = metrics.clone() {
        // What each leg was like is kept one by one until it is read or summed up: maybe nobody ever reads it.
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SUMMED_UP).await;
                metrics.run_upkeep();
            }
        });
    }
    let store = open(settings, take_over).await?;
    // Only without settings is anything made up, and only where nothing is in the store: a start that was stopped before
    // it had filled it is made good by the next.
    let fresh = context.config.is_none() && store.facts().is_empty();
    if fresh {
        fill_with_demo(&store).await?;
    }
    let node = Node::start_on(store, settings, metrics).await?;
    say(&welcome(&node, fresh))?;
    Ok(node)
}

/// A command that looks into the books holds them for a moment: it is waited for. Another bridge is not.
async fn open(settings: &Settings, take_over: bool) -> Result<Store, OpenError> {
    let mut tries = 0;
    loop {
        let options = Options { take_over, ..settings.store_options() };
        match Store::open(&settings.store_url, options).await {
            Err(OpenError::Held { .. }) if tries < HELD_TRIES => tries += 1,
            opened => return opened,
        }
        tokio::time::sleep(HELD_WAIT).await;
    }
}

pub(super) async fn fill_with_demo(store: &Store) -> Done {
    let beside = |_: &str| Ok(DEMO_RATES.to_owned());
    let told =
        |mistakes: Vec<Mistake>| Failure(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let document = Document::parse("demo.toml", DEMO, beside).map_err(told)?;
    store.apply(document, clock::wall()).await?.map_err(told)?;
    Ok(())
}

/// Where it is reached, and what to dial.
fn welcome(node: &Node, fresh: bool) -> String {
    let facts = node.store().facts();
    let mut lines = vec![format!("tollbridge {} is running", env!("CARGO_PKG_VERSION"))];
    for transport in Transport::ALL {
        let name = transport.name();
        lines.extend(node.sip(transport).map(|address| format!("  SIP      {name}:{address}")));
    }
    lines.push(format!("  API      http://{} (token in {})", node.api(), node.token_file().display()));
    lines.push(format!("  store    {}", node.store().place()));
    lines.push("numbers:".to_owned());
    for number in facts.directory.numbers() {
        let leads = number.meeting.as_ref().map(|meeting| format!(", straight to meeting {meeting}"));
        let (e164, leads) = (number.e164.to_string(), leads.unwrap_or_default());
        lines.push(format!("  {e164:16} {:9} {}{leads}", number.kind, number.country));
    }
    lines.push("meetings:".to_owned());
    for meeting in facts.meetings.values() {
        let set = &meeting.settings;
        lines.push(format!("  {:16} conference ID {}, organiser {}", set.id, set.conference_id, set.organiser));
    }
    if fresh {
        lines.push(
            "This is the demo's data (PINs stand in its file, config/demo.toml). Try, in another terminal:".to_owned(),
        );
        let number = facts.directory.numbers().iter().find(|number| number.meeting.is_none());
        let meeting = facts.meetings.values().find(|meeting| meeting.settings.callers_may_start);
        lines.extend(number.zip(meeting).map(|(number, meeting)| {
            format!("  tollbridge call {} --digits ,,{} --tone 440", number.e164, meeting.settings.conference_id)
        }));
    }
    lines.join("\n") + "\n"
}
