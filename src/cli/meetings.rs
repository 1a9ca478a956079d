//! `tollbridge meetings`: which run now.

use super::bridge::Whose;
use super::table::{Side, Table, count};
use super::{Context, Done, say, say_json};
use crate::switchboard::ask::MeetingView;

const COLUMNS: &[(&str, Side)] = &[
    ("MEETING", Side::Left),
    ("CONFERENCE ID", Side::Left),
    ("ORGANISER", Side::Left),
    ("ORGANISATION", Side::Left),
    ("STATE", Side::Left),
    ("INSIDE", Side::Right),
    ("WAITING", Side::Right),
];

#[derive(clap::Args)]
pub struct Meetings {
    #[command(flatten)]
    whose: Whose,
}

impl Meetings {
    pub fn run(self, context: &Context) -> Done {
        let (bridge, below) = self.whose.reach(context)?;
        // Below an organisation "meetings" are those that there are, running or not.
        let path = if below.is_empty() { "/meetings".to_owned() } else { format!("{below}/running") };
        show(context, &bridge.get::<Vec<MeetingView>>(&path)?)
    }
}

fn show(context: &Context, meetings: &[MeetingView]) -> Done {
    if context.json {
        return say_json(&serde_json::to_value(meetings)?);
    }
    if meetings.is_empty() {
        return say("no meeting runs\n");
    }
    let mut table = Table::new(COLUMNS);
    for meeting in meetings {
        table.row([
            meeting.id.clone(),
            meeting.conference_id.clone(),
            meeting.organiser.clone(),
            meeting.organisation.clone(),
            state(meeting),
            meeting.inside.to_string(),
            meeting.waiting.to_string(),
        ]);
    }
    say(&format!("{table}{}\n", count(meetings.len() as u64, "meeting")))
}

fn state(meeting: &MeetingView) -> String {
    let begun = if meeting.started { "running" } else { "not started" };
    let locked = if meeting.locked { ", locked" } else { "" };
    let recorded = match meeting.recording.as_str() {
        "off" => "",
        "paused" => ", recording paused",
        _ => ", recorded",
    };
    format!("{begun}{locked}{recorded}")
}
