//! A wire between the books and PostgreSQL that can be cut at a chosen statement, fall silent, or be pulled out: what a
//! network and a server that dies do to whoever writes, at a moment that a test names.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What becomes of the statement at which the wire is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It never arrives.
    Before,
    /// It is done, and its answer is lost.
    After,
    /// It is done, and the wire falls silent: its answer comes when the wire is mended.
    Hold,
    /// The wire falls silent with the statement on it: it arrives when the wire is mended, however late that is.
    Keep,
}

/// At which statement of the next transaction that is begun: BEGIN is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Statement(u32),
    Commit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sound,
    /// Connections are taken and stay; nothing passes. A network that swallows packets.
    Silent,
    /// What fell silent stays so, and what is connected from now on is sound: who is lost is brought back, if at all, much
    /// later than others.
    Anew,
    /// Connections end, and new ones end at once. A server that is gone.
    Out,
}

#[derive(Debug, Default)]
struct Order {
    cut: Option<(At, Cut)>,
    /// The connection on which the transaction is, by its client: beside it others read, and are left alone.
    on: Option<SocketAddr>,
    seen: u32,
}

/// The wire; it is pulled out for good when this is dropped.
#[derive(Debug)]
pub struct Wire {
    state: watch::Sender<State>,
    order: Arc<Mutex<Order>>,
    near: SocketAddr,
    door: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.pull_out();
        self.door.abort();
    }
}

impl Wire {
    /// A wire to the server that `url` names; on the runtime of whoever asks.
    pub async fn to(url: &str) -> Wire {
        let far: SocketAddr = host(url).parse().expect("a server by its address");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = listener.local_addr().unwrap();
        let (state, _) = watch::channel(State::Sound);
        let order = Arc::new(Mutex::new(Order::default()));
        let (states, orders) = (state.clone(), order.clone());
        let door = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, far, states.clone(), orders.clone()));
            }
        });
        Wire { state, order, near, door }
    }

    /// The same database by way of the wire.
    pub fn url(&self, url: &str) -> String {
        url.replacen(host(url), &self.near.to_string(), 1)
    }

    /// Cuts the connection on which the statement comes; whatever is connected after it is sound.
    pub fn cut(&self, at: At, cut: Cut) {
        *self.order.lock().unwrap() = Order { cut: Some((at, cut)), ..Order::default() };
    }

    /// Takes the order back: whether it had been carried out.
    pub fn was_cut(&self) -> bool {
        self.order.lock().unwrap().cut.take().is_none()
    }

    pub fn fall_silent(&self) {
        self.state.send_replace(State::Silent);
    }

    /// Whoever connects from now on gets through; what was connected before does not, until the wire is mended.
    pub fn carry_others(&self) {
        self.state.send_replace(State::Anew);
    }

    pub fn pull_out(&self) {
        self.state.send_replace(State::Out);
    }

    pub fn mend(&self) {
        self.state.send_replace(State::Sound);
    }
}

/// Whoever is cut off asks again after this.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// A while in which a wire does what it does.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// `None` where it does not come to pass by then.
pub async fn within<T>(time: Duration, what: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(time, what).await.ok()
}

/// For who measures how long a wire has held them.
pub fn moment() -> Instant {
    Instant::now()
}

/// `host:port` of an address.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['/', '?']).next().unwrap_or_default();
    rest.rsplit_once('@').map_or(rest, |(_, host)| host)
}

/// One connection, until either side, or the wire, ends it.
async fn carry(mut client: TcpStream, far: SocketAddr, state: watch::Sender<State>, order: Arc<Mutex<Order>>) {
    let mut states = state.subscribe();
    // Whoever is dropped here sees a connection that ended without a word.
    let Ok(born) = states.wait_for(|state| *state != State::Silent).await.map(|state| *state) else { return };
    if born == State::Out {
        return;
    }
    let is_open = |state: State| state == State::Sound || state == State::Anew && born == State::Anew;
    let Ok(from) = client.peer_addr() else { return };
    let Ok(mut server) = TcpStream::connect(far).await else { return };
    let mut said = Said::default();
    let (mut asked, mut told) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    let mut is_cut = false;
    loop {
        let now = *states.borrow_and_update();
        let passes = is_open(now);
        if now == State::Out {
            return;
        }
        tokio::select! {
            _ = states.changed() => {}
            read = client.read(&mut asked), if passes => {
                let Ok(count @ 1..) = read else { return };
                said.rest.extend_from_slice(&asked[..count]);
                while let Some((statement, bytes)) = said.next() {
                    let cut = statement.and_then(|word| due(&order, from, word));
                    if cut == Some(Cut::Keep) {
                        state.send_replace(State::Silent);
                        if states.wait_for(|state| is_open(*state)).await.is_err() {
                            return;
                        }
                    }
                    if cut == Some(Cut::Before) || server.write_all(&bytes).await.is_err() {
                        return;
                    }
                    is_cut |= cut == Some(Cut::After);
                    if cut == Some(Cut::Hold) {
                        state.send_replace(State::Silent);
                    }
                }
            }
            read = server.read(&mut told), if passes => {
                let Ok(count @ 1..) = read else { return };
                // The answer has come this far, so it was done.
                if is_cut || client.write_all(&told[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Counts a statement, and tells whether it is the one.
fn due(order: &Mutex<Order>, from: SocketAddr, word: Word) -> Option<Cut> {
    let mut order = order.lock().unwrap();
    if order.on.is_none() && word == Word::Begin {
        order.on = Some(from);
    }
    if order.on != Some(from) {
        return None;
    }
    order.seen += 1;
    let (at, cut) = order.cut?;
    let is_due = match at {
        At::Statement(number) => order.seen == number,
        At::Commit => word == Word::Commit,
    };
    is_due.then(|| order.cut = None).map(|()| cut)
}

/// A statement, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Begin,
    Commit,
    Other,
}

/// What a client says: whole messages, as PostgreSQL's protocol frames them (its manual, 55.7).
#[derive(Debug, Default)]
struct Said {
    rest: Vec<u8>,
    has_begun: bool,
}

/// "Speak TLS?", before the first message.
const WANTS_TLS: u32 = 80_877_103;

impl Said {
    /// What may be passed on, up to the end of a statement: its bytes, and which.
    fn next(&mut self) -> Option<(Option<Word>, Vec<u8>)> {
        if !self.has_begun {
            let length = self.number(0)? as usize;
            if self.rest.len() < length {
                return None;
            }
            self.has_begun = self.number(4)? != WANTS_TLS;
            return Some((None, self.rest.drain(..length).collect()));
        }
        let mut end = 0;
        loop {
            let kind = *self.rest.get(end)?;
            let length = self.number(end + 1)? as usize;
            let start = end;
            end += 1 + length;
            if self.rest.len() < end {
                return None;
            }
            match kind {
                // A query in one piece, or the end of one in several.
                b'Q' | b'S' => {
                    let word = match &self.rest[start + 5..end] {
                        // The first question of a transaction may come along with it.
                        text if text.starts_with(b"BEGIN") => Word::Begin,
                        b"COMMIT\0" => Word::Commit,
                        _ => Word::Other,
                    };
                    return Some((Some(word), self.rest.drain(..end).collect()));
                }
                // A password, or good-bye.
                b'p' | b'X' => return Some((None, self.rest.drain(..end).collect())),
                _ => {}
            }
        }
    }

    fn number(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.rest.get(at..at + 4)?.try_into().ok()?))
    }
}
