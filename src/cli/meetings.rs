//! `tollbridge meetings`: which run now.

use super::bridge::Bridge;
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

pub fn run(context: &Context) -> Done {
    let meetings: Vec<MeetingView> = Bridge::reach(context)?.get("/meetings")?;
    if context.json {
        return say_json(&serde_json::to_value(meetings)?);
    }
    let mut table = Table::new(COLUMNS);
    for meeting in &meetings {
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
