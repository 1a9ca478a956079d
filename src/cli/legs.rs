//! `tollbridge legs`: who is in a call now.

use super::bridge::Whose;
use super::table::{Side, Table, clock, count};
use super::{Context, Done, say, say_json};
use crate::rating::record::WITHHELD;
use crate::switchboard::ask::LegView;

const COLUMNS: &[(&str, Side)] = &[
    ("LEG", Side::Left),
    ("", Side::Left),
    ("STATE", Side::Left),
    ("NUMBER", Side::Left),
    ("CALLER", Side::Left),
    ("CARRIER", Side::Left),
    ("ORGANISATION", Side::Left),
    ("MEETING", Side::Left),
    ("ROLE", Side::Left),
    ("MUTED", Side::Left),
    ("LENGTH", Side::Right),
];

#[derive(clap::Args)]
pub struct Legs {
    #[command(flatten)]
    whose: Whose,
}

impl Legs {
    pub fn run(self, context: &Context) -> Done {
        let (bridge, below) = self.whose.reach(context)?;
        show(context, &bridge.get::<Vec<LegView>>(&format!("{below}/legs"))?)
    }
}

fn show(context: &Context, legs: &[LegView]) -> Done {
    if context.json {
        return say_json(&serde_json::to_value(legs)?);
    }
    if legs.is_empty() {
        return say("nobody is in a call\n");
    }
    let mut table = Table::new(COLUMNS);
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    for leg in legs {
        table.row([
            leg.id.clone(),
            leg.direction.clone(),
            leg.state.clone(),
            leg.number.clone(),
            if leg.withheld { WITHHELD.to_owned() } else { or_none(&leg.caller) },
            or_none(&leg.carrier),
            or_none(&leg.organisation),
            or_none(&leg.meeting),
            or_none(&leg.role),
            if leg.muted { "muted" } else { "-" }.to_owned(),
            clock(leg.elapsed_ms / 1_000),
        ]);
    }
    say(&format!("{table}{}\n", count(legs.len() as u64, "leg")))
}
