//! Connections that nobody needs: thousands that say nothing, say it slowly, say half of it, say what cannot be, or do not
//! listen. Calls go on, and whoever is known gets in.

use crate::world::{CARRIER, DIRECT, STRANGER, World, hears, tone};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tollbridge::cli::phone::Phone;
use tollbridge::sip::Transport;

/// Of strangers; of one address.
const HELD: usize = 1_000;
const OF_ONE: usize = 100;
/// Of the API's clients.
const HELD_BY_API: usize = 512;
/// What is late by less is the machine's doing: it has this very test to run as well.
const SLACK: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Silent,
    /// A byte a second.
    Slow,
    /// Half a message.
    Half,
}

const MESSAGE: &str = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKx\r\n\
    From: <sip:b@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n";

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
    socket.connect(to).await.unwrap_or_else(|error| panic!("{error}; 10,000 descriptors are needed: ulimit -n"))
}

/// So many connections, each until the far side closes it.
#[derive(Default)]
struct Crowd {
    open: Arc<AtomicUsize>,
    all: JoinSet<Duration>,
}

impl Crowd {
    /// `each` from each of these addresses, 127.`net`.0.0 and on, at once.
    async fn come(net: u8, addresses: u8, each: usize, to: SocketAddr, manner: Manner) -> Crowd {
        let mut crowd = Crowd::default();
        for _ in 0..each {
            for address in 0..addresses {
                let mut stream = connect([127, net, address, 1], to).await;
                let (open, began) = (crowd.open.clone(), Instant::now());
                open.fetch_add(1, Ordering::Relaxed);
                crowd.all.spawn(async move {
                    if manner == Manner::Half {
                        let _ = stream.write_all(&MESSAGE.as_bytes()[..MESSAGE.len() / 2]).await;
                    }
                    let mut rest = MESSAGE.bytes().cycle();
                    let mut heard = [0; 1_024];
                    loop {
                        let slowly = tokio::time::timeout(Duration::from_secs(1), stream.read(&mut heard)).await;
                        match slowly {
                            Ok(Ok(1..)) => {}
                            Ok(_) => break,
                            Err(_) if manner == Manner::Slow => {
                                let _ = stream.write_all(&[rest.next().unwrap()]).await;
                            }
                            Err(_) => {}
                        }
                    }
                    open.fetch_sub(1, Ordering::Relaxed);
                    began.elapsed()
                });
            }
        }
        crowd
    }

    /// Waits until no more than these are left open.
    async fn only(&self, count: usize) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.open.load(Ordering::Relaxed) > count {
            assert!(Instant::now() < until, "{} are held", self.open.load(Ordering::Relaxed));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The longest that one of them was held.
    async fn gone(self) -> Duration {
        self.all.join_all().await.into_iter().max().unwrap()
    }
}

/// Whoever is known connects, asks and is answered.
async fn is_served(world: &World) {
    let mut stream = connect(CARRIER, world.node.sip(Transport::Tcp).unwrap()).await;
    stream.write_all(format!("{MESSAGE}Content-Length: 0\r\n\r\n").as_bytes()).await.unwrap();
    let mut heard = [0; 1_024];
    let count = tokio::time::timeout(SLACK, stream.read(&mut heard)).await.expect("in time").unwrap();
    assert!(heard[..count].starts_with(b"SIP/2.0 200 OK\r\n"), "{}", String::from_utf8_lossy(&heard[..count]));
}

async fn hear_each_other([a, b]: &[Phone; 2]) {
    assert_eq!(hears(b, &[500, 700]).await, [500]);
    assert_eq!(hears(a, &[500, 700]).await, [700]);
}

async fn talks_on(world: &World, phones: &[Phone; 2]) {
    hear_each_other(phones).await;
    // And by datagrams new calls come as ever.
    let began = Instant::now();
    world.call("+390633333333", DIRECT).await.hang_up();
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    world.inside("open", 2).await;
}

async fn world() -> (World, [Phone; 2]) {
    let people = crate::world::PEOPLE.replacen("credits = \"10.00\"", "credits = \"100.00\"", 1);
    let world = World::with(&people, |_| {}).await;
    let phones = [world.call("+390611111111", DIRECT).await, world.call("+390622222222", DIRECT).await];
    phones[0].say(tone(500));
    phones[1].say(tone(700));
    world.inside("open", 2).await;
    (world, phones)
}

async fn end(world: World, phones: [Phone; 2]) {
    phones.iter().for_each(Phone::hang_up);
    let records = world.records().await;
    // Those who talked pay; who hung up at once may have had nothing for it.
    let talked = ["+390611111111", "+390622222222"].map(|number| Some(number.parse().unwrap()));
    assert!(records.iter().all(|record| record.charge.0 > 0 || !talked.contains(&record.caller)), "{records:#?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_connections_that_say_nothing_keep_nobody_out() {
    let (world, phones) = world().await;
    let [sip, api] = [world.node.sip(Transport::Tcp).unwrap(), world.node.api()];
    let one = Crowd::come(88, 1, 2 * OF_ONE, sip, Manner::Silent).await;
    one.only(OF_ONE).await;
    assert_eq!(one.open.load(Ordering::Relaxed), OF_ONE, "so many are heard out");
    let others = Crowd::come(89, 96, 50, sip, Manner::Silent).await;
    others.only(HELD - OF_ONE).await;
    let clients = Crowd::come(90, 20, 50, api, Manner::Silent).await;
    clients.only(HELD_BY_API).await;
    for _ in 0..3 {
        is_served(&world).await;
        talks_on(&world, &phones).await;
    }
    for (whose, longest) in [("SIP", one.gone().await), ("SIP", others.gone().await), ("API", clients.gone().await)] {
        println!("{whose}: the last one was closed after {longest:?}");
        assert!(longest < Duration::from_secs(32) + SLACK, "{whose}: {longest:?}");
    }
    // The API's places are free again.
    let told = world.try_post("/no-such-page", &()).await;
    assert_eq!(told.0, 404);
    end(world, phones).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_slowly_or_half_is_not_waited_for() {
    let (world, phones) = world().await;
    let sip = world.node.sip(Transport::Tcp).unwrap();
    // Both at once are as many as strangers may hold; by turns each has them all.
    let is_long = std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some();
    let rounds: &[(usize, usize)] = if is_long { &[(100, 0), (0, 100)] } else { &[(50, 50)] };
    for (slow, half) in rounds {
        let slow = Crowd::come(91, 10, *slow, sip, Manner::Slow).await;
        let half = Crowd::come(92, 10, *half, sip, Manner::Half).await;
        is_served(&world).await;
        talks_on(&world, &phones).await;
        for crowd in [slow, half].into_iter().filter(|crowd| !crowd.all.is_empty()) {
            // A byte a second begins after a second.
            let longest = crowd.gone().await;
            assert!(longest < Duration::from_secs(16) + SLACK, "{longest:?}");
        }
    }
    end(world, phones).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_what_cannot_be_or_does_not_listen_is_let_go() {
    let (world, phones) = world().await;
    let sip = world.node.sip(Transport::Tcp).unwrap();
    let endless = format!("{MESSAGE}X: {}", "a".repeat(1 << 20));
    for text in ["Content-Length: -1\r\n\r\n", "Content-Length: 99999999999999999999\r\n\r\n"] {
        closed(STRANGER, sip, &format!("{MESSAGE}{text}")).await;
        closed(CARRIER, sip, &format!("{MESSAGE}{text}")).await;
    }
    closed(STRANGER, sip, &endless).await;
    closed(CARRIER, sip, &endless).await;
    // Connections that are torn down as soon as they are there.
    for storm in 0..2_000u32 {
        let stream = connect([127, 93, (storm % 200) as u8, 1], sip).await;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        drop(stream);
    }
    // Who asks and asks, and never reads an answer.
    let deaf = [CARRIER, STRANGER].map(|from| async move {
        let mut stream = connect(from, sip).await;
        let began = Instant::now();
        for cseq in 1.. {
            let message =
                MESSAGE.replace("CSeq: 1", &format!("CSeq: {cseq}")).replace("z9hG4bKx", &format!("z9hG4bK{cseq}"));
            if stream.write_all(format!("{message}Content-Length: 0\r\n\r\n").as_bytes()).await.is_err() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it is heard for ever");
        }
    });
    let [carrier, stranger] = deaf;
    // As fast as a connection carries it: new calls may hear 503 meanwhile.
    tokio::join!(carrier, stranger, hear_each_other(&phones));
    is_served(&world).await;
    talks_on(&world, &phones).await;
    end(world, phones).await;
}

/// Says it, and is hung up on at once.
async fn closed(from: [u8; 4], to: SocketAddr, text: &str) {
    let mut stream = connect(from, to).await;
    // The far side may close while it is being told.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut heard = Vec::new();
    let read = tokio::time::timeout(SLACK, stream.read_to_end(&mut heard)).await;
    assert!(read.is_ok(), "from {}: {}", IpAddr::from(from), &text[text.len() - 40..]);
}
