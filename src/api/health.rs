//! Whether the node lives, whether it takes calls, and its counters.

use super::Reception;
use super::extract::Known;
use super::problem::Problem;
use super::standing::{exposition, standings};
use crate::switchboard::ask::Ask;
use axum::extract::State;

/// The process answers.
pub async fn live() -> &'static str {
    "live\n"
}

/// The switchboard and the store answer: a call would be taken now.
pub async fn ready(State(reception): State<Reception>) -> Result<&'static str, Problem> {
    let answers = reception.switchboard.ask(Ask::Meetings).await.is_some();
    if reception.switchboard.is_draining() {
        return Err(Problem::down("the bridge is draining: it takes no new calls"));
    }
    match (answers, reception.store.live_legs().await.is_ok()) {
        (true, true) => Ok("ready\n"),
        (false, _) => Err(Problem::down("the bridge is stopping")),
        (_, false) => Err(Problem::down("the store does not answer")),
    }
}

/// Counters and gauges of the bridge in the Prometheus text form, for whoever reaches this address: nothing of a single
/// carrier is among them, for who carries whose calls, and how well, is the house's business.
pub async fn metrics(State(reception): State<Reception>) -> Result<String, Problem> {
    let collected = collected(&reception).ok_or_else(|| Problem::unknown("page"))?;
    Ok(without_carriers(&collected))
}

/// All of them, each carrier's too, for a token of the house that may read. What the switchboard counts is left out while it
/// does not answer.
pub async fn all_metrics(Known(reception): Known) -> Result<String, Problem> {
    let carriers = standings(&reception).await.unwrap_or_default();
    Ok(collected(&reception).unwrap_or_default() + &exposition(&carriers))
}

fn collected(reception: &Reception) -> Option<String> {
    reception.metrics.as_ref().map(|metrics| metrics.render())
}

/// The exposition but for series that have the label of a carrier, and headings of families that have no other. (A quote in
/// the value of a label is escaped: none can pass for a label.)
fn without_carriers(text: &str) -> String {
    let tells = |line: &str| line.contains("{carrier=\"") || line.contains(",carrier=\"");
    let mut open = String::with_capacity(text.len());
    let mut headings: Vec<&str> = Vec::new();
    for line in text.split_inclusive('\n') {
        match () {
            () if line.starts_with('#') => headings.push(line),
            // Between families: what no series came for is dropped.
            () if line.trim().is_empty() => headings.clear(),
            () if tells(line) => {}
            () => {
                headings.drain(..).for_each(|heading| open.push_str(heading));
                open.push_str(line);
            }
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_has_no_token_is_shown_nothing_of_a_carrier() {
        let text = "# HELP legs Legs\n# TYPE legs gauge\nlegs 3\n\n# TYPE mos summary\nmos{carrier=\"acme\",quantile=\"0\"} 4.1\n\
            mos_sum{carrier=\"acme\"} 8.2\n\n# TYPE one_way counter\none_way{missing=\"in\",carrier=\"acme\"} 1\n\
            one_way{missing=\"in\"} 2\n\n# TYPE why counter\nwhy{why=\"a carrier=\\\"acme\\\"\"} 5\n";
        let open = without_carriers(text);
        let due = "# HELP legs Legs\n# TYPE legs gauge\nlegs 3\n# TYPE one_way counter\none_way{missing=\"in\"} 2\n\
            # TYPE why counter\nwhy{why=\"a carrier=\\\"acme\\\"\"} 5\n";
        assert_eq!(open, due);
    }
}
