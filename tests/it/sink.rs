//! The far ends of notices: a web server and a mail server that behave as badly as they are told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Got {
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// What the web server does with a request.
#[derive(Clone, Debug)]
pub enum Does {
    Answer(u16, String),
    Redirect(String),
    /// Takes it and says nothing.
    Hang,
    /// A good beginning, and then a byte now and then.
    Trickle,
    /// A good beginning, and a body without end.
    Flood,
    /// A head without end.
    FloodHead,
    /// Hangs up without a word.
    Close,
}

impl Does {
    pub fn json(text: &str) -> Does {
        Does::Answer(200, text.to_owned())
    }
}

type Behaviour = dyn Fn(&Got, usize) -> Does + Send + Sync;

/// A web server on a port of its own; it ends with the test.
pub struct Web {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    over: Arc<AtomicBool>,
}

impl Web {
    /// `behaviour` is given each request and how many came before it.
    pub fn start(behaviour: impl Fn(&Got, usize) -> Does + Send + Sync + 'static) -> Web {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let behaviour: Arc<Behaviour> = Arc::new(behaviour);
        let (all, ended) = (got.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, ended, behaviour) = (all.clone(), ended.clone(), behaviour.clone());
                std::thread::spawn(move || serve(stream, &all, &ended, &*behaviour));
            }
        });
        Web { address, got, over }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn serve(stream: TcpStream, all: &Mutex<Vec<Got>>, over: &AtomicBool, behaviour: &Behaviour) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.push((name.to_lowercase(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let got = Got { path, headers, body: String::from_utf8(body).ok()? };
    let before = {
        let mut all = all.lock().unwrap();
        all.push(got.clone());
        all.len() - 1
    };
    misbehave(stream, over, behaviour(&got, before))
}

fn misbehave(mut stream: TcpStream, over: &AtomicBool, does: Does) -> Option<()> {
    const BEGINNING: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"status\": \"paid\", ";
    let pause = || std::thread::sleep(Duration::from_millis(50));
    match does {
        Does::Answer(status, body) => {
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len()).ok()
        }
        Does::Redirect(to) => write!(stream, "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").ok(),
        Does::Close => None,
        Does::Hang => {
            while !over.load(Ordering::Relaxed) {
                pause();
            }
            None
        }
        Does::Trickle => {
            stream.write_all(BEGINNING).ok()?;
            while !over.load(Ordering::Relaxed) {
                stream.write_all(b" ").ok()?;
                pause();
            }
            None
        }
        Does::Flood => {
            stream.write_all(BEGINNING).ok()?;
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&[b' '; 16 << 10]).ok()?;
            }
            None
        }
        Does::FloodHead => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").ok()?;
            while !over.load(Ordering::Relaxed) {
                stream.write_all(&[b'x'; 16 << 10]).ok()?;
            }
            None
        }
    }
}

/// How the mail server behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Temper {
    Good,
    /// Takes the connection and says nothing.
    Hangs,
    /// A greeting without end.
    Floods,
    /// Knows nobody.
    Refuses,
}

/// A mail server on a port of its own.
pub struct Mail {
    pub address: SocketAddr,
    got: Arc<Mutex<Vec<String>>>,
    over: Arc<AtomicBool>,
}

impl Mail {
    pub fn start(temper: Temper) -> Mail {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (got, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, ended) = (got.clone(), over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, ended) = (all.clone(), ended.clone());
                std::thread::spawn(move || take_mail(stream, &all, &ended, temper));
            }
        });
        Mail { address, got, over }
    }

    /// Envelope and text of each mail taken.
    pub fn got(&self) -> Vec<String> {
        self.got.lock().unwrap().clone()
    }
}

impl Drop for Mail {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn take_mail(mut stream: TcpStream, all: &Mutex<Vec<String>>, over: &AtomicBool, temper: Temper) -> Option<()> {
    while temper == Temper::Hangs && !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
    }
    while temper == Temper::Floods && !over.load(Ordering::Relaxed) {
        stream.write_all(&[b'2'; 16 << 10]).ok()?;
    }
    stream.write_all(b"220 sink\r\n").ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut mail = String::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let word = line.get(..4).unwrap_or_default().to_uppercase();
        match word.as_str() {
            "RCPT" if temper == Temper::Refuses => stream.write_all(b"550 nobody here\r\n").ok()?,
            "MAIL" | "RCPT" => {
                mail.push_str(&line);
                stream.write_all(b"250 ok\r\n").ok()?;
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").ok()?;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line).ok()?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.push_str(&line);
                }
                all.lock().unwrap().push(std::mem::take(&mut mail));
                stream.write_all(b"250 taken\r\n").ok()?;
            }
            "QUIT" => return stream.write_all(b"221 bye\r\n").ok(),
            _ => stream.write_all(b"250 ok\r\n").ok()?,
        }
    }
}

/// A door of TLS in front of a plain server, with a certificate for `localhost` of an authority that nobody else knows.
pub struct Secure {
    pub address: SocketAddr,
    /// The authority, PEM.
    pub authority: String,
    task: tokio::task::JoinHandle<()>,
}

impl Secure {
    /// TLS from the first byte; or, where `asked_for`, when a mail client says STARTTLS.
    pub async fn before(server: SocketAddr, asked_for: bool) -> Secure {
        use tokio_rustls::TlsAcceptor;
        use tokio_rustls::rustls::ServerConfig;
        use tokio_rustls::rustls::crypto::ring;
        use tokio_rustls::rustls::pki_types::PrivateKeyDer;
        let mut house = rcgen::CertificateParams::new(Vec::new()).unwrap();
        house.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let house_key = rcgen::KeyPair::generate().unwrap();
        let authority = house.self_signed(&house_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(house, house_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let own = own.signed_by(&key, &issuer).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let mut far = tokio::net::TcpStream::connect(server).await?;
                    let near = if asked_for { until_starttls(near, &mut far).await? } else { near };
                    let mut near = acceptor.accept(near).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        });
        Secure { address, authority, task }
    }
}

impl Drop for Secure {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Greets as the server behind does, offers STARTTLS, and says nothing else in the clear.
async fn until_starttls(
    mut near: tokio::net::TcpStream,
    far: &mut tokio::net::TcpStream,
) -> std::io::Result<tokio::net::TcpStream> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut text = [0; 512];
    let greeting = far.read(&mut text).await?;
    near.write_all(&text[..greeting]).await?;
    loop {
        let said = near.read(&mut text).await?;
        let said = String::from_utf8_lossy(&text[..said]).to_ascii_uppercase();
        match said.split_whitespace().next() {
            Some("EHLO") => near.write_all(b"250-localhost\r\n250 STARTTLS\r\n").await?,
            Some("STARTTLS") => {
                near.write_all(b"220 go on\r\n").await?;
                return Ok(near);
            }
            _ => return Err(std::io::Error::other(said)),
        }
    }
}
