//! rsipstack, a SIP stack by other people, in this process: told at any moment to do anything, and it shows what it saw of a call,
//! message by message and as its own dialog. Of ours it has the sound and its description, which it knows nothing of.

mod asks;
mod called;
mod calls;
mod crowd;
mod offers;
mod sound;

use crate::baresip::{sign, speak_tls};
use crate::digest::LOGIN;
use crate::linphone::known;
use crate::world::World;
use crate::{bridge, bridge_with};
use rsipstack::EndpointBuilder;
use rsipstack::dialog::DialogId;
use rsipstack::dialog::authenticate::Credential;
use rsipstack::dialog::dialog::{DialogState, DialogStateReceiver};
use rsipstack::dialog::dialog_layer::DialogLayer;
use rsipstack::dialog::invitation::InviteOption;
use rsipstack::dialog::invite_dialog::InviteDialog;
use rsipstack::platform::CancellationToken;
use rsipstack::sip::{
    self, Header, HeadersExt, Method, Request, Response, SipMessage, StatusCode, StatusCodeKind, Uri,
};
use rsipstack::transaction::endpoint::MessageInspector;
use rsipstack::transaction::key::{TransactionKey, TransactionRole};
use rsipstack::transaction::transaction::Transaction;
use rsipstack::transaction::{TransactionReceiver, make_tag};
use rsipstack::transport::udp::UdpConnection;
use rsipstack::transport::{SipAddr, TcpListenerConnection, TlsConfig, TlsListenerConnection, TransportLayer};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tollbridge::cli::phone::CODECS;
use tollbridge::cli::sound::Sound;
use tollbridge::media::Direction;
use tollbridge::media::sdp::{self, Ours, Prefer};
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::LegId;

const NUMBER: &str = "+390644444444";
const CALLED: &str = "+390699999999";
/// Of its certificate.
const NAME: &str = "peer.carrier.example";
const SAYS_HZ: u32 = 500;
const HEARS_HZ: u32 = 700;
const PATIENCE: Duration = Duration::from_secs(15);
/// Of a race that may end either way: so many rounds at the most until it has, each with wider gaps.
const ROUNDS: u32 = 5;

/// Waits for what has to come.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// All that went over its wires, in its own words.
#[derive(Clone, Default)]
struct Wire {
    said: Arc<Mutex<Vec<(Way, SipMessage)>>>,
    /// By itself it acknowledges an answer at once, and has no way to say anything in that: here is what it says to the offer
    /// of the next one.
    answer: Arc<Mutex<Option<Answer>>>,
}

/// What is made of an offer.
type Answer = Box<dyn FnOnce(&[u8]) -> Vec<u8> + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Sent,
    Heard,
}

impl Wire {
    fn note(&self, way: Way, message: SipMessage) -> SipMessage {
        self.said.lock().unwrap().push((way, message.clone()));
        message
    }

    /// Puts the answer into an ACK where the 200 had an offer.
    fn with_answer(&self, mut message: SipMessage) -> SipMessage {
        if let SipMessage::Request(ack) = &mut message
            && ack.method == Method::Ack
            && let Some(answer) = self.answer.lock().unwrap().take()
        {
            let said = self.said.lock().unwrap();
            let Some((_, SipMessage::Response(offered))) = said.last() else { panic!("what it acknowledges") };
            ack.body = answer(&offered.body);
            ack.headers.unique_push(Header::ContentLength((ack.body.len() as u32).into()));
            ack.headers.extend(described());
        }
        message
    }
}

impl MessageInspector for Wire {
    fn before_send(&self, message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        self.note(Way::Sent, self.with_answer(message))
    }

    fn after_received(&self, message: SipMessage, _: Option<&SipAddr>) -> SipMessage {
        self.note(Way::Heard, message)
    }
}

/// `INVITE 2`, `200 INVITE 2`: what it is, with its CSeq.
fn word(message: &SipMessage) -> String {
    let cseq = message.cseq_header().unwrap();
    let (seq, method) = (cseq.seq().unwrap(), cseq.method().unwrap());
    match message {
        SipMessage::Request(_) => format!("{method} {seq}"),
        SipMessage::Response(response) => format!("{} {method} {seq}", response.status_code.code()),
    }
}

/// The bridge, and a folder: for TLS, certificates of one authority for both lie in it.
async fn bridge_over(transport: Transport) -> (World, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    if transport != Transport::Tls {
        return (bridge().await, folder);
    }
    sign(folder.path(), NAME);
    (bridge_with(|settings| speak_tls(settings, folder.path())).await, folder)
}

/// One of them, at an address of its own. It ends with its owner.
struct Stack {
    layer: Arc<DialogLayer>,
    local: SocketAddr,
    transport: Transport,
    bridge: SipAddr,
    wire: Wire,
    rung: UnboundedReceiver<(InviteDialog, DialogStateReceiver)>,
    /// What belongs to no call of its.
    asked: UnboundedReceiver<Transaction>,
    stop: CancellationToken,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stack {
    /// `folder`: where certificates are, for TLS.
    async fn start(world: &World, transport: Transport, ip: [u8; 4], folder: &Path) -> Stack {
        let stop = CancellationToken::new();
        let wires = TransportLayer::new(stop.clone());
        let local = match transport {
            Transport::Udp => {
                let udp =
                    UdpConnection::create_connection((ip, 0).into(), None, Some(stop.child_token())).await.unwrap();
                let local = udp.get_addr().get_socketaddr().unwrap();
                wires.add_transport(udp.into());
                local
            }
            Transport::Tcp => {
                let local = free(ip);
                wires.add_transport(TcpListenerConnection::new(local, None).await.unwrap().into());
                local
            }
            Transport::Tls => {
                let local = free(ip);
                let own = Some(fs::read(folder.join("phone.pem")).unwrap());
                let config = TlsConfig {
                    cert: own.clone(),
                    key: own.clone(),
                    client_cert: own.clone(),
                    client_key: own,
                    ca_certs: Some(fs::read(folder.join("authority.pem")).unwrap()),
                    sni_hostname: None,
                };
                wires.set_tls_config(config.clone());
                wires.add_transport(TlsListenerConnection::new(local, None, config).await.unwrap().into());
                local
            }
        };
        let wire = Wire::default();
        let endpoint = EndpointBuilder::new()
            .with_transport_layer(wires)
            .with_cancel_token(stop.clone())
            .with_inspector(Box::new(wire.clone()))
            .build();
        let layer = Arc::new(DialogLayer::new(endpoint.inner.clone()));
        let (ring, rung) = unbounded_channel();
        let (ask, asked) = unbounded_channel();
        tokio::spawn(sort(layer.clone(), endpoint.incoming_transactions().unwrap(), ring, ask));
        tokio::spawn(async move { endpoint.inner.serve().await });
        // Of its listeners it opens those for connections by and by.
        while transport != Transport::Udp && TcpListener::bind(local).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let bridge = SipAddr::new(theirs(transport), world.node.sip(transport).unwrap().into());
        Stack { layer, local, transport, bridge, wire, rung, asked, stop }
    }

    /// Makes the bridge know it as a carrier, the first of all for calls out; `text` is more of its settings.
    async fn known(&self, world: &World, text: &str) {
        // Its own connections do not begin at its address.
        let source = match self.transport {
            Transport::Udp => self.local.ip(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        let (transport, local) = (self.transport.name(), self.local);
        let name = if self.transport == Transport::Tls { format!("tls_name = \"{NAME}\"\n") } else { String::new() };
        let route = format!("route = \"{transport}:{local}\"\npriority = 1\n");
        known(world, &format!("sources = [\"{source}\"]\n{route}{name}{text}")).await;
        let until = Instant::now() + PATIENCE;
        while self.ask(Method::Options, self.uri("nobody"), Vec::new()).await.1.status_code != StatusCode::OK {
            assert!(Instant::now() < until, "it stays a stranger: {}", self.story());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody of the bridge.
    fn uri(&self, user: &str) -> Uri {
        format!("sip:{user}@{}", self.bridge.addr).try_into().unwrap()
    }

    fn contact(&self) -> Uri {
        format!("sip:peer@{}", self.local).try_into().unwrap()
    }

    fn invitation(&self, to: &str, sound: &Sound, headers: Vec<Header>) -> InviteOption {
        let (username, password) = LOGIN;
        let (username, password) = (username.to_owned(), password.to_owned());
        InviteOption {
            caller: format!("sip:{NUMBER}@{}", self.local).try_into().unwrap(),
            callee: self.uri(to),
            destination: Some(self.bridge.clone()),
            offer: Some(sdp::offer(&ours(sound, Direction::SendRecv, 1)).to_vec()),
            contact: self.contact(),
            credential: Some(Credential { username, password, ..Credential::default() }),
            headers: Some(headers),
            ..InviteOption::default()
        }
    }

    async fn call(&self, to: &str, headers: Vec<Header>) -> Result<Call, Response> {
        let sound = Sound::start(self.local.ip(), 1).await.unwrap();
        let call = self.invite(self.invitation(to, &sound, headers), sound).await?;
        call.sound.talk_to(sdp::accept(&call.answer.body, &ours(&call.sound, Direction::SendRecv, 1)).unwrap());
        Ok(call)
    }

    /// The same by this invitation, and says nothing yet.
    async fn invite(&self, invitation: InviteOption, sound: Sound) -> Result<Call, Response> {
        let (tell, states) = self.layer.new_dialog_state_channel();
        let (dialog, answer) = soon(self.layer.do_invite(invitation, tell)).await.unwrap();
        let answer = answer.expect("a final answer");
        if answer.status_code != StatusCode::OK {
            return Err(answer);
        }
        Ok(Call { dialog, states, sound, version: 1, answer })
    }

    /// The next call of the bridge's, which has heard a 100 at the most.
    async fn rung(&mut self) -> Call {
        let (dialog, states) = soon(self.rung.recv()).await.expect("it listens");
        let sound = Sound::start(self.local.ip(), 2).await.unwrap();
        Call { dialog, states, sound, version: 1, answer: Response::default() }
    }

    /// Asks outside of any call: what was asked, and the final answer.
    async fn ask(&self, method: Method, uri: Uri, headers: Vec<Header>) -> (Request, Response) {
        let endpoint = &self.layer.endpoint;
        let address = endpoint.transport_layer.get_listen_addrs().remove(0);
        let own = self.contact();
        let from = sip::typed::From { display_name: None, uri: own.clone(), params: vec![make_tag().into()] };
        let to = sip::typed::To { display_name: None, uri: uri.clone(), params: Vec::new() };
        let via = endpoint.get_via(Some(address), None).unwrap();
        let mut request = endpoint.make_request(method, uri, via, from, to, 1, None);
        request.headers.push(sip::typed::Contact::from(own).into());
        request.headers.extend(headers);
        let key = TransactionKey::from_request(&request, TransactionRole::Client).unwrap();
        let mut transaction = Transaction::new_client(key, request.clone(), endpoint.clone(), None);
        transaction.destination = Some(self.bridge.clone());
        transaction.send().await.unwrap();
        let answered = async {
            loop {
                match transaction.receive().await.expect("an answer") {
                    SipMessage::Response(answer) if answer.status_code.kind() != StatusCodeKind::Provisional => {
                        return answer;
                    }
                    _ => {}
                }
            }
        };
        (request, soon(answered).await)
    }

    fn messages(&self, way: Way, call_id: &str) -> Vec<SipMessage> {
        let wire = self.wire.said.lock().unwrap();
        let of_it = |message: &SipMessage| message.call_id_header().is_ok_and(|header| header.value() == call_id);
        wire.iter().filter(|(its, message)| *its == way && of_it(message)).map(|(_, message)| message.clone()).collect()
    }

    fn words(&self, way: Way, call_id: &str) -> Vec<String> {
        self.messages(way, call_id).iter().map(word).collect()
    }

    /// Waits for a message of a call, by its word.
    async fn heard(&self, call_id: &str, what: &str) -> SipMessage {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = self.messages(Way::Heard, call_id).into_iter().find(|message| word(message) == what) {
                return found;
            }
            assert!(Instant::now() < until, "no {what}: {}", self.story());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it says of itself, for whoever has to find out.
    fn story(&self) -> String {
        let wire = self.wire.said.lock().unwrap();
        wire.iter().map(|(way, message)| format!("{way:?}\n{message}\n")).collect()
    }

    /// What it keeps: dialogs, and answers of its that wait for an ACK.
    fn kept(&self) -> (usize, usize) {
        (self.layer.len(), self.layer.endpoint.get_stats().waiting_ack)
    }

    /// Waits until that is nothing: its wire shows a message before its dialog has treated it.
    async fn keeps_nothing(&self) {
        let until = Instant::now() + PATIENCE;
        while self.kept() != (0, 0) {
            assert!(Instant::now() < until, "it keeps {:?}: {}", self.kept(), self.story());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Brings each request to the dialog that it is of.
async fn sort(
    layer: Arc<DialogLayer>,
    mut incoming: TransactionReceiver,
    ring: UnboundedSender<(InviteDialog, DialogStateReceiver)>,
    ask: UnboundedSender<Transaction>,
) {
    while let Some(mut transaction) = incoming.recv().await {
        if let Some(mut dialog) = layer.match_dialog(&transaction) {
            tokio::spawn(async move { dialog.handle(&mut transaction).await });
        } else if transaction.original.method == Method::Invite {
            let (tell, states) = layer.new_dialog_state_channel();
            let mut dialog = layer.get_or_create_server_invite(&transaction, tell, None, None).unwrap();
            // Nobody waits any more where a test is over.
            let _ = ring.send((dialog.clone(), states));
            tokio::spawn(async move { dialog.handle(&mut transaction).await });
        } else {
            let _ = ask.send(transaction);
        }
    }
}

/// A call as its end of it sees it.
struct Call {
    dialog: InviteDialog,
    states: DialogStateReceiver,
    sound: Sound,
    version: u64,
    /// Of the bridge, to its own INVITE.
    answer: Response,
}

impl Call {
    fn id(&self) -> DialogId {
        self.dialog.id()
    }

    /// Waits for a state of its dialog. What only wants to be taken note of is answered on the way.
    async fn until<T>(&mut self, mut what: impl FnMut(&DialogState) -> Option<T>) -> T {
        let wait = async {
            loop {
                let state = self.states.recv().await.expect("the dialog is there");
                let found = what(&state);
                if let DialogState::Notify(_, _, handle) | DialogState::Info(_, _, handle) = &state {
                    handle.reply(StatusCode::OK).await.unwrap();
                }
                if let Some(found) = found {
                    return found;
                }
            }
        };
        soon(wait).await
    }

    /// Waits for its end, and says in their words whose it was.
    async fn ended(&mut self) -> String {
        let reason = |state: &DialogState| match state {
            DialogState::Terminated(_, reason) => Some(format!("{reason:?}")),
            _ => None,
        };
        self.until(reason).await
    }

    /// Its answer to the bridge's offer.
    fn described(&self) -> Vec<u8> {
        let offer = self.dialog.initial_request().body;
        let (answer, plan) = sdp::answer(&offer, &ours(&self.sound, Direction::SendRecv, self.version)).unwrap();
        self.sound.talk_to(plan);
        answer.to_vec()
    }

    /// Picks up, and waits until the bridge has heard that.
    async fn accept(&mut self) {
        self.dialog.accept(Some(described()), Some(self.described())).unwrap();
        self.until(|state| state.is_confirmed().then_some(())).await;
    }

    /// Offers another direction, by INVITE or UPDATE; gives what the bridge's answer makes of it.
    async fn change(&mut self, method: Method, direction: Direction) -> Direction {
        let answer = self.offer(method, direction).await;
        assert_eq!(answer.status_code, StatusCode::OK, "{answer}");
        let plan = sdp::accept(&answer.body, &ours(&self.sound, direction, self.version)).unwrap();
        self.sound.talk_to(plan);
        plan.direction
    }

    /// The same, and what the bridge says to it.
    async fn offer(&mut self, method: Method, direction: Direction) -> Response {
        self.version += 1;
        let offer = Some(sdp::offer(&ours(&self.sound, direction, self.version)).to_vec());
        let answer = match method {
            Method::Update => soon(self.dialog.update(Some(described()), offer)).await,
            _ => soon(self.dialog.reinvite(Some(described()), offer)).await,
        };
        answer.unwrap().expect("an answer")
    }

    /// Presses keys, each an INFO.
    async fn press(&self, keys: &str) {
        for key in keys.chars() {
            let headers = vec![Header::ContentType("application/dtmf-relay".into())];
            let body = format!("Signal={key}\r\nDuration=160\r\n").into_bytes();
            let answer = soon(self.dialog.info(Some(headers), Some(body))).await.unwrap().expect("an answer");
            assert_eq!(answer.status_code, StatusCode::OK, "{answer}");
        }
    }
}

fn ours(sound: &Sound, direction: Direction, version: u64) -> Ours<'static> {
    ours_at(sound.local(), direction, version)
}

fn ours_at(local: SocketAddr, direction: Direction, version: u64) -> Ours<'static> {
    Ours {
        addresses: local.ip().into(),
        port: local.port(),
        origin: local.ip(),
        session: 1,
        version,
        codecs: CODECS,
        comfort_noise: false,
        events: true,
        direction,
        prefer: Prefer::Theirs,
        before: None,
    }
}

/// What a body of ours is, in their headers.
fn described() -> Vec<Header> {
    vec![Header::ContentType("application/sdp".into())]
}

fn theirs(transport: Transport) -> sip::Transport {
    match transport {
        Transport::Udp => sip::Transport::Udp,
        Transport::Tcp => sip::Transport::Tcp,
        Transport::Tls => sip::Transport::Tls,
    }
}

/// A port that was free a moment ago: it tells its peers the one that it is given, and not the one that it has.
fn free(ip: [u8; 4]) -> SocketAddr {
    TcpListener::bind(SocketAddr::from((ip, 0))).unwrap().local_addr().unwrap()
}

async fn dialled(world: &World) -> LegId {
    let told = world.dial("open", CALLED).await;
    let Told::Dialling(leg) = told else { panic!("{told:?}") };
    leg
}

/// The leg that has this outside number.
async fn leg_of(world: &World, number: &str) -> LegId {
    let legs = world.legs().await;
    let its = legs.iter().find(|leg| leg.number == number || leg.caller.as_deref() == Some(number));
    its.unwrap_or_else(|| panic!("{legs:#?}")).id.parse().unwrap()
}

async fn removed(world: &World, leg: LegId) {
    let told = world.ask(Ask::Remove { leg }).await;
    assert!(matches!(told, Told::Done), "{told:?}");
}
