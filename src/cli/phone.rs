//! An exchange with telephones, for trying a bridge out: a carrier in small, with real SIP and RTP over real sockets.
//! The test caller, the demo and the tests of a whole node all speak to the bridge through it.

use super::sound::{Sound, Voice};
use crate::clock::Now;
use crate::media::sdp::{self, Ours, Prefer};
use crate::media::{Codec, Direction};
use crate::sip::dns::io::Servers;
use crate::sip::io::Sip;
use crate::sip::message::phrase;
use crate::sip::{
    self, Asked, Call, Command, Dial, Event, Flow, Identity, Invitation, Login, Reason, Refusal, Transport, Uri,
};
use bytes::Bytes;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Both laws, the European first.
pub const CODECS: &[Codec] = &[Codec::Pcma, Codec::Pcmu];
/// A call that gets no final answer by then has failed: longer than a lobby needs, shorter than a test's patience.
const PATIENCE: Duration = Duration::from_secs(40);
/// Calls that wait to be taken from [`Exchange::incoming`]; more are refused as busy.
const WAITING: usize = 1024;

/// Why a call did not come about, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// SIP status of a refusal; 0 for a BYE.
    pub status: u16,
    pub reason: Option<Reason>,
}

/// `403 Forbidden (Q.850 21, no credit)`, `BYE (Q.850 16)`.
impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            0 => f.write_str("BYE")?,
            status => write!(f, "{status} {}", phrase(status))?,
        }
        let Some(reason) = &self.reason else { return Ok(()) };
        let cause = reason.q850.map(|cause| format!("Q.850 {cause}"));
        let text = Some(reason.text.clone()).filter(|text| !text.is_empty());
        let why: Vec<String> = cause.into_iter().chain(text).collect();
        if why.is_empty() { Ok(()) } else { write!(f, " ({})", why.join(", ")) }
    }
}

type Lines = Mutex<HashMap<Call, UnboundedSender<Event>>>;

struct Inner {
    orders: UnboundedSender<Command>,
    local: SocketAddr,
    trunk: Flow,
    lines: Lines,
    next: AtomicU64,
    codecs: Vec<Codec>,
}

/// A carrier's exchange.
#[derive(Clone)]
pub struct Exchange {
    inner: Arc<Inner>,
    waiting: Arc<tokio::sync::Mutex<mpsc::Receiver<Rung>>>,
    /// What its calls are proven with, where the bridge asks.
    login: Option<Arc<Login>>,
}

impl Exchange {
    /// Listens at `local` (port 0: any) and calls the bridge at `trunk`.
    pub async fn start(local: SocketAddr, trunk: SocketAddr, seed: u64) -> Result<Exchange, sip::io::Error> {
        Exchange::over(Transport::Udp, local, trunk, CODECS, seed).await
    }

    /// The same over a transport and with codecs of one's choice.
    pub async fn over(
        transport: Transport,
        local: SocketAddr,
        trunk: SocketAddr,
        codecs: &[Codec],
        seed: u64,
    ) -> Result<Exchange, sip::io::Error> {
        let config = sip::Config {
            max_calls: 20_000,
            max_transactions: 200_000,
            product: "tollbridge-phone".into(),
            retry_after_s: 1,
            session_s: 0,
            trying_s: 0,
            is_focus: false,
            pace: sip::Pace::default(),
        };
        let (sip, events) =
            Sip::start(vec![(transport, local)], None, 0, Servers::These(Vec::new()), config, rand::random())?;
        let local = sip.local(transport).unwrap_or(local);
        let (orders, ordered) = mpsc::unbounded_channel();
        sip.command(Command::Sources(everybody().to_vec())).await;
        tokio::spawn(pass_on(sip, ordered));
        let trunk = Flow { transport, local, peer: trunk };
        let (lines, next, codecs) = (Lines::default(), AtomicU64::new(seed << 20), codecs.to_vec());
        let inner = Arc::new(Inner { orders, local, trunk, lines, next, codecs });
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(sort(Arc::downgrade(&inner), events, queue));
        Ok(Exchange { inner, waiting: Arc::new(tokio::sync::Mutex::new(waiting)), login: None })
    }

    pub fn local(&self) -> SocketAddr {
        self.inner.local
    }

    /// The same exchange, its calls proven with this name and password where the bridge asks for them.
    pub fn proving(self, login: Login) -> Exchange {
        Exchange { login: Some(Arc::new(login)), ..self }
    }

    /// From now on the bridge's calls are asked for this name and password.
    pub fn ask(&self, login: Login) {
        let asked = Asked { login, from: everybody().to_vec(), options: false, sha256: true, md5: true };
        self.inner.order(Command::Asked(vec![asked]));
    }

    /// Calls `to` (a number, as the carrier writes it) from `from`; comes back when the bridge has answered or refused.
    pub async fn call(&self, from: &str, to: &str) -> Result<Phone, Ended> {
        self.place(from, to).await?.answered().await
    }

    /// Sends the INVITE and does not wait.
    pub async fn place(&self, from: &str, to: &str) -> Result<Phone, Ended> {
        self.place_with(from, to, Vec::new()).await
    }

    /// The same with further headers.
    pub async fn place_with(&self, from: &str, to: &str, headers: Vec<(String, String)>) -> Result<Phone, Ended> {
        let number = self.inner.next.fetch_add(1, Ordering::Relaxed);
        let sound = self.sound(number).await?;
        let call = Call::outbound(number);
        let signals = self.inner.open(call);
        let (peer, local) = (self.inner.trunk.peer, self.inner.local);
        let (call_id, journal) = (String::new(), String::new());
        let phone = Phone { inner: self.inner.clone(), call, signals, sound, call_id, journal, plan: None, version: 1 };
        let identity = Identity::draw(&mut rand::rng());
        let dial = Dial {
            call,
            identity: identity.clone(),
            flow: self.inner.trunk,
            carrier: None,
            contact: local,
            request_uri: format!("sip:{to}@{peer}"),
            from: format!("<sip:{from}@{}>", Uri::sip("", local).host()),
            to: format!("<sip:{to}@{peer}>"),
            headers,
            offer: sdp::offer(&phone.ours()),
            ring_ms: 60_000,
            holds_ack: false,
            may_transfer: true,
            login: self.login.clone(),
        };
        self.inner.order(Command::Dial(Box::new(dial)));
        Ok(Phone { call_id: identity.call_id, ..phone })
    }

    /// The next call that the bridge makes to this exchange, ringing.
    pub async fn incoming(&self, patience: Duration) -> Option<Incoming> {
        let (invitation, signals) = tokio::time::timeout(patience, self.waiting.lock().await.recv()).await.ok()??;
        Some(Incoming { exchange: self.clone(), invitation, signals })
    }

    async fn sound(&self, seed: u64) -> Result<Sound, Ended> {
        sound_at(self.inner.local.ip(), seed).await
    }
}

async fn sound_at(ip: IpAddr, seed: u64) -> Result<Sound, Ended> {
    let failed = |error: std::io::Error| Ended {
        status: 500,
        reason: Some(Reason { q850: None, sip: None, text: format!("no port for sound: {error}") }),
    };
    Sound::start(ip, seed as u32).await.map_err(failed)
}

impl Inner {
    /// Carried out in order; nothing where the exchange has stopped.
    fn order(&self, command: Command) {
        let _ = self.orders.send(command);
    }

    fn open(&self, call: Call) -> UnboundedReceiver<Event> {
        let (tell, signals) = mpsc::unbounded_channel();
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).insert(call, tell);
        signals
    }
}

/// An exchange listens to whoever speaks to it.
fn everybody() -> [sip::Source; 2] {
    let all = |network| sip::Source { prefix_len: 0, ..sip::Source::at(network) };
    [all(IpAddr::from([0, 0, 0, 0])), all(IpAddr::from([0u16; 8]))]
}

/// Passes what telephones want to the endpoint, until the exchange is dropped.
async fn pass_on(sip: Sip, mut ordered: UnboundedReceiver<Command>) {
    while let Some(command) = ordered.recv().await {
        if !sip.command(command).await {
            return;
        }
    }
    sip.stop().await;
}

/// Hands each event to its telephone.
async fn sort(inner: std::sync::Weak<Inner>, mut events: mpsc::Receiver<(Now, Event)>, queue: mpsc::Sender<Rung>) {
    while let Some((_, event)) = events.recv().await {
        let Some(inner) = inner.upgrade() else { return };
        let Some(call) = event.call() else { continue };
        if let Event::Invited(invitation) = event {
            inner.order(Command::Ring { call, status: 180, answer: None });
            // Its line is open from the first ring on: a caller who gives up at once is heard too.
            let signals = inner.open(call);
            if queue.try_send((invitation, signals)).is_err() {
                inner.order(Command::Refuse { call, refusal: Refusal::plain(486) });
            }
            continue;
        }
        let mut lines = inner.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = matches!(event, Event::Released { .. });
        // A telephone that was dropped hears no more; its line is closed with the call.
        let heard = lines.get(&call).is_some_and(|line| line.send(event).is_ok());
        if gone || !heard {
            lines.remove(&call);
        }
    }
}

/// A call that came in, with what happens to it.
type Rung = (Box<Invitation>, UnboundedReceiver<Event>);

/// A call from the bridge that rings here.
pub struct Incoming {
    exchange: Exchange,
    pub invitation: Box<Invitation>,
    signals: UnboundedReceiver<Event>,
}

impl Incoming {
    pub async fn answer(self) -> Result<Phone, Ended> {
        let (phone, answer) = self.pick_up().await?;
        phone.inner.order(Command::Accept { call: phone.call, answer });
        Ok(phone)
    }

    /// Plays something first (a 183 with an answer), changes its mind about the sound, and picks up then.
    pub async fn answer_changed(self, direction: Direction) -> Result<Phone, Ended> {
        let (mut phone, answer) = self.pick_up().await?;
        phone.inner.order(Command::Ring { call: phone.call, status: 183, answer: Some(answer.clone()) });
        // What is refused is asked again: the bridge may not have heard of the answer yet.
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            match phone.change(direction).await {
                Err(Ended { status: 491, .. }) if Instant::now() < until => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                changed => break changed?,
            }
        }
        phone.inner.order(Command::Accept { call: phone.call, answer });
        Ok(phone)
    }

    /// Is heard before it picks up: a 183 with its answer.
    pub async fn announce(self) -> Result<Announcing, Ended> {
        let (exchange, offer) = (self.exchange.clone(), self.invitation.offer.clone().unwrap_or_default());
        let (phone, answer) = self.pick_up().await?;
        phone.inner.order(Command::Ring { call: phone.call, status: 183, answer: Some(answer.clone()) });
        Ok(Announcing { exchange, phone, offer, answer })
    }

    /// The telephone that it will be, and its answer.
    async fn pick_up(self) -> Result<(Phone, Bytes), Ended> {
        let inner = self.exchange.inner.clone();
        let call = self.invitation.call;
        let sound = self.exchange.sound(inner.next.fetch_add(1, Ordering::Relaxed)).await?;
        let signals = self.signals;
        let (call_id, journal) = (self.invitation.call_id.clone(), self.invitation.journal.clone());
        let mut phone = Phone { inner, call, signals, sound, call_id, journal, plan: None, version: 1 };
        let offer = self.invitation.offer.clone().unwrap_or_default();
        let agreed = sdp::answer(&offer, &phone.ours());
        let (answer, plan) = agreed.map_err(|error| {
            phone.inner.order(Command::Refuse { call, refusal: Refusal::plain(488) });
            let reason = Some(Reason { q850: None, sip: None, text: error.to_string() });
            Ended { status: 488, reason }
        })?;
        phone.agreed(plan);
        Ok((phone, answer))
    }

    /// Refuses: 486 is busy, 603 declined.
    pub fn refuse(self, status: u16) {
        self.refuse_as(Refusal::plain(status));
    }

    /// With a reason, or a time for the next try.
    pub fn refuse_as(self, refusal: Refusal) {
        self.exchange.inner.order(Command::Refuse { call: self.invitation.call, refusal });
    }

    /// Waits for the bridge to cancel.
    pub async fn cancelled(mut self, patience: Duration) -> bool {
        let wait = async {
            while let Some(event) = self.signals.recv().await {
                if matches!(event, Event::Cancelled { .. }) {
                    return true;
                }
            }
            false
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(false)
    }
}

/// A call from the bridge that rings here, and is heard there.
pub struct Announcing {
    exchange: Exchange,
    pub phone: Phone,
    offer: Bytes,
    answer: Bytes,
}

impl Announcing {
    /// One more 183, whose sound comes from somewhere else.
    pub async fn elsewhere(&self) -> Result<Sound, Ended> {
        let inner = &self.phone.inner;
        let sound = self.exchange.sound(inner.next.fetch_add(1, Ordering::Relaxed)).await?;
        let (ip, port) = (sound.local().ip(), sound.local().port());
        let agreed = sdp::answer(&self.offer, &Ours { addresses: ip.into(), port, ..self.phone.ours() });
        let (answer, plan) = agreed.map_err(|_| Ended { status: 488, reason: None })?;
        sound.talk_to(plan);
        inner.order(Command::Ring { call: self.phone.call, status: 183, answer: Some(answer) });
        Ok(sound)
    }

    pub fn answer(self) -> Phone {
        let Announcing { phone, answer, .. } = self;
        phone.inner.order(Command::Accept { call: phone.call, answer });
        phone
    }

    pub fn refuse(self, status: u16) {
        self.phone.inner.order(Command::Refuse { call: self.phone.call, refusal: Refusal::plain(status) });
    }
}

/// One telephone in a call.
pub struct Phone {
    inner: Arc<Inner>,
    call: Call,
    signals: UnboundedReceiver<Event>,
    pub sound: Sound,
    pub call_id: String,
    /// What names the call on both sides, once it is answered.
    journal: String,
    plan: Option<crate::media::Plan>,
    version: u64,
}

impl Phone {
    fn ours(&self) -> Ours<'_> {
        let local = self.sound.local();
        Ours {
            addresses: local.ip().into(),
            port: local.port(),
            origin: self.inner.local.ip(),
            session: 1,
            version: self.version,
            codecs: &self.inner.codecs,
            comfort_noise: false,
            events: true,
            direction: Direction::SendRecv,
            prefer: Prefer::Theirs,
            before: None,
        }
    }

    fn agreed(&mut self, plan: crate::media::Plan) {
        self.plan = Some(plan);
        self.sound.talk_to(plan);
    }

    /// Waits for the answer to [`Exchange::place`].
    pub async fn answered(mut self) -> Result<Phone, Ended> {
        let silence = Ended { status: 408, reason: None };
        loop {
            let event = tokio::time::timeout(PATIENCE, self.signals.recv()).await;
            match event.ok().flatten().ok_or_else(|| silence.clone())? {
                Event::Answered { answer, journal, .. } => {
                    self.journal = journal;
                    let body = answer.unwrap_or_default();
                    let plan = sdp::accept(&body, &self.ours());
                    let Ok(plan) = plan else { return Err(Ended { status: 488, reason: None }) };
                    self.agreed(plan);
                    return Ok(self);
                }
                Event::Failed { status, reason, .. } => return Err(Ended { status, reason }),
                _ => {}
            }
        }
    }

    /// Where the bridge receives this telephone's sound.
    pub fn far_sound(&self) -> Option<SocketAddr> {
        self.plan.map(|plan| plan.remote)
    }

    pub fn say(&self, voice: Voice) {
        self.sound.say(voice);
    }

    /// Presses keys and waits until the last one is released.
    pub async fn press(&self, keys: &str) {
        self.sound.press(keys);
        while self.sound.is_pressing() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Puts the bridge on hold (`sendonly`), or takes it back; waits until both agree.
    pub async fn hold(&mut self, on: bool) -> Result<(), Ended> {
        self.change(if on { Direction::SendOnly } else { Direction::SendRecv }).await
    }

    /// Goes on with its sound at another address of ours, silent at first; where the bridge does not take that, as before.
    pub async fn move_to(&mut self, ip: IpAddr) -> Result<(), Ended> {
        let sound = sound_at(ip, self.inner.next.fetch_add(1, Ordering::Relaxed)).await?;
        let before = std::mem::replace(&mut self.sound, sound);
        let moved = self.change(Direction::SendRecv).await;
        if moved.is_err() {
            self.sound = before;
        }
        moved
    }

    async fn change(&mut self, direction: Direction) -> Result<(), Ended> {
        self.version += 1;
        let offer = sdp::offer(&Ours { direction, ..self.ours() });
        self.inner.order(Command::Offer { call: self.call, offer });
        loop {
            let event = tokio::time::timeout(PATIENCE, self.signals.recv()).await.ok().flatten();
            match event {
                Some(Event::Agreed { answer, .. }) => {
                    let body = answer.unwrap_or_default();
                    let plan = sdp::accept(&body, &Ours { direction, ..self.ours() });
                    return plan.map(|plan| self.agreed(plan)).map_err(|_| Ended { status: 488, reason: None });
                }
                Some(Event::Disagreed { status, .. }) => return Err(Ended { status, reason: None }),
                Some(_) => {}
                None => return Err(Ended { status: 408, reason: None }),
            }
        }
    }

    /// The Replaces header of a call that is to take this one's place.
    pub fn replaces(&self) -> Option<String> {
        sip::replaces_of(&self.journal)
    }

    /// Asks the bridge to have somebody called: a Refer-To, as it stands in a REFER.
    pub fn refer(&self, to: &str) {
        self.inner.order(Command::Refer { call: self.call, to: to.to_owned() });
    }

    /// How the bridge says that goes: each status, up to the last one or to the end of the call.
    pub async fn referred(&mut self, patience: Duration) -> Vec<u16> {
        let mut told = Vec::new();
        let wait = async {
            while let Some(event) = self.signals.recv().await {
                match event {
                    Event::Transferring { status, is_last, .. } => {
                        told.push(status);
                        if is_last {
                            return;
                        }
                    }
                    Event::HungUp { .. } | Event::Released { .. } => return,
                    _ => {}
                }
            }
        };
        // What was told in time is what was told.
        let _ = tokio::time::timeout(patience, wait).await;
        told
    }

    /// Waits for the bridge to send this call elsewhere, and says how that goes; gives whom it was sent to.
    pub async fn sent_away(&mut self, answers: &[u16], patience: Duration) -> Option<String> {
        let wait = async {
            loop {
                if let Event::Referred(referral) = self.signals.recv().await? {
                    return Some(referral);
                }
            }
        };
        let sip::Referral { call, number, user, .. } = *tokio::time::timeout(patience, wait).await.ok().flatten()?;
        self.inner.order(Command::Consent { call, number });
        for status in answers {
            self.inner.order(Command::Report { call, number, status: *status, is_last: *status >= 200 });
        }
        Some(user)
    }

    /// Gives up a call that rings.
    pub fn cancel(&self) {
        self.inner.order(Command::Cancel { call: self.call, reason: None });
    }

    pub fn hang_up(&self) {
        self.inner.order(Command::HangUp { call: self.call, reason: None });
    }

    /// Waits for the bridge to end the call; `None` if it does not within `patience`.
    pub async fn ended(&mut self, patience: Duration) -> Option<Ended> {
        let wait = async {
            loop {
                match self.signals.recv().await? {
                    Event::HungUp { reason, .. } => return Some(Ended { status: 0, reason }),
                    Event::Failed { status, reason, .. } => return Some(Ended { status, reason }),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(patience, wait).await.ok().flatten()
    }

    /// Waits until our own BYE is through.
    pub async fn released(&mut self, patience: Duration) -> bool {
        let wait = async {
            while let Some(event) = self.signals.recv().await {
                if matches!(event, Event::Released { .. } | Event::HungUp { .. } | Event::Failed { .. }) {
                    return true;
                }
            }
            true
        };
        tokio::time::timeout(patience, wait).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_says_by_which_status_and_why() {
        let reason = |q850, text: &str| Some(Reason { q850, sip: None, text: text.to_owned() });
        for (status, reason, told) in [
            (403, reason(Some(21), "no credit"), "403 Forbidden (Q.850 21, no credit)"),
            (486, reason(Some(17), ""), "486 Busy Here (Q.850 17)"),
            (404, reason(None, "no such number"), "404 Not Found (no such number)"),
            (480, reason(None, ""), "480 Temporarily Unavailable"),
            (408, None, "408 Request Timeout"),
            (0, reason(Some(16), "hung up"), "BYE (Q.850 16, hung up)"),
        ] {
            assert_eq!(Ended { status, reason }.to_string(), told);
        }
    }
}
