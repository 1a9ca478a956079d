//! What the demo plays on: a bridge of its own, a carrier's exchange beside it, the books, and a folder for them.

use super::price;
use super::story::Story;
use crate::cli::Failure;
use crate::cli::phone::Exchange;
use crate::clock;
use crate::config::{Listen, Settings};
use crate::form::Mistake;
use crate::media::Clip;
use crate::meeting::Prompt;
use crate::node::Node;
use crate::sip::Transport;
use crate::store::{Balance, Document, Store};
use crate::switchboard::ask::{Ask, LegView, MeetingView, Told};
use crate::switchboard::io::Handle;
use crate::switchboard::sound::Sounds;
use crate::types::{E164, Language, LegId};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const HOUSE: &str = include_str!("house.toml");
/// Below the ports that systems give to anybody who asks (32768 and up), and not those that a bridge takes by itself.
const PORTS: &str = "30000-30999";
/// How long something may take that should be a matter of milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A folder of one's own under the system's temporary one, gone when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub fn new() -> std::io::Result<Folder> {
        let name = format!("tollbridge-demo-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        // Fails where it is there already: nobody can have laid something into it.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system, which empties its temporary folder.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Everything set up.
pub(super) struct Stage {
    node: Node,
    handle: Handle,
    pub store: Store,
    pub exchange: Exchange,
    pub story: Story,
    sounds: Sounds,
}

impl Stage {
    pub async fn open(folder: &Path, story: Story) -> Result<Stage, Failure> {
        let settings = settings(folder)?;
        let store = Store::open(&settings.store_url, settings.store_options()).await?;
        apply(&store, &format!("{HOUSE}\n{}", carrier(None))).await?;
        let node = Node::start_on(store.clone(), &settings, None).await?;
        let trunk = node.sip(Transport::Udp).ok_or("the bridge has no UDP address")?;
        let exchange = Exchange::start(any_port(), trunk, rand::random::<u32>().into()).await?;
        // Where calls out go is known only now: brought into the running bridge.
        apply(&store, &carrier(Some(exchange.local()))).await?;
        let sounds = Sounds::embedded().map_err(|_| "the prompts in the binary are not whole")?;
        story.print(format!("a bridge on udp:{trunk}, a carrier on udp:{}", exchange.local()));
        Ok(Stage { handle: node.switchboard().clone(), node, store, exchange, story, sounds })
    }

    /// Ends what still runs; the books and the story are left.
    pub async fn close(self) -> (Store, Story) {
        self.node.stop().await;
        (self.store, self.story)
    }

    pub fn clip(&self, prompt: Prompt, language: Language) -> Result<Arc<Clip>, Failure> {
        let missing = || Failure(format!("there is no prompt {}", prompt.stem()));
        self.sounds.clips(&[prompt], language).into_iter().next().ok_or_else(missing)
    }

    pub async fn ask(&self, ask: Ask) -> Result<Told, Failure> {
        self.handle.ask(ask).await.ok_or_else(|| "the bridge does not answer".into())
    }

    pub async fn legs(&self) -> Result<Vec<LegView>, Failure> {
        match self.ask(Ask::Legs).await? {
            Told::Legs(legs) => Ok(legs),
            other => Err(Failure(format!("asked for legs, told {other:?}"))),
        }
    }

    pub async fn leg(&self, leg: LegId) -> Result<LegView, Failure> {
        match self.ask(Ask::Leg(leg)).await? {
            Told::Leg(view) => Ok(*view),
            other => Err(Failure(format!("asked for a leg, told {other:?}"))),
        }
    }

    /// A running meeting; `None` once it has ended.
    pub async fn meeting(&self, id: &str) -> Result<Option<MeetingView>, Failure> {
        match self.ask(Ask::Meetings).await? {
            Told::Meetings(meetings) => Ok(meetings.into_iter().find(|meeting| meeting.id == id)),
            other => Err(Failure(format!("asked for meetings, told {other:?}"))),
        }
    }

    /// Whether, within a few seconds, so many hear each other in a meeting, and so many wait.
    pub async fn counts(&self, id: &str, inside: usize, waiting: usize) -> Result<bool, Failure> {
        until(async || {
            let meeting = self.meeting(id).await?;
            Ok(meeting.is_some_and(|meeting| (meeting.inside, meeting.waiting) == (inside, waiting)))
        })
        .await
    }

    /// Whether, within a few seconds, a meeting has begun with its organiser in it.
    pub async fn is_led(&self, id: &str) -> Result<bool, Failure> {
        let is_organiser =
            |leg: &LegView| leg.meeting.as_deref() == Some(id) && leg.role.as_deref() == Some("organiser");
        until(async || {
            let started = self.meeting(id).await?.is_some_and(|meeting| meeting.started);
            Ok(started && self.legs().await?.iter().any(is_organiser))
        })
        .await
    }

    /// Has a meeting ring a phone.
    pub async fn dial(&self, meeting: &str, to: &str) -> Result<Told, Failure> {
        let to: E164 = to.parse().map_err(|_| Failure(format!("{to} is no number")))?;
        self.ask(Ask::Dial { meeting: meeting.parse()?, to }).await
    }

    pub async fn balance(&self, organisation: &str) -> Result<Balance, Failure> {
        Ok(self.store.balance(&organisation.parse()?).await?)
    }

    /// Whether, within a few seconds, every leg is over and its account closed.
    pub async fn is_quiet(&self) -> Result<bool, Failure> {
        until(async || Ok(self.legs().await?.is_empty() && self.store.live_legs().await?.is_empty())).await
    }
}

/// Looks again and again whether something has come to pass.
pub(super) async fn until(what: impl AsyncFn() -> Result<bool, Failure>) -> Result<bool, Failure> {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !what().await? {
        if tokio::time::Instant::now() >= end {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(true)
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

fn settings(folder: &Path) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    settings.sip.listen = vec![Listen { transport: Transport::Udp, address: any_port() }];
    settings.api.listen = any_port();
    settings.media.ports = PORTS.parse()?;
    settings.store_url = format!("sqlite:{}", folder.join("tollbridge.db").display());
    Ok(settings)
}

fn carrier(route: Option<SocketAddr>) -> String {
    let route = route.map(|route| format!("route = \"udp:{route}\"\n")).unwrap_or_default();
    format!("[[carrier]]\nid = \"exchange\"\nsources = [\"127.0.0.1\"]\ncodecs = [\"PCMA\", \"PCMU\"]\n{route}")
}

async fn apply(store: &Store, text: &str) -> Result<(), Failure> {
    let told =
        |mistakes: Vec<Mistake>| Failure(mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    let document = Document::parse("house.toml", text, |_| Ok(price::deck())).map_err(told)?;
    store.apply(document, clock::wall()).await?.map_err(told)?;
    Ok(())
}
