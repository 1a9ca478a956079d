//! `tollbridge demo`: the main job, shown and checked. A bridge of its own on free ports, a carrier in small beside it,
//! and eight people with telephones over real SIP and RTP. Nothing is left but the recording.

mod accounts;
mod caller;
mod gathering;
mod price;
mod recognise;
mod scene;
mod stage;
mod story;

use super::call::write_wav;
use super::{Context, Done, Failure, say};
use accounts::Accounts;
use gathering::Gathering;
use serde_json::json;
use stage::{Folder, Stage};
use std::path::{Path, PathBuf};
use story::Story;

#[derive(clap::Args)]
pub struct Demo {
    /// Where to leave what the organiser heard
    #[arg(long, value_name = "FILE", default_value = "tollbridge-demo.wav")]
    wav: PathBuf,
}

impl Demo {
    pub(super) async fn run(self, context: &Context) -> Done {
        let folder = Folder::new()?;
        tokio::select! {
            done = self.play(folder.path(), context.json) => done,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        }
    }

    async fn play(&self, folder: &Path, as_json: bool) -> Done {
        let stage = Stage::open(folder, Story::new(as_json)).await?;
        let heard = perform(&stage).await;
        let (store, story) = stage.close().await;
        if !heard.is_empty() {
            write_wav(&self.wav, &heard).map_err(|Failure(why)| {
                Failure(format!("{}: {why}; choose another place with --wav FILE", self.wav.display()))
            })?;
        }
        let accounts = Accounts::read(&store).await?;
        accounts.print(&story);
        accounts.check(&story);
        self.conclude(&story, &accounts, as_json)
    }

    fn conclude(&self, story: &Story, accounts: &Accounts, as_json: bool) -> Done {
        let (checked, failed) = (story.checked(), story.failed());
        let wav = self.wav.display().to_string();
        if as_json {
            let mut told = accounts.to_json()?;
            told["ok"] = json!(failed == 0);
            told["steps"] = story.to_json();
            told["wav"] = json!(wav);
            say(&format!("{told}\n"))?;
        }
        story.print(format!("\nwhat Anna heard: {wav}"));
        if failed > 0 {
            return Err(Failure(format!("{failed} of {checked} checks are not as they should be")));
        }
        story.print(format!("all {checked} checks are as they should be, in {} s", story.elapsed_ms() / 1_000));
        Ok(())
    }
}

/// The whole story. A scene that cannot go on is told as a check that failed, and the books are still shown.
async fn perform(stage: &Stage) -> Vec<i16> {
    stage.story.print("timeline, in seconds");
    let (gathering, unlicensed, credit, pool) = tokio::join!(
        Gathering::gather(stage),
        scene::unlicensed(stage),
        scene::credit_runs_out(stage),
        scene::pool(stage)
    );
    for broken in [unlicensed, credit, pool].into_iter().filter_map(Result::err) {
        stage.story.check("demo", broken.0, false);
    }
    let held = match gathering {
        Ok(gathering) => gathering.hold().await,
        Err(broken) => Err(broken),
    };
    let heard = held.unwrap_or_else(|broken| {
        stage.story.check("demo", broken.0, false);
        Vec::new()
    });
    let quiet = stage.is_quiet().await.unwrap_or(false);
    stage.story.check("bridge", "no leg is left, every account is closed", quiet);
    heard
}
