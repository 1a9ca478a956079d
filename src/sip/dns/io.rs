//! Asks DNS servers: by UDP from a port of chance, by TCP where an answer does not fit (RFC 7766), one server after the other.

use super::wire::{self, Heard, MOST_ALIASES};
use super::{Answer, Failure, Outcome, Question};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// A server that says nothing for so long has not heard us, or is gone: the next one is asked.
const WAIT: Duration = Duration::from_millis(1_500);
/// How often all servers are gone through.
const ROUNDS: usize = 2;
/// After so long there is no answer, whatever is still left to be tried.
const LIMIT: Duration = Duration::from_secs(6);
/// The longest answer: a datagram of the size that we say we take may still be exceeded by who does not listen.
const DATAGRAM: usize = 4_096;
/// Servers of `/etc/resolv.conf` that are asked, as everybody does.
const MOST_SERVERS: usize = 3;
/// Where servers listen.
const PORT: u16 = 53;

/// Which servers are asked.
#[derive(Clone, Debug)]
pub enum Servers {
    These(Vec<SocketAddr>),
    /// Those that a file like `/etc/resolv.conf` names, read anew for each question: the network may have moved.
    Of(PathBuf),
}

impl Servers {
    /// Those that the system asks.
    pub fn of_system() -> Servers {
        Servers::Of("/etc/resolv.conf".into())
    }

    fn now(&self) -> Vec<SocketAddr> {
        match self {
            Servers::These(servers) => servers.clone(),
            Servers::Of(file) => std::fs::read_to_string(file).map(|text| servers_of(&text)).unwrap_or_default(),
        }
    }
}

fn servers_of(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver")?;
        let ip: IpAddr = words.next()?.parse().ok()?;
        Some(SocketAddr::new(ip, PORT))
    };
    text.lines().filter_map(server).take(MOST_SERVERS).collect()
}

/// Who is asked, and for how long.
#[derive(Clone, Debug)]
pub(in crate::sip) struct Client {
    servers: Servers,
    wait: Duration,
    limit: Duration,
}

impl Client {
    pub fn new(servers: Servers) -> Client {
        Client { servers, wait: WAIT, limit: LIMIT }
    }

    /// Asks until there is an answer, along all aliases, or it has taken too long.
    pub async fn ask(&self, question: &Question) -> Outcome {
        let servers = self.servers.now();
        if servers.is_empty() {
            return Err(Failure::NoServer);
        }
        timeout(self.limit, self.along_aliases(&servers, question)).await.unwrap_or(Err(Failure::Silent))
    }

    async fn along_aliases(&self, servers: &[SocketAddr], question: &Question) -> Outcome {
        let (mut question, mut ttl) = (question.clone(), Duration::MAX);
        for _ in 0..=MOST_ALIASES {
            match self.ask_all(servers, &question).await {
                Heard::Outcome(outcome) => return outcome.map(|answer| Answer { ttl: answer.ttl.min(ttl), ..answer }),
                Heard::Alias(name, until) => {
                    ttl = ttl.min(until);
                    question.name = name;
                }
                Heard::Truncated | Heard::Foreign => return Err(Failure::Senseless),
            }
        }
        Err(Failure::Senseless)
    }

    /// The first answer that says something; of those that say nothing the last is told.
    async fn ask_all(&self, servers: &[SocketAddr], question: &Question) -> Heard {
        let mut failure = Failure::Silent;
        for server in servers.iter().cycle().take(servers.len() * ROUNDS) {
            match self.ask_one(*server, question).await {
                Ok(Heard::Outcome(Err(why))) => failure = why,
                Ok(heard) => return heard,
                Err(_) => {}
            }
        }
        Heard::Outcome(Err(failure))
    }

    async fn ask_one(&self, server: SocketAddr, question: &Question) -> io::Result<Heard> {
        let id = rand::random();
        let Some(bytes) = wire::write(id, question) else { return Ok(Heard::Outcome(Err(Failure::Senseless))) };
        match timeout(self.wait, ask_by_udp(server, id, question, &bytes)).await?? {
            Heard::Truncated => timeout(self.wait, ask_by_tcp(server, id, question, &bytes)).await?,
            heard => Ok(heard),
        }
    }
}

/// What does not answer our question is as if it had not come: whoever guesses has to be faster than the server, and to know
/// the port and the number.
async fn ask_by_udp(server: SocketAddr, id: u16, question: &Question, bytes: &[u8]) -> io::Result<Heard> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match wire::read(id, question, &buffer[..length]) {
            Heard::Foreign => {}
            heard => return Ok(heard),
        }
    }
}

/// RFC 7766 section 8: each message after its length.
async fn ask_by_tcp(server: SocketAddr, id: u16, question: &Question, bytes: &[u8]) -> io::Result<Heard> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(wire::read(id, question, &answer))
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Record};
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME};
    use hickory_proto::rr::{Name, RData, RecordType};
    use std::str::FromStr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::net::TcpListener;

    /// What a server says to a question: messages, one after the other. The flag: over TCP.
    type Says = fn(&Message, bool) -> Vec<Message>;

    struct Server {
        address: SocketAddr,
        asked: Arc<AtomicUsize>,
    }

    async fn serve(says: Says) -> Server {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = udp.local_addr().unwrap();
        let tcp = TcpListener::bind(address).await.unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = asked.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM];
            while let Ok((length, peer)) = udp.recv_from(&mut buffer).await {
                count.fetch_add(1, Ordering::SeqCst);
                let question = Message::from_vec(&buffer[..length]).unwrap();
                for message in says(&question, false) {
                    udp.send_to(&message.to_vec().unwrap(), peer).await.unwrap();
                }
            }
        });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                for message in says(&Message::from_vec(&question).unwrap(), true) {
                    let bytes = message.to_vec().unwrap();
                    stream.write_all(&[&(bytes.len() as u16).to_be_bytes(), &bytes[..]].concat()).await.unwrap();
                }
            }
        });
        Server { address, asked }
    }

    fn name(text: &str) -> Name {
        Name::from_str(text).unwrap()
    }

    fn reply(question: &Message) -> Message {
        let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        message.add_query(question.queries[0].clone());
        message
    }

    fn address(owner: &str, last: u8) -> hickory_proto::rr::Record {
        hickory_proto::rr::Record::from_rdata(name(owner), 60, RData::A(A([192, 0, 2, last].into())))
    }

    fn refused(question: &Message, code: ResponseCode) -> Message {
        let mut message = reply(question);
        message.metadata.response_code = code;
        message
    }

    fn right(question: &Message, _: bool) -> Vec<Message> {
        let mut message = reply(question);
        message.add_answer(address("a.example.", 1));
        vec![message]
    }

    async fn asked_of(servers: &[&Server]) -> Outcome {
        let servers: Vec<SocketAddr> = servers.iter().map(|server| server.address).collect();
        ask(servers).await
    }

    async fn ask(servers: Vec<SocketAddr>) -> Outcome {
        Client::new(Servers::These(servers)).ask(&Question { kind: Kind::A, name: "a.example".to_owned() }).await
    }

    fn found(last: &[u8]) -> Outcome {
        let records = last.iter().map(|last| Record::Address([192, 0, 2, *last].into())).collect();
        Ok(Answer { records, ttl: Duration::from_secs(60) })
    }

    #[tokio::test]
    async fn an_answer_by_udp() {
        assert_eq!(asked_of(&[&serve(right).await]).await, found(&[1]));
    }

    #[tokio::test]
    async fn what_does_not_fit_comes_by_tcp() {
        let long: Says = |question, is_stream| {
            let mut message = reply(question);
            message.metadata.truncation = !is_stream;
            if is_stream {
                message.add_answers((0..1_000u16).map(|last| address("a.example.", last as u8)));
            }
            vec![message]
        };
        let records = asked_of(&[&serve(long).await]).await.unwrap().records;
        assert_eq!(records.len(), super::super::MOST_RECORDS);
    }

    #[tokio::test]
    async fn truncated_over_tcp_too_is_no_answer() {
        let never: Says = |question, _| {
            let mut message = reply(question);
            message.metadata.truncation = true;
            vec![message]
        };
        assert_eq!(asked_of(&[&serve(never).await]).await, Err(Failure::Senseless));
    }

    #[tokio::test]
    async fn who_lies_is_not_heard_and_the_right_answer_after_it_is() {
        let lies: Says = |question, _| {
            let mut other_number = right(question, false).remove(0);
            other_number.metadata.id = other_number.metadata.id.wrapping_add(1);
            let mut other_question = right(question, false).remove(0);
            other_question.queries[0] = Query::query(name("b.example."), RecordType::A);
            let mut not_ours = reply(question);
            not_ours.add_answers([address("b.example.", 66), address("a.example.", 1)]);
            vec![other_number, other_question, not_ours]
        };
        assert_eq!(asked_of(&[&serve(lies).await]).await, found(&[1]));
    }

    #[tokio::test]
    async fn who_is_asked_is_read_anew_for_each_question() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        let servers = Servers::Of(file.clone());
        let question = Question { kind: Kind::A, name: "a.example".to_owned() };
        let outcome = Client::new(servers.clone()).ask(&question).await;
        assert_eq!(outcome, Err(Failure::NoServer), "there is no such file yet");
        for address in ["127.77.77.77", "127.77.77.78"] {
            std::fs::write(&file, format!("nameserver {address}\n")).unwrap();
            assert_eq!(servers.now(), [format!("{address}:53").parse().unwrap()]);
        }
    }

    #[tokio::test]
    async fn a_server_that_fails_is_followed_by_the_next() {
        let fails: Says = |question, _| vec![refused(question, ResponseCode::ServFail)];
        let (fails, right) = (serve(fails).await, serve(right).await);
        assert_eq!(asked_of(&[&fails, &right]).await, found(&[1]));
        assert_eq!(asked_of(&[&fails]).await, Err(Failure::Refused(2)));
        assert_eq!(fails.asked.load(Ordering::SeqCst), 1 + ROUNDS);
    }

    #[tokio::test]
    async fn a_closed_port_and_no_server_at_all() {
        let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let right = serve(right).await;
        assert_eq!(ask(vec![gone, right.address]).await, found(&[1]));
        assert_eq!(ask(vec![gone]).await, Err(Failure::Silent));
        assert_eq!(ask(vec![]).await, Err(Failure::NoServer));
    }

    #[tokio::test]
    async fn who_says_nothing_is_not_waited_for_for_long() {
        let silent = serve(|_, _| Vec::new()).await;
        // Answers to other questions are as good as none.
        let chatters: Says = |question, _| {
            let mut message = right(question, false).remove(0);
            message.queries[0] = Query::query(name("b.example."), RecordType::A);
            vec![message; 20]
        };
        let chatters = serve(chatters).await;
        let short = Duration::from_millis(20);
        let question = Question { kind: Kind::A, name: "a.example".to_owned() };
        let client =
            Client { servers: Servers::These(vec![silent.address, chatters.address]), wait: short, limit: LIMIT };
        assert_eq!(client.ask(&question).await, Err(Failure::Silent));
        assert_eq!(silent.asked.load(Ordering::SeqCst) + chatters.asked.load(Ordering::SeqCst), 2 * ROUNDS);
        // However many servers there are, and however slow each is.
        let client = Client { servers: Servers::These(vec![silent.address; 1_000]), wait: LIMIT, limit: short };
        assert_eq!(timeout(LIMIT, client.ask(&question)).await, Ok(Err(Failure::Silent)));
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_an_answer() {
        let none: Says = |question, _| vec![refused(question, ResponseCode::NXDomain)];
        let nothing = Answer { records: Vec::new(), ttl: Duration::from_secs(30) };
        assert_eq!(asked_of(&[&serve(none).await]).await, Ok(nothing));
    }

    #[tokio::test]
    async fn aliases_are_followed_over_several_answers_but_not_for_ever() {
        fn alias(question: &Message, target: &str) -> Vec<Message> {
            let mut message = reply(question);
            let owner = question.queries[0].name().clone();
            message.add_answer(hickory_proto::rr::Record::from_rdata(owner, 60, RData::CNAME(CNAME(name(target)))));
            vec![message]
        }
        let leads: Says = |question, _| match question.queries[0].name().to_ascii().as_str() {
            "a.example." => alias(question, "b.example."),
            _ => {
                let mut message = reply(question);
                message.add_answer(address("b.example.", 2));
                vec![message]
            }
        };
        assert_eq!(asked_of(&[&serve(leads).await]).await, found(&[2]));
        let circles: Says = |question, _| match question.queries[0].name().to_ascii().as_str() {
            "a.example." => alias(question, "b.example."),
            _ => alias(question, "a.example."),
        };
        let server = serve(circles).await;
        assert_eq!(asked_of(&[&server]).await, Err(Failure::Senseless));
        assert_eq!(server.asked.load(Ordering::SeqCst), 1 + MOST_ALIASES);
    }

    #[test]
    fn the_systems_servers_are_three_at_most() {
        let text = "# a comment\nsearch example\nnameserver 127.0.0.53\nnameserver ::1 # here\nnameserver nobody\n\
                    options ndots:2\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        let servers: Vec<String> = servers_of(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["127.0.0.53:53", "[::1]:53", "192.0.2.1:53"]);
    }
}
