//! What is old is emptied, and people are forgotten.

use super::extract::{Json as Said, Known};
use super::io::{Moment, old_files};
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::store::{Deleted, Forget, Forgotten, Keep, Rehearsal, Store, Whom};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

const DAY_MICROS: i64 = 86_400_000_000;

/// How long what tells of people is kept, in days; 0 is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub records: u64,
    pub recordings: u64,
    pub traces: u64,
    /// Where recordings are.
    pub folder: Option<PathBuf>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { records: 180, recordings: 90, traces: 90, folder: None }
    }
}

impl Retention {
    fn until(days: u64, now: Wall) -> Option<Wall> {
        let days = i64::try_from(days).ok().filter(|days| *days > 0)?;
        Some(Wall::from_micros(now.micros().saturating_sub(days.saturating_mul(DAY_MICROS))))
    }

    /// Where recordings are, and before when written they are old.
    fn old_recordings(&self, now: Wall) -> Option<(&PathBuf, Wall)> {
        self.folder.as_ref().zip(Retention::until(self.recordings, now))
    }

    fn keep(&self, dry_run: bool, now: Wall) -> Keep {
        Keep { records: Retention::until(self.records, now), traces: Retention::until(self.traces, now), dry_run }
    }
}

/// Whether it is only asked what would be done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionOrder {
    pub dry_run: bool,
}

/// Empties what is older than the settings say.
pub async fn retain_of(store: &Store, own: &Retention, order: RetentionOrder, now: Wall) -> Result<Value, Problem> {
    let emptied = store.keep(own.keep(order.dry_run, now), now).await?;
    let recordings = match own.old_recordings(now) {
        Some((folder, before)) => {
            let (mut recordings, mut problem) = old_files(folder.clone(), before, true).await?;
            if recordings > 0 && !order.dry_run {
                // Told before any goes: where the books cannot say it, none does.
                store.recordings_deleted(Deleted { recordings, before }, now).await?;
                (recordings, problem) = old_files(folder.clone(), before, false).await?;
            }
            problem.map_or(Ok(recordings), Err)?
        }
        None => 0,
    };
    Ok(json!({ "dry_run": order.dry_run, "records": emptied, "recordings": recordings }))
}

/// What would be emptied.
pub async fn retain_tried(trial: &mut Rehearsal, own: &Retention, now: Wall) -> Result<Value, Problem> {
    let emptied = trial.keep(own.keep(true, now)).await?;
    let (recordings, problem) = match own.old_recordings(now) {
        Some((folder, before)) => old_files(folder.clone(), before, true).await?,
        None => (0, None),
    };
    let told = json!({ "dry_run": true, "records": emptied, "recordings": recordings });
    problem.map_or(Ok(told), Err)
}

pub async fn retain(
    Known(reception): Known,
    Moment(now): Moment,
    Said(order): Said<RetentionOrder>,
) -> Result<Json<Value>, Problem> {
    retain_of(&reception.store, &reception.retention, order, now).await.map(Json)
}

/// Whom to forget: one of the two.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetOrder {
    #[serde(default)]
    pub number: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    pub dry_run: bool,
}

pub async fn forget_of(store: &Store, order: &ForgetOrder, now: Wall) -> Result<Value, Problem> {
    let forgotten = store.forget(Forget { whom: whom(order)?, dry_run: order.dry_run }, now).await?;
    Ok(forgotten_of(&forgotten, order.dry_run))
}

/// What there is of them.
pub async fn forget_tried(trial: &mut Rehearsal, order: &ForgetOrder) -> Result<Value, Problem> {
    Ok(forgotten_of(&trial.forget(whom(order)?).await?, true))
}

fn whom(order: &ForgetOrder) -> Result<Whom, Problem> {
    match (&order.number, &order.user) {
        (Some(number), None) => Ok(Whom::Number(parse("number", number)?)),
        (None, Some(user)) => Ok(Whom::User(parse("user", user)?)),
        _ => Err(Problem::bad("expected a number or a user, and not both")),
    }
}

fn forgotten_of(forgotten: &Forgotten, dry_run: bool) -> Value {
    let Forgotten { records, meetings, name } = forgotten;
    json!({ "dry_run": dry_run, "records": records, "meetings": meetings, "name": name })
}

pub async fn forget(
    Known(reception): Known,
    Moment(now): Moment,
    Said(order): Said<ForgetOrder>,
) -> Result<Json<Value>, Problem> {
    forget_of(&reception.store, &order, now).await.map(Json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Options, TrailFilter};
    use std::time::{Duration, UNIX_EPOCH};

    /// What went is in the trail, once, and how many; what is only counted, or was not there, is not.
    #[tokio::test]
    async fn recordings_that_go_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            Store::open(&format!("sqlite:{}", folder.path().join("books.db").display()), Options::default()).await;
        let store = store.unwrap();
        let recordings = folder.path().join("recordings");
        std::fs::create_dir(&recordings).unwrap();
        for name in ["a.wav", "b.opus"] {
            std::fs::write(recordings.join(name), "x").unwrap();
            let file = std::fs::File::options().write(true).open(recordings.join(name)).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000)).unwrap();
        }
        let own = Retention { recordings: 1, folder: Some(recordings), ..Retention::default() };
        let now = Wall::from_seconds(1_000_000);
        let told = async || store.trail(&TrailFilter::default()).await.unwrap();
        for (dry_run, count, rows) in [(true, 2, 0), (false, 2, 1), (false, 0, 1)] {
            let done = retain_of(&store, &own, RetentionOrder { dry_run }, now).await.unwrap();
            assert_eq!((&done["recordings"], told().await.len()), (&json!(count), rows));
        }
        let row = &told().await[0];
        let detail = json!({ "deleted": 2, "written_before": "1970-01-11T13:46:40.000Z" });
        assert_eq!((&*row.verb, &*row.what), ("retention", "recordings"));
        assert_eq!(serde_json::from_str::<Value>(&row.detail).unwrap(), detail);
        // A folder that is none is told to whoever asked.
        let own = Retention { folder: Some(folder.path().join("books.db")), ..own };
        assert!(retain_of(&store, &own, RetentionOrder { dry_run: false }, now).await.is_err());
        assert_eq!(store.audit().await.unwrap(), []);
    }
}
