//! `tollbridge carriers`: which are there, and with which we are registered.

use super::bridge::Bridge;
use super::table::{Side, Table};
use super::{Context, Done, say, say_json};
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::switchboard::ask::CarrierView;

const COLUMNS: &[(&str, Side)] = &[
    ("CARRIER", Side::Left),
    ("REACH", Side::Left),
    ("SINCE", Side::Left),
    ("REGISTRATION", Side::Left),
    ("SINCE", Side::Left),
    ("LOCKED", Side::Left),
];

pub fn run(context: &Context) -> Done {
    let carriers: Vec<CarrierView> = Bridge::reach(context)?.get("/standings")?;
    if context.json {
        return say_json(&serde_json::to_value(&carriers)?);
    }
    let mut table = Table::new(COLUMNS);
    let since = |at: Option<i64>| at.map_or_else(|| "-".to_owned(), |s| utc(Wall::from_seconds(s)));
    for carrier in &carriers {
        let registration = match (&carrier.registration, carrier.registration_status) {
            (Some(word), Some(status)) => format!("{word} ({status})"),
            (Some(word), None) => word.clone(),
            (None, _) => "-".to_owned(),
        };
        table.row([
            carrier.id.clone(),
            carrier.reach.clone().unwrap_or_else(|| "-".to_owned()),
            since(carrier.reach_since),
            registration,
            since(carrier.registration_since),
            carrier.locked.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    say(&table.or("there is no carrier"))
}
