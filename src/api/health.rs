//! Whether the node lives, whether it takes calls, and its counters.

use super::Reception;
use super::problem::Problem;
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

/// Counters and gauges in the Prometheus text form.
pub async fn metrics(State(reception): State<Reception>) -> Result<String, Problem> {
    reception.metrics.map(|metrics| metrics.render()).ok_or_else(|| Problem::unknown("page"))
}
