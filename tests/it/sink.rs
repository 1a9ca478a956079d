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
