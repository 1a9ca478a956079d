//! `tollbridge carriers`: which are there, with which we are registered, and what became of their calls.

use super::bridge::Bridge;
use super::table::{Side, Table};
use super::{Context, Done, say, say_json};
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::switchboard::ask::{CarrierView, TallyView};

const COLUMNS: &[(&str, Side)] = &[
    ("CARRIER", Side::Left),
    ("REACH", Side::Left),
    ("SINCE", Side::Left),
    ("REGISTRATION", Side::Left),
    ("SINCE", Side::Left),
    ("LOCKED", Side::Left),
    ("RESTS UNTIL", Side::Left),
];

const CALLS: &[(&str, Side)] = &[
    ("CARRIER", Side::Left),
    ("WAY", Side::Left),
    ("NOW", Side::Right),
    ("BIDS", Side::Right),
    ("ASR", Side::Right),
    ("NER", Side::Right),
    ("ACD", Side::Right),
    ("PDD", Side::Right),
    ("ANSWERS BY CODE", Side::Left),
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
            since(carrier.rests_until),
        ]);
    }
    if carriers.is_empty() {
        return say("there is no carrier\n");
    }
    say(&format!("{table}\n{}", calls(&carriers)))
}

/// Since the bridge started: bids are INVITEs, the figures as ITU-T E.411 and E.425 have them.
fn calls(carriers: &[CarrierView]) -> Table {
    let mut table = Table::new(CALLS);
    for carrier in carriers {
        for (way, tally) in [("in", &carrier.inbound), ("out", &carrier.outbound)] {
            table.row(row(&carrier.id, way, tally));
        }
    }
    table
}

fn row(carrier: &str, way: &str, tally: &TallyView) -> [String; 9] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let percent = |thousandths: Option<u64>| or_none(thousandths.map(|n| format!("{}.{} %", n / 10, n % 10)));
    let seconds = |ms: Option<u64>| or_none(ms.map(|ms| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100)));
    let codes: Vec<String> = tally.codes.iter().map(|(code, count)| format!("{code}: {count}")).collect();
    [
        carrier.to_owned(),
        way.to_owned(),
        tally.calls.to_string(),
        tally.bids.to_string(),
        percent(tally.asr_per_mille),
        percent(tally.ner_per_mille),
        seconds(tally.acd_ms),
        seconds(tally.pdd_ms),
        or_none((!codes.is_empty()).then(|| codes.join(", "))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_with_their_units() {
        let busy = TallyView {
            calls: 2,
            bids: 8,
            asr_per_mille: Some(625),
            ner_per_mille: Some(1_000),
            acd_ms: Some(61_560),
            pdd_ms: Some(90),
            codes: [("200".to_owned(), 5), ("486".to_owned(), 3)].into(),
            ..TallyView::default()
        };
        let shown = row("acme", "out", &busy);
        assert_eq!(shown, ["acme", "out", "2", "8", "62.5 %", "100.0 %", "61.5 s", "0.0 s", "200: 5, 486: 3"]);
        assert_eq!(row("acme", "in", &TallyView::default())[4..], ["-", "-", "-", "-", "-"]);
    }
}
