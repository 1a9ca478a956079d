//! The HTTP socket, and the clock.

use super::problem::Problem;
use super::{Reception, router};
use crate::clock::{self, Wall};
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// When a request arrived: read once, and an argument from there on.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub Wall);

impl<S: Send + Sync> FromRequestParts<S> for Moment {
    type Rejection = Infallible;
    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Moment, Infallible> {
        Ok(Moment(clock::wall()))
    }
}

/// Work that takes long without waiting, beside the threads that calls need.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", error.to_string()))
}

/// The running reception.
#[derive(Debug)]
pub struct Api {
    local: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Api {
    /// Takes the address; nothing is answered before [`Api::start`].
    pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
        TcpListener::bind(address).await
    }

    pub fn start(listener: TcpListener, reception: Reception) -> std::io::Result<Api> {
        let local = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = axum::serve(listener, router(reception)).with_graceful_shutdown(async {
            // Told to stop, or forgotten: both end it.
            let _ = stopped.await;
        });
        let task = tokio::spawn(async move {
            if let Err(error) = serve.await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        Ok(Api { local, stop, task })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.abort();
    }
}
