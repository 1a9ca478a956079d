//! How we stand with carriers: which are there, with which we are registered, and what became of their calls; for people, and
//! as counters for a scraper.

use super::Reception;
use super::extract::Known;
use super::leg::ask;
use super::problem::Problem;
use crate::switchboard::ask::{Ask, CarrierView, TallyView, Told};
use crate::telemetry::name;
use axum::Json;
use std::fmt::Write;

pub async fn list(Known(reception): Known) -> Result<Json<Vec<CarrierView>>, Problem> {
    standings(&reception).await.map(Json)
}

pub(super) async fn standings(reception: &Reception) -> Result<Vec<CarrierView>, Problem> {
    match ask(reception, Ask::Carriers).await? {
        Told::Carriers(carriers) => Ok(carriers),
        _ => Err(Problem::down("an answer to another question")),
    }
}

/// What is shown of each way of a carrier: the value, in thousandths of its unit; `None` while there is none.
type Figure = (&'static str, &'static str, fn(&TallyView) -> Option<u64>);

const FIGURES: [Figure; 12] = [
    (name::CARRIER_CALLS, "gauge", |tally| Some(tally.calls * 1_000)),
    (name::CARRIER_BIDS, "counter", |tally| Some(tally.bids * 1_000)),
    (name::CARRIER_ANSWERS, "counter", |tally| Some(tally.answers * 1_000)),
    (name::CARRIER_EFFECTIVE, "counter", |tally| Some(tally.effective * 1_000)),
    (name::CARRIER_OVER, "counter", |tally| Some(tally.over * 1_000)),
    (name::CARRIER_TALK, "counter", |tally| Some(tally.talked_ms)),
    (name::CARRIER_RANG, "counter", |tally| Some(tally.rang * 1_000)),
    (name::CARRIER_RING_DELAY, "counter", |tally| Some(tally.rang_ms)),
    (name::CARRIER_ASR, "gauge", |tally| tally.asr_per_mille),
    (name::CARRIER_NER, "gauge", |tally| tally.ner_per_mille),
    (name::CARRIER_ACD, "gauge", |tally| tally.acd_ms),
    (name::CARRIER_PDD, "gauge", |tally| tally.pdd_ms),
];

/// Carriers in the Prometheus text form: those that there are, and no others. (Their names are of letters, digits, `.`, `_`
/// and `-`: nothing in them wants an escape.)
pub(super) fn exposition(carriers: &[CarrierView]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, lines: Vec<(String, u64)>| {
        if lines.is_empty() {
            return;
        }
        // Writing to a text cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}");
        for (labels, value) in lines {
            let _ = writeln!(text, "{name}{{{labels}}} {}", decimal(value));
        }
    };
    let standing = |word: &Option<String>, good: &str| {
        word.as_deref().filter(|word| *word != "unknown").map(|word| u64::from(word == good) * 1_000)
    };
    let up = |view: &CarrierView| Some((format!("carrier=\"{}\"", view.id), standing(&view.reach, "up")?));
    let registered =
        |view: &CarrierView| Some((format!("carrier=\"{}\"", view.id), standing(&view.registration, "registered")?));
    family(name::CARRIER_UP, "gauge", carriers.iter().filter_map(up).collect());
    family(name::CARRIER_REGISTERED, "gauge", carriers.iter().filter_map(registered).collect());
    let ways = || carriers.iter().flat_map(|view| [(view, "in", &view.inbound), (view, "out", &view.outbound)]);
    for (name, kind, value) in FIGURES {
        let line = |(view, way, tally): (&CarrierView, &str, &TallyView)| {
            Some((format!("carrier=\"{}\",way=\"{way}\"", view.id), value(tally)?))
        };
        family(name, kind, ways().filter_map(line).collect());
    }
    let codes = ways().flat_map(|(view, way, tally)| {
        tally
            .codes
            .iter()
            .map(move |(code, count)| (format!("carrier=\"{}\",way=\"{way}\",code=\"{code}\"", view.id), count * 1_000))
    });
    family(name::CARRIER_CODES, "counter", codes.collect());
    text
}

/// Thousandths as a decimal.
fn decimal(thousandths: u64) -> String {
    match (thousandths / 1_000, thousandths % 1_000) {
        (whole, 0) => whole.to_string(),
        (whole, part) => format!("{whole}.{part:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn carrier(id: &str) -> CarrierView {
        CarrierView {
            id: id.to_owned(),
            reach: None,
            reach_since: None,
            registration: None,
            registration_since: None,
            registration_status: None,
            locked: None,
            rests_until: None,
            inbound: TallyView::default(),
            outbound: TallyView::default(),
        }
    }

    #[test]
    fn carriers_that_there_are_are_shown_and_no_others() {
        let busy = TallyView {
            calls: 1,
            bids: 3,
            answers: 1,
            asr_per_mille: Some(333),
            talked_ms: 61_500,
            codes: BTreeMap::from([("200".to_owned(), 1), ("503".to_owned(), 2)]),
            ..TallyView::default()
        };
        let acme = CarrierView { reach: Some("down".to_owned()), outbound: busy, ..carrier("acme") };
        let spare = CarrierView { reach: Some("unknown".to_owned()), ..carrier("spare") };
        let text = exposition(&[acme, spare.clone()]);
        for line in [
            "tollbridge_carrier_up{carrier=\"acme\"} 0",
            "tollbridge_carrier_calls{carrier=\"acme\",way=\"out\"} 1",
            "tollbridge_carrier_bids_total{carrier=\"acme\",way=\"out\"} 3",
            "tollbridge_carrier_bids_total{carrier=\"spare\",way=\"in\"} 0",
            "tollbridge_carrier_asr_ratio{carrier=\"acme\",way=\"out\"} 0.333",
            "tollbridge_carrier_talk_seconds_total{carrier=\"acme\",way=\"out\"} 61.500",
            "tollbridge_carrier_codes_total{carrier=\"acme\",way=\"out\",code=\"503\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Nothing is said of what is not known: no ratio of no calls, no state of a carrier that has not answered yet.
        assert!(!text.contains("asr_ratio{carrier=\"spare\"") && !text.contains("up{carrier=\"spare\""), "{text}");
        assert_eq!(text.matches("# TYPE tollbridge_carrier_bids_total counter").count(), 1);
        let later = exposition(&[spare]);
        assert!(!later.contains("acme"), "{later}");
        assert_eq!(exposition(&[]), "");
    }
}
