//! Two endpoints that call each other by TLS, each with certificates of its own.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tollbridge::clock::Now;
use tollbridge::sip::dns::io::Servers;
use tollbridge::sip::io::{Gauges, Sip};
use tollbridge::sip::tls::{Files, Tls};
use tollbridge::sip::{Call, Command, Config, Dial, Event, Flow, Identity, Refusal, Source, Transport};

/// Somebody who signs certificates.
struct Authority {
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: rcgen::Issuer::new(params, key), pem }
    }

    /// A certificate for these names, its key, and whom its owner believes, as files.
    fn sign(&self, folder: &Path, names: &[&str], believed: &Authority) -> Files {
        let key = rcgen::KeyPair::generate().unwrap();
        let (uris, names): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.starts_with("sip:"));
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let uri = |uri: &str| rcgen::SanType::URI(uri.try_into().unwrap());
        params.subject_alt_names.extend(uris.into_iter().map(uri));
        let own = params.signed_by(&key, &self.issuer).unwrap();
        let at = |name: &str| folder.join(name);
        for (name, text) in [("own", own.pem()), ("key", key.serialize_pem()), ("trust", believed.pem.clone())] {
            std::fs::write(at(name), text).unwrap();
        }
        Files { certificate: at("own"), key: at("key"), trust: Some(at("trust")) }
    }
}

struct Side {
    sip: Sip,
    events: mpsc::Receiver<(Now, Event)>,
    shown: watch::Sender<Tls>,
}

const CALLER: &str = "caller.sip.example";
const BRIDGE: &str = "bridge.sip.example";
const OPTIONS: &str = "OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\n\
    To: <sip:127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";

impl Side {
    /// One who knows the other, at 127.0.0.1, by `name`.
    async fn start(files: &Files, name: Option<&str>) -> Side {
        Side::knowing(files, name, "127.0.0.1", 32).await
    }

    /// One who knows the other by `name`, from this network.
    async fn knowing(files: &Files, name: Option<&str>, network: &str, prefix_len: u8) -> Side {
        let (shown, tls) = watch::channel(files.read().unwrap());
        let config = Config {
            max_calls: 10,
            max_transactions: 100,
            product: "tollbridge".to_owned(),
            retry_after_s: 1,
            session_s: 1_800,
            trying_s: 0,
            is_focus: true,
            pace: tollbridge::sip::Pace::default(),
        };
        let listen = vec![(Transport::Tls, "127.0.0.1:0".parse().unwrap())];
        let (sip, events) = Sip::start(listen, Some(tls), 24, Servers::These(Vec::new()), config, [1; 32]).unwrap();
        let tls_name = name.map(Arc::from);
        let source = Source { prefix_len, tls_name, ..Source::at(network.parse().unwrap()) };
        assert!(sip.command(Command::Sources(vec![source])).await);
        let side = Side { sip, events, shown };
        // Whoever comes before they are known is another test's business.
        side.until(|gauges| gauges.obeyed == 1).await;
        side
    }

    async fn until(&self, what: impl Fn(Gauges) -> bool) {
        let come = async {
            while !what(self.sip.gauges()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), come).await.expect("in time");
    }

    fn at(&self) -> SocketAddr {
        self.sip.local(Transport::Tls).unwrap()
    }

    async fn dial(&self, to: SocketAddr, name: Option<&str>) {
        if let Some(name) = name {
            assert!(self.sip.command(Command::Names(vec![(to, Arc::from(name))])).await);
        }
        self.dial_as(1, to).await;
    }

    async fn dial_as(&self, number: u64, to: SocketAddr) {
        let dial = Dial {
            call: Call::outbound(number),
            identity: Identity::draw(&mut StdRng::seed_from_u64(number)),
            flow: Flow { transport: Transport::Tls, local: self.at(), peer: to },
            carrier: None,
            contact: self.at(),
            request_uri: format!("sip:room@{to}"),
            from: "<sip:caller@127.0.0.1>".to_owned(),
            to: "<sip:room@127.0.0.1>".to_owned(),
            headers: Vec::new(),
            offer: Bytes::from_static(b"offer"),
            ring_ms: 30_000,
            holds_ack: false,
            may_transfer: false,
            login: None,
        };
        assert!(self.sip.command(Command::Dial(Box::new(dial))).await);
    }

    async fn next(&mut self) -> Event {
        timeout(Duration::from_secs(20), self.events.recv()).await.expect("in time").expect("running").1
    }
}

/// A caller and a bridge of one authority, each of whom knows the other's name.
struct World {
    _folders: [TempDir; 2],
    authority: Authority,
    files: [Files; 2],
}

fn world() -> World {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let authority = Authority::new();
    let files = [(CALLER, &folders[0]), (BRIDGE, &folders[1])]
        .map(|(name, folder)| authority.sign(folder.path(), &[name], &authority));
    World { _folders: folders, authority, files }
}

/// A call from the first that answers: whether the second was called.
async fn rings(caller: &mut Side, bridge: &mut Side, name: Option<&str>) -> bool {
    caller.dial(bridge.at(), name).await;
    tokio::select! {
        event = bridge.next() => assert!(matches!(event, Event::Invited(_)), "{event:?}"),
        event = caller.next() => {
            assert!(matches!(event, Event::Failed { status: 503, .. }), "{event:?}");
            return false;
        }
    }
    true
}

#[tokio::test]
async fn a_call_from_its_beginning_to_its_end() {
    let world = world();
    let mut caller = Side::start(&world.files[0], Some(BRIDGE)).await;
    let mut bridge = Side::start(&world.files[1], Some(CALLER)).await;
    caller.dial(bridge.at(), Some(BRIDGE)).await;
    let Event::Invited(invitation) = bridge.next().await else { panic!() };
    assert_eq!((invitation.request_user.as_str(), invitation.offer.as_deref()), ("room", Some(b"offer".as_slice())));
    let answer = Bytes::from_static(b"answer");
    bridge.sip.command(Command::Accept { call: invitation.call, answer }).await;
    let Event::Answered { call, answer, journal, .. } = caller.next().await else { panic!() };
    assert_eq!(answer.as_deref(), Some(b"answer".as_slice()));
    assert!(journal.contains(" =tls "), "{journal}");
    assert!(matches!(bridge.next().await, Event::Acknowledged { .. }));
    // In the dialog, the other way, by the connection that there is: the bridge has no other.
    bridge.sip.command(Command::HangUp { call: invitation.call, reason: None }).await;
    let event = caller.next().await;
    assert!(matches!(event, Event::HungUp { call: of, .. } if of == call), "{event:?}");
    assert!(matches!(bridge.next().await, Event::Released { .. }));
    assert_eq!([caller.sip.gauges().connections, bridge.sip.gauges().connections], [1, 1]);
}

#[tokio::test]
async fn whoever_is_not_who_they_should_be_is_not_spoken_to() {
    let stranger = Authority::new();
    let name = |world: &World, at: usize, names: &[&str], signer: &Authority| {
        signer.sign(world.files[at].certificate.parent().unwrap(), names, &world.authority)
    };
    // Who the bridge is, how the caller knows it; who the caller is, how the bridge knows it; whether that rings.
    /// The names of a certificate, and by which its owner is known.
    type Shown = (&'static [&'static str], Option<&'static str>);
    let cases: [(&str, Shown, Shown, bool); 11] = [
        ("all as it should be", (&[BRIDGE], Some(BRIDGE)), (&[CALLER], Some(CALLER)), true),
        (
            "one of several names",
            (&["other.example", BRIDGE], Some(BRIDGE)),
            (&[CALLER, "x.example"], Some(CALLER)),
            true,
        ),
        ("a bridge that is another", (&["other.example"], Some(BRIDGE)), (&[CALLER], Some(CALLER)), false),
        ("a caller that is another", (&[BRIDGE], Some(BRIDGE)), (&["other.example"], Some(CALLER)), false),
        ("a bridge known by its address", (&["127.0.0.1"], None), (&[CALLER], Some(CALLER)), true),
        ("a bridge whose address is not there", (&[BRIDGE], None), (&[CALLER], Some(CALLER)), false),
        ("a caller whose name nobody knows", (&[BRIDGE], Some(BRIDGE)), (&["other.example"], None), true),
        ("a wildcard", (&["*.sip.example"], Some(BRIDGE)), (&["*.sip.example"], Some(CALLER)), true),
        // RFC 5922 section 7.1.
        (
            "names as URIs",
            (&["sip:bridge.sip.example"], Some(BRIDGE)),
            (&["other.example", "sip:Caller.sip.example"], Some(CALLER)),
            true,
        ),
        ("a bridge named by another URI", (&["sip:other.example"], Some(BRIDGE)), (&[CALLER], Some(CALLER)), false),
        ("a person at the caller's", (&[BRIDGE], Some(BRIDGE)), (&["sip:joe@caller.sip.example"], Some(CALLER)), false),
    ];
    for (case, (bridge_is, bridge_known), (caller_is, caller_known), expected) in cases {
        let world = world();
        let files = [name(&world, 0, caller_is, &world.authority), name(&world, 1, bridge_is, &world.authority)];
        let mut caller = Side::start(&files[0], bridge_known).await;
        let mut bridge = Side::start(&files[1], caller_known).await;
        assert_eq!(rings(&mut caller, &mut bridge, bridge_known).await, expected, "{case}");
    }
    for (case, by) in [("a bridge of a strange authority", 1), ("a caller of one", 0)] {
        let world = world();
        let forged = name(&world, by, &[[CALLER, BRIDGE][by]], &stranger);
        let files = [0, 1].map(|at| if at == by { &forged } else { &world.files[at] });
        let mut caller = Side::start(files[0], Some(BRIDGE)).await;
        let mut bridge = Side::start(files[1], Some(CALLER)).await;
        assert!(!rings(&mut caller, &mut bridge, Some(BRIDGE)).await, "{case}");
    }
}

/// No address is known, and no password: the certificate says who calls.
#[tokio::test]
async fn a_carrier_is_known_by_its_certificate_alone() {
    let world = world();
    for (known, rings) in [(CALLER, true), ("other.example", false)] {
        let mut caller = Side::start(&world.files[0], Some(BRIDGE)).await;
        let mut bridge = Side::knowing(&world.files[1], Some(known), "0.0.0.0", 0).await;
        caller.dial(bridge.at(), Some(BRIDGE)).await;
        if !rings {
            let event = caller.next().await;
            assert!(matches!(event, Event::Failed { status: 403, .. }), "a stranger, and told so: {event:?}");
            // The same connection, once the carrier is known.
            let tls_name = Some(Arc::from(CALLER));
            let source = |network: &str| Source { prefix_len: 0, tls_name, ..Source::at(network.parse().unwrap()) };
            assert!(bridge.sip.command(Command::Sources(vec![source("0.0.0.0")])).await);
            bridge.until(|gauges| gauges.obeyed == 2).await;
            caller.dial(bridge.at(), None).await;
        }
        let event = bridge.next().await;
        let Event::Invited(invitation) = event else { panic!("{event:?}") };
        assert_eq!(invitation.shown, Some(vec![Arc::from(CALLER)]));
        assert_eq!(bridge.sip.gauges().connections, 1);
    }
}

/// One who shows these, or nothing.
fn showing(world: &World, files: Option<&Files>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(world.authority.pem.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match files {
        Some(files) => {
            let own = CertificateDer::from_pem_file(&files.certificate).unwrap();
            config.with_client_auth_cert(vec![own], PrivateKeyDer::from_pem_file(&files.key).unwrap()).unwrap()
        }
        None => config.with_no_client_auth(),
    };
    TlsConnector::from(Arc::new(config))
}

/// One who shows no certificate.
fn shy(world: &World) -> TlsConnector {
    showing(world, None)
}

/// Carriers that connect the moment the bridge has started, before that knows anybody's name: who has shown it is known by it
/// as soon as it is known, and who has not is hung up on.
#[tokio::test]
async fn whoever_came_before_their_name_was_known_is_known_by_it_or_let_go() {
    let world = world();
    let mut bridge = Side::start(&world.files[1], None).await;
    let caller = Side::start(&world.files[0], Some(BRIDGE)).await;
    caller.dial(bridge.at(), None).await;
    let Event::Invited(first) = bridge.next().await else { panic!("no call") };
    assert_eq!(first.shown, Some(Vec::new()), "nobody's name is known");
    let plain = TcpStream::connect(bridge.at()).await.unwrap();
    let mut stream = shy(&world).connect(BRIDGE.try_into().unwrap(), plain).await.unwrap();
    let source = Source { tls_name: Some(Arc::from(CALLER)), ..Source::at("127.0.0.1".parse().unwrap()) };
    assert!(bridge.sip.command(Command::Sources(vec![source])).await);
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("it hangs up");
    assert!(bridge.sip.command(Command::Refuse { call: first.call, refusal: Refusal::plain(486) }).await);
    assert!(matches!(bridge.next().await, Event::Released { .. }));
    caller.dial_as(2, bridge.at()).await;
    let Event::Invited(second) = bridge.next().await else { panic!("no call") };
    assert_eq!(second.shown, Some(vec![Arc::from(CALLER)]));
    assert_eq!(bridge.sip.gauges().connections, 1, "by the connection that there was");
}

/// A carrier that is there the moment we have started: before we know anybody it connects, then we know it, then it shows who
/// it is.
#[tokio::test]
async fn whoever_is_about_to_show_who_they_are_is_let_do_so() {
    let world = world();
    let bridge = Side::start(&world.files[1], None).await;
    for shows in [true, false] {
        let plain = TcpStream::connect(bridge.at()).await.unwrap();
        bridge.until(|gauges| gauges.connections == 1).await;
        let obeyed = bridge.sip.gauges().obeyed;
        let source = Source { tls_name: Some(Arc::from(CALLER)), ..Source::at("127.0.0.1".parse().unwrap()) };
        assert!(bridge.sip.command(Command::Sources(vec![source])).await);
        bridge.until(|gauges| gauges.obeyed > obeyed).await;
        let mut stream =
            showing(&world, shows.then_some(&world.files[0])).connect(BRIDGE.try_into().unwrap(), plain).await.unwrap();
        let _ = stream.write_all(OPTIONS.as_bytes()).await;
        let mut answer = [0; 512];
        let read = timeout(Duration::from_secs(20), stream.read(&mut answer)).await.expect("in time").unwrap_or(0);
        let answer = String::from_utf8_lossy(&answer[..read]);
        assert_eq!(answer.starts_with("SIP/2.0 200"), shows, "{answer}");
        drop(stream);
        assert!(bridge.sip.command(Command::Sources(Vec::new())).await);
        bridge.until(|gauges| gauges.connections == 0).await;
    }
}

/// A carrier whose name is known and who shows nothing; and words that are no TLS.
#[tokio::test]
async fn a_carrier_without_a_certificate_is_hung_up_on() {
    let world = world();
    let bridge = Side::start(&world.files[1], Some(CALLER)).await;
    let plain = TcpStream::connect(bridge.at()).await.unwrap();
    let mut stream = shy(&world).connect(BRIDGE.try_into().unwrap(), plain).await.unwrap();
    let _ = stream.write_all(OPTIONS.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("it hangs up");
    assert_eq!(String::from_utf8_lossy(&answer), "");
    let mut plain = TcpStream::connect(bridge.at()).await.unwrap();
    plain.write_all(OPTIONS.as_bytes()).await.unwrap();
    // An alert of TLS may come, no SIP.
    let _ = timeout(Duration::from_secs(20), plain.read_to_end(&mut answer)).await.expect("it hangs up");
    assert!(!String::from_utf8_lossy(&answer).contains("SIP"), "{answer:?}");
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_whoever_connects_next() {
    let world = world();
    let mut bridge = Side::start(&world.files[1], None).await;
    let renewed = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    let files = renewed.sign(folder.path(), &[BRIDGE], &world.authority);
    // A caller who believes the new authority alone.
    let at = tempfile::tempdir().unwrap();
    let believes_new = world.authority.sign(at.path(), &[CALLER], &renewed);
    let mut early = Side::start(&believes_new, None).await;
    assert!(!rings(&mut early, &mut bridge, Some(BRIDGE)).await, "the old certificate is of another authority");
    bridge.shown.send_replace(files.read().unwrap());
    let mut late = Side::start(&believes_new, None).await;
    assert!(rings(&mut late, &mut bridge, Some(BRIDGE)).await);
}

#[test]
fn files_that_are_none_are_named() {
    let world = world();
    let files = world.files[0].clone();
    assert!(files.read().is_ok());
    let folder = files.certificate.parent().unwrap();
    let empty = folder.join("empty");
    std::fs::write(&empty, "nothing\n").unwrap();
    let missing = folder.join("missing");
    let cases = [
        Files { certificate: missing.clone(), ..files.clone() },
        Files { certificate: empty.clone(), ..files.clone() },
        Files { key: empty.clone(), ..files.clone() },
        Files { key: files.certificate.clone(), ..files.clone() },
        Files { trust: Some(missing), ..files.clone() },
        Files { trust: Some(empty), ..files.clone() },
        // The key of another certificate.
        Files { key: world.files[1].key.clone(), ..files },
    ];
    for files in cases {
        let error = files.read().unwrap_err();
        let named = [&files.certificate, &files.key, files.trust.as_ref().unwrap()].map(|path| path == &error.file);
        assert!(named.contains(&true) && !error.reason.is_empty(), "{error}");
    }
}
