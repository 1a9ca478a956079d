//! `tollbridge dial`: has a meeting ring a phone, and follows the call until somebody answers, or nobody does.

use super::bridge::{Pace, Whose};
use super::{Context, Done, Failure, note, say, say_json};
use crate::api::leg::{DialOrder, Dialling};
use crate::switchboard::ask::LegView;
use crate::types::{Cause, E164, MeetingId};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the leg is looked at: quicker than a person takes note.
const LOOK: Duration = Duration::from_millis(150);

#[derive(clap::Args)]
pub struct Dial {
    /// Meeting that rings, and whose organiser pays
    #[arg(long, value_name = "MEETING")]
    meeting: MeetingId,
    /// Number to ring, like +390612345678
    #[arg(long, value_name = "NUMBER")]
    to: E164,
    /// Stay until the call is answered or has failed; Ctrl-C cancels it while it rings
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    whose: Whose,
}

/// What a look at the leg tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Calling,
    Ringing,
    Answered,
    Over,
}

fn progress(leg: &LegView) -> Progress {
    match leg.state.as_str() {
        "invited" => Progress::Calling,
        "ringing" => Progress::Ringing,
        // Answered and over between two looks.
        "over" if leg.elapsed_ms > 0 => Progress::Answered,
        "over" => Progress::Over,
        _ => Progress::Answered,
    }
}

impl Dial {
    pub async fn run(self, context: &Context) -> Done {
        // Heard from here on, so that none is lost between the order and the first look.
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let (bridge, below) = self.whose.reach(context)?;
        let order = DialOrder { meeting: self.meeting.to_string(), to: self.to.to_string() };
        let Dialling { leg } = bridge.post(&format!("{below}/legs"), &order, Pace::Short)?;
        if !self.wait {
            return if context.json {
                say_json(&serde_json::json!({ "leg": leg }))
            } else {
                say(&format!("calling {}: leg {leg}\n", self.to))
            };
        }
        let path = format!("{below}/legs/{leg}");
        let mut shown = Progress::Calling;
        tell(context, &format!("calling {}: leg {leg}", self.to));
        loop {
            let view: LegView = bridge.get(&path)?;
            let progress = progress(&view);
            if progress == Progress::Ringing && shown == Progress::Calling {
                shown = Progress::Ringing;
                tell(context, "ringing");
            }
            if matches!(progress, Progress::Answered | Progress::Over) {
                return conclude(context, &view, progress);
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = interrupt.recv() => bridge.delete(&path)?,
                _ = terminate.recv() => bridge.delete(&path)?,
            }
        }
    }
}

fn tell(context: &Context, words: &str) {
    if !context.json {
        note(words);
    }
}

fn conclude(context: &Context, leg: &LegView, progress: Progress) -> Done {
    if context.json {
        say_json(&serde_json::to_value(leg)?)?;
    }
    match progress {
        Progress::Answered if context.json => Ok(()),
        Progress::Answered if leg.state == "over" => say(&format!("answered, and over again: {}\n", why(leg))),
        Progress::Answered => say("answered\n"),
        _ => Err(Failure(format!("{}: {}", leg.number, why(leg)))),
    }
}

/// The cause in its own words; those of a cause that a person would ask about say what to do.
fn why(leg: &LegView) -> String {
    let cause = leg.cause.as_deref().and_then(|cause| cause.parse::<Cause>().ok());
    let words = leg.words.clone().unwrap_or_else(|| "the call ended".to_owned());
    match cause {
        Some(Cause::Unreachable | Cause::CarrierRefused) => format!("{words}; look at its route and at the log"),
        _ => words,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg(state: &str, elapsed_ms: u64) -> LegView {
        LegView {
            id: "x".into(),
            direction: "out".into(),
            state: state.into(),
            number: "+390612345678".into(),
            caller: None,
            withheld: false,
            carrier: None,
            organisation: None,
            meeting: None,
            role: None,
            muted: false,
            began: 0,
            elapsed_ms,
            cause: None,
            words: None,
        }
    }

    #[test]
    fn every_state_of_a_leg_means_something() {
        for (state, elapsed_ms, means) in [
            ("invited", 0, Progress::Calling),
            ("ringing", 0, Progress::Ringing),
            ("lobby", 1, Progress::Answered),
            ("waiting", 1, Progress::Answered),
            ("meeting", 1, Progress::Answered),
            ("over", 0, Progress::Over),
            ("over", 20, Progress::Answered),
        ] {
            assert_eq!(progress(&leg(state, elapsed_ms)), means, "{state}");
        }
    }
}
