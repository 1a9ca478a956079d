//! Between the books and the post: what is due out, what came of it back. Neither knows the other.

use crate::clock::Now;
use crate::notice::Input;
use crate::notice::io::{Inbox, Want};
use crate::store::{AlertSettings, Claim, Store};
use crate::switchboard::io::Handle;
use tokio::sync::mpsc;

pub(super) struct Postman {
    pub store: Store,
    pub inbox: Inbox,
    pub switchboard: Handle,
    /// Whom the house wants told.
    pub house: AlertSettings,
}

impl Postman {
    /// Walks until the office is closed.
    pub async fn walk(self, mut wants: mpsc::Receiver<(Now, Want)>) {
        if let Err(error) = self.store.switch_on_house_hooks().await {
            tracing::error!(%error, "the house's webhooks may still be switched off");
        }
        let mut outbox = self.store.outbox();
        loop {
            tokio::select! {
                biased;
                want = wants.recv() => match want {
                    Some((now, want)) => self.serve(now, want).await,
                    None => return,
                },
                Ok(()) = outbox.changed() => drop(self.inbox.put(Input::Written).await),
            }
        }
    }

    async fn serve(&self, now: Now, want: Want) {
        match want {
            Want::Fetch { letters, payments } => {
                let room = |room: usize| u32::try_from(room).unwrap_or(u32::MAX);
                let (letters, payments) = (room(letters), room(payments));
                let claim = Claim { now: now.wall, letters, payments, house: self.house.clone() };
                let input = match self.store.claim(claim).await {
                    Ok(claimed) => Input::Fetched { errands: claimed.errands, next: claimed.next },
                    Err(error) => {
                        tracing::error!(%error, "the books did not say what is to be told");
                        Input::NotFetched
                    }
                };
                // An office that is closed has no use for it.
                let _ = self.inbox.put(input).await;
            }
            Want::Tell(report) => match self.store.report(report, now.wall).await {
                Ok(None) => {}
                Ok(Some(organisation)) => {
                    tracing::info!(%organisation, "recharged");
                    self.switchboard.paid_in();
                }
                // It is given out again when its time is up: a repeat has the same id, a payment the same key.
                Err(error) => tracing::error!(%error, "what came of a notice was not written"),
            },
        }
    }
}
