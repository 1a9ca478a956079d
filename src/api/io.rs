//! The HTTP socket, and the clock.

use super::problem::Problem;
use super::{Reception, router};
use crate::clock::{self, Wall};
use crate::telemetry::name;
use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

/// When a request arrived: read once, and an argument from there on.
#[derive(Clone, Copy, Debug)]
pub struct Moment(pub Wall);

impl<S: Send + Sync> FromRequestParts<S> for Moment {
    type Rejection = Infallible;
    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Moment, Infallible> {
        Ok(Moment(clock::wall()))
    }
}

/// Where a request comes from, where that is known.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Peer, Infallible> {
        Ok(parts.extensions.get::<Peer>().copied().unwrap_or(Peer(None)))
    }
}

/// Work that takes long without waiting, beside the threads that calls need.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", error.to_string()))
}

/// Recordings in a folder that were last written before a moment: counted, or removed and counted. Other files stay. Where one
/// cannot be removed the count is of those before it, and the problem is told beside it.
pub async fn old_files(folder: PathBuf, until: Wall, dry_run: bool) -> Result<(u64, Option<Problem>), Problem> {
    let failed = move |place: &Path, error: std::io::Error| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "fault", format!("{}: {error}", place.display()))
    };
    let until = UNIX_EPOCH + Duration::from_micros(u64::try_from(until.micros()).unwrap_or(0));
    aside(move || {
        let mut found = 0;
        let mut look = || {
            let entries = match std::fs::read_dir(&folder) {
                Ok(entries) => entries,
                // Made with the first recording.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(failed(&folder, error)),
            };
            for entry in entries {
                let path = entry.map_err(|error| failed(&folder, error))?.path();
                let is_recording = path.extension().is_some_and(|end| RECORDINGS.iter().any(|known| end == *known));
                let about = std::fs::symlink_metadata(&path).map_err(|error| failed(&path, error))?;
                let written = about.modified().map_err(|error| failed(&path, error))?;
                if !is_recording || !about.is_file() || written >= until {
                    continue;
                }
                if !dry_run {
                    std::fs::remove_file(&path).map_err(|error| failed(&path, error))?;
                }
                found += 1;
            }
            Ok(())
        };
        let problem = look().err();
        (found, problem)
    })
    .await
}

/// How files of recordings end.
const RECORDINGS: [&str; 2] = ["wav", "opus"];

/// A body, in time: who sends half of one holds neither a connection nor the memory for it.
pub async fn in_time<T>(reading: impl Future<Output = T>) -> Result<T, Problem> {
    timeout(BODY, reading).await.map_err(|_| {
        dropped("slow");
        Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", format!("the body took longer than {} s", BODY.as_secs()))
    })
}

/// Connections at once. Each command makes one, a scraper and a dashboard keep theirs: that is some dozen; and a thousand
/// that nobody needs still leave file descriptors for calls.
const MOST_CONNECTIONS: usize = 512;
/// From the connection, or the end of the request before, to the end of the next one's head: seconds for a person who
/// types it, and longer than a client keeps an idle connection that it means to use.
const HEAD: Duration = Duration::from_secs(30);
/// For a body: the largest file at 1 MiB a second.
const BODY: Duration = Duration::from_secs(64);
/// A client that takes no byte of its answer for so long is gone.
const UNREAD: Duration = Duration::from_secs(30);
/// When the bridge stops: for requests that are being answered.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Out of file descriptors, most likely: others must close first.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What all clients together may keep of us. The constants, but in tests.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connections: usize,
    head: Duration,
}

const LIMITS: Limits = Limits { connections: MOST_CONNECTIONS, head: HEAD };

fn dropped(why: &'static str) {
    metrics::counter!(name::API_DROPPED, "why" => why).increment(1);
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
        Api::serve(listener, router(reception), LIMITS)
    }

    fn serve(listener: TcpListener, router: Router, limits: Limits) -> std::io::Result<Api> {
        let local = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(take_connections(listener, router, limits, stopped));
        Ok(Api { local, stop, task })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Takes no more requests, and returns when those at work are answered, or have had `LAST_WORDS`.
    pub async fn stop(self) {
        // Where the task has ended there is nothing to stop; its panic was told by the hook.
        let _ = self.stop.send(());
        let _ = self.task.await;
    }
}

async fn take_connections(listener: TcpListener, router: Router, limits: Limits, mut stopped: oneshot::Receiver<()>) {
    let mut http = hyper::server::conn::http1::Builder::new();
    // Also while a connection idles between two requests.
    http.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        metrics::gauge!(name::API_CONNECTIONS).set(connections.len() as u32);
        let (stream, peer) = tokio::select! {
            biased;
            // Told to stop, or forgotten: both end it.
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => (stream, Peer(Some(from.ip()))),
                Err(_) => {
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            },
        };
        if connections.len() >= limits.connections {
            dropped("full");
            continue;
        }
        // Where the system does not know it, only the answer to a client that never reads is not bounded.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(UNREAD));
        let pages = TowerToHyperService::new(router.clone());
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            pages.call(request)
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service));
        connections.spawn(async move {
            if connection.await.is_err_and(|error| error.is_timeout()) {
                dropped("silent");
            }
        });
    }
    drop(listener);
    // Who is not done by then is cut off with the set.
    let _ = timeout(LAST_WORDS, graceful.shutdown()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    /// Nothing here takes so long; what does has failed.
    const PATIENCE: Duration = Duration::from_secs(30);
    const SHORT: Limits = Limits { connections: 4, head: Duration::from_millis(200) };
    const ASK: &[u8] = b"GET /live HTTP/1.1\r\nHost: h\r\n\r\n";

    async fn api(limits: Limits) -> Api {
        let router = Router::new().route("/live", axum::routing::get(async || "live"));
        Api::serve(Api::bind("127.0.0.1:0".parse().unwrap()).await.unwrap(), router, limits).unwrap()
    }

    async fn connect(api: &Api) -> TcpStream {
        TcpStream::connect(api.local()).await.unwrap()
    }

    /// What comes until the other side closes.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = Vec::new();
        // A connection that is reset is closed too.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut text)).await.expect("it is never closed");
        String::from_utf8(text).unwrap()
    }

    /// Asks once and leaves the connection open.
    async fn ask(stream: &mut TcpStream) -> bool {
        let mut seen = Vec::new();
        if stream.write_all(ASK).await.is_err() {
            return false;
        }
        while !seen.ends_with(b"live") {
            match timeout(PATIENCE, stream.read_buf(&mut seen)).await.expect("an answer") {
                Ok(1..) => {}
                _ => return false,
            }
        }
        true
    }

    #[tokio::test]
    async fn old_recordings_go_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        for name in ["old.wav", "new.opus", "old.txt"] {
            std::fs::write(place(name), "x").unwrap();
        }
        std::fs::create_dir(place("deep.wav")).unwrap();
        let long_ago = UNIX_EPOCH + Duration::from_secs(1_000);
        for name in ["old.wav", "old.txt"] {
            std::fs::File::options().write(true).open(place(name)).unwrap().set_modified(long_ago).unwrap();
        }
        let until = Wall::from_seconds(2_000);
        let old = |dry_run| old_files(folder.path().to_owned(), until, dry_run);
        let old = async |dry_run| old(dry_run).await.unwrap().0;
        assert_eq!((old(true).await, place("old.wav").exists()), (1, true));
        assert_eq!((old(false).await, place("old.wav").exists()), (1, false));
        assert!(place("new.opus").exists() && place("old.txt").exists() && place("deep.wav").exists());
        assert!(matches!(old_files(place("none"), until, false).await, Ok((0, None))));
        assert!(matches!(old_files(place("new.opus"), until, false).await, Ok((0, Some(_)))), "it is no folder");
    }

    #[tokio::test]
    async fn who_says_nothing_or_half_a_request_is_let_go() {
        let api = api(SHORT).await;
        for said in [&b""[..], b"GET /li", b"GET /live HTTP/1.1\r\nHost: h\r\nX: "] {
            let mut stream = connect(&api).await;
            stream.write_all(said).await.unwrap();
            assert!(!rest(&mut stream).await.contains("200"));
        }
        // Nor may a connection idle for ever after its first request.
        let mut idle = connect(&api).await;
        assert!(ask(&mut idle).await);
        assert_eq!(rest(&mut idle).await, "");
        api.stop().await;
    }

    #[tokio::test]
    async fn there_is_an_end_to_connections() {
        let api = api(Limits { head: PATIENCE, ..SHORT }).await;
        let mut held = Vec::new();
        for _ in 0..SHORT.connections {
            let mut stream = connect(&api).await;
            assert!(ask(&mut stream).await);
            held.push(stream);
        }
        assert_eq!(rest(&mut connect(&api).await).await, "", "one too many");
        assert!(ask(&mut held[0]).await, "the others are served on");
        drop(held.pop());
        // The place is free as soon as the server has seen it.
        while !ask(&mut connect(&api).await).await {}
        api.stop().await;
    }

    #[tokio::test]
    async fn a_stop_waits_for_answers_and_not_for_idlers() {
        let api = api(Limits { head: PATIENCE, ..SHORT }).await;
        let (mut idle, local) = (connect(&api).await, api.local());
        assert!(ask(&mut idle).await);
        timeout(PATIENCE, api.stop()).await.expect("it stops");
        assert_eq!(rest(&mut idle).await, "");
        assert!(TcpStream::connect(local).await.is_err());
    }
}
