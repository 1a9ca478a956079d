//! Where the post meets the world: names, connections, mail; and the one task that keeps it going.

use super::address::{Barred, Host};
use super::post::{Errand, Input, Letter, Output, Payment, Post, Report, Said, Target};
use super::sign::{ID, LONGEST_SECRET, SHORTEST_SECRET, SIGNATURE, TIMESTAMP, signature};
use super::{Config, Gate, HookUrl, Mailbox, SecretRef, Smtp, Tls, answer, mail};
use crate::clock::{self, Now};
use crate::telemetry::name;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use lettre::address::Envelope;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use zeroize::Zeroizing;

/// No more than this is read of an answer, head and body each.
const LONGEST_ANSWER: usize = 64 << 10;
/// Names looked up at once. The system's resolver cannot be called off: one that hangs keeps its thread.
const LOOKUPS: usize = 8;
/// Mail servers think about strangers for a while.
const MAIL_PATIENCE: Duration = Duration::from_secs(30);
/// Told to stop, so long for what is on its way.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Wants that wait for the books: one fetch, and a report of each errand.
const WANTS: usize = 2 * (super::post::LETTERS + super::post::PAYMENTS);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Carries one errand at a time, many at once.
#[derive(Clone)]
pub struct Courier {
    config: Config,
    lookup: Arc<Lookup>,
    lookups: Arc<Semaphore>,
    tls: TlsConnector,
}

impl Courier {
    /// By the system's resolver.
    pub fn new(config: Config) -> Courier {
        Courier::looking_up(config, |name, port| Ok((name, port).to_socket_addrs()?.collect()))
    }

    /// By a resolver of one's own.
    pub fn looking_up(
        config: Config,
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Courier {
        let lookups = Arc::new(Semaphore::new(LOOKUPS));
        let tls = connector(&config.authorities);
        Courier { config, lookup: Arc::new(lookup), lookups, tls }
    }

    /// Never fails: what goes wrong out there is an answer like others.
    pub async fn carry(&self, errand: &Errand) -> Said {
        match errand {
            Errand::Letter(letter) => self.letter(letter).await,
            Errand::Payment(payment) => self.payment(payment).await,
        }
    }

    async fn letter(&self, letter: &Letter) -> Said {
        match &letter.target {
            Target::Mail(to) => match timeout(MAIL_PATIENCE, self.mail(letter, to)).await {
                Ok(Ok(())) => Said::Yes,
                Ok(Err(why)) => Said::Unclear(why),
                Err(_) => Said::Unclear(format!("no answer within {} s", MAIL_PATIENCE.as_secs())),
            },
            Target::Hook { url, secret } => {
                let body = answer::letter_body(letter);
                match self.post(url, secret, &letter.alert.id, body, None).await {
                    Ok((status, _)) => answer::of_letter(status),
                    Err(why) => Said::Unclear(why),
                }
            }
        }
    }

    async fn payment(&self, payment: &Payment) -> Said {
        let body = answer::payment_body(payment);
        match self.post(&payment.hook, &payment.secret, &payment.key, body, Some(&payment.key)).await {
            Ok((status, body)) => answer::of_payment(&payment.key, status, body.as_deref().map_err(String::as_str)),
            Err(why) => Said::Unclear(why),
        }
    }

    /// One signed POST. Gives the status, and the body as far as it came; all within the time set.
    async fn post(
        &self,
        url: &HookUrl,
        secret: &SecretRef,
        id: &str,
        body: Vec<u8>,
        idempotency_key: Option<&str>,
    ) -> Result<(u16, Result<Vec<u8>, String>), String> {
        let until = Instant::now() + self.config.patience;
        let late = || format!("no answer within {:?}", self.config.patience);
        let exchange = async {
            let secret = read_secret(secret.clone()).await?;
            let timestamp = clock::wall().seconds();
            let mut request = Request::post(url.path())
                .header("host", url.authority())
                .header("content-type", "application/json")
                .header("user-agent", concat!("tollbridge/", env!("CARGO_PKG_VERSION")))
                .header(ID, id)
                .header(TIMESTAMP, timestamp)
                .header(SIGNATURE, signature(&secret, timestamp, id, &body));
            if let Some(key) = idempotency_key {
                request = request.header("idempotency-key", key);
            }
            let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
            let address = self.resolve(url).await?;
            let stream = TcpStream::connect(address).await.map_err(|error| format!("{address}: {error}"))?;
            if !url.is_tls() {
                return converse(stream, request, until).await;
            }
            let name = server_name(url.host())?;
            let stream = self.tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
            converse(stream, request, until).await
        };
        timeout_at(until, exchange).await.unwrap_or_else(|_| Err(late()))
    }

    /// The address to connect to: one, checked, and asked for once.
    async fn resolve(&self, url: &HookUrl) -> Result<SocketAddr, String> {
        let addresses = match url.host() {
            Host::Literal(address) => vec![SocketAddr::new(*address, url.port())],
            Host::Name(name) => self.look_up(name.clone(), url.port()).await?,
        };
        self.config.gate.admit(&addresses).map_err(|barred| barred.to_string())
    }

    async fn look_up(&self, name: String, port: u16) -> Result<Vec<SocketAddr>, String> {
        let permit = self.lookups.clone().acquire_owned().await.map_err(|error| error.to_string())?;
        let lookup = self.lookup.clone();
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            lookup(&name, port).map_err(|error| format!("{name}: {error}"))
        });
        found.await.map_err(|error| error.to_string())?
    }

    /// What can be said of hooks before anything is sent to them: for whoever saves them. A name that leads nowhere just
    /// now is no reason to refuse it.
    pub async fn check(&self, url: &HookUrl) -> Result<(), Barred> {
        self.config.gate.admit_literal(url)?;
        let Host::Name(name) = url.host() else { return Ok(()) };
        match timeout(self.config.patience, self.look_up(name.clone(), url.port())).await {
            Ok(Ok(addresses)) if !addresses.is_empty() => self.config.gate.admit(&addresses).map(drop),
            _ => Ok(()),
        }
    }

    async fn mail(&self, letter: &Letter, to: &Mailbox) -> Result<(), String> {
        let smtp = self.config.smtp.as_ref().ok_or("no mail server is set: notice.smtp")?;
        let message = mail::message(&letter.alert, &smtp.from, to).map_err(|error| error.to_string())?;
        let words = |error: lettre::transport::smtp::Error| super::alert::cut(&error.to_string(), 200);
        let (mut connection, hello) = self.connect(smtp).await?;
        if smtp.tls == Tls::StartTls {
            let mut parameters = TlsParameters::builder(smtp.host.clone());
            for authority in &self.config.authorities {
                let authority = Certificate::from_der(authority.clone()).map_err(words)?;
                parameters = parameters.add_root_certificate(authority);
            }
            connection.starttls(parameters.build_rustls().map_err(words)?, &hello).await.map_err(words)?;
        }
        if let Some((user, password)) = &smtp.login {
            let password = read_secret_of(password.clone(), 1).await?;
            let password = std::str::from_utf8(&password).map_err(|_| "the mail password is not text")?;
            let credentials = Credentials::new(user.clone(), password.to_owned());
            connection.auth(DEFAULT_MECHANISMS, &credentials).await.map_err(words)?;
        }
        let envelope: &Envelope = message.envelope();
        connection.send(envelope, &message.formatted()).await.map_err(words)?;
        // It is theirs now, goodbye or not.
        let _ = connection.quit().await;
        Ok(())
    }

    /// The operator's own mail server: wherever it stands.
    async fn connect(&self, smtp: &Smtp) -> Result<(AsyncSmtpConnection, ClientId), String> {
        let words = |error: lettre::transport::smtp::Error| super::alert::cut(&error.to_string(), 200);
        let addresses = match smtp.host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, smtp.port)],
            Err(_) => self.look_up(smtp.host.clone(), smtp.port).await?,
        };
        let stream = TcpStream::connect(addresses.as_slice()).await;
        let stream = stream.map_err(|error| format!("{}:{}: {error}", smtp.host, smtp.port))?;
        let peer = stream.peer_addr().map_err(|error| error.to_string())?;
        let hello = match stream.local_addr().map(|address| address.ip()) {
            Ok(IpAddr::V4(own)) => ClientId::Ipv4(own),
            Ok(IpAddr::V6(own)) => ClientId::Ipv6(own),
            Err(error) => return Err(error.to_string()),
        };
        let stream: Box<dyn AsyncTokioStream> = if smtp.tls == Tls::Wrapped {
            let name = ServerName::try_from(smtp.host.clone()).map_err(|error| error.to_string())?;
            let stream = self.tls.connect(name, stream).await.map_err(|error| format!("TLS: {error}"))?;
            Box::new(Capped { stream, peer, left: LONGEST_ANSWER })
        } else {
            Box::new(Capped { stream, peer, left: LONGEST_ANSWER })
        };
        let connection = AsyncSmtpConnection::connect_with_transport(stream, &hello).await.map_err(words)?;
        Ok((connection, hello))
    }
}

/// The certificates of a PEM file, as DER; an error in words where there is none.
pub fn read_authorities(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let told = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
    let found = CertificateDer::pem_file_iter(path).map_err(|error| told(&error))?;
    let all: Vec<_> = found.collect::<Result<_, _>>().map_err(|error| told(&error))?;
    let mut roots = RootCertStore::empty();
    for (place, certificate) in (1..).zip(&all) {
        roots.add(certificate.clone()).map_err(|error| told(&format_args!("certificate {place}: {error}")))?;
    }
    if all.is_empty() {
        return Err(told(&"no certificate is in it (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(all.into_iter().map(|certificate| certificate.to_vec()).collect())
}

fn connector(authorities: &[Vec<u8>]) -> TlsConnector {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    roots.add_parsable_certificates(authorities.iter().map(|authority| CertificateDer::from_slice(authority)));
    let provider = Arc::new(crypto::ring::default_provider());
    // The provider has suites for the versions that are safe: there is no other arm.
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    TlsConnector::from(Arc::new(config.expect("ring has the usual suites")))
}

fn server_name(host: &Host) -> Result<ServerName<'static>, String> {
    match host {
        Host::Name(name) => ServerName::try_from(name.clone()).map_err(|error| error.to_string()),
        Host::Literal(address) => Ok(ServerName::from(*address)),
    }
}

/// One request and its answer over a connection of its own, which is driven here and ends here.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    until: Instant,
) -> Result<(u16, Result<Vec<u8>, String>), String> {
    let words = |error: hyper::Error| error.to_string();
    let mut http = hyper::client::conn::http1::Builder::new();
    http.max_buf_size(LONGEST_ANSWER);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(words)?;
    let mut exchange = pin!(async move {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status().as_u16();
        let body = timeout_at(until, read(response)).await;
        Ok((status, body.unwrap_or_else(|_| Err("the answer did not end in time".into()))))
    });
    let mut connection = pin!(connection);
    let mut is_open = true;
    loop {
        tokio::select! {
            biased;
            done = &mut exchange => return done,
            // Closed or broken: what was read of it is still to be had.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

async fn read(response: Response<Incoming>) -> Result<Vec<u8>, String> {
    let mut body = response.into_body();
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        let Some(data) = frame.data_ref() else { continue };
        if kept.len() + data.len() > LONGEST_ANSWER {
            return Err(format!("the answer is longer than {} KiB", LONGEST_ANSWER >> 10));
        }
        kept.extend_from_slice(data);
    }
    Ok(kept)
}

/// A connection of which only so much is read: a line without end would fill the memory.
struct Capped<S> {
    stream: S,
    peer: SocketAddr,
    left: usize,
}

impl<S> fmt::Debug for Capped<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capped({}, {} left)", self.peer, self.left)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Capped<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            return Poll::Ready(Err(io::Error::other("the mail server says too much")));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.left = self.left.saturating_sub(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Capped<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> AsyncTokioStream for Capped<S> {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.peer)
    }
}

/// The key of a signature.
async fn read_secret(secret: SecretRef) -> Result<Zeroizing<Vec<u8>>, String> {
    read_secret_of(secret, SHORTEST_SECRET).await
}

/// A secret, read where it is kept, each time: a new one needs no restart.
pub async fn read_secret_of(secret: SecretRef, shortest: usize) -> Result<Zeroizing<Vec<u8>>, String> {
    let read = move || {
        let bytes = match &secret {
            SecretRef::Env(variable) => {
                std::env::var(variable).map(|text| Zeroizing::new(text.into_bytes())).map_err(|e| e.to_string())
            }
            SecretRef::File(path) => read_file(path).map_err(|error| error.to_string()),
        };
        let bytes = bytes.map_err(|error| format!("the secret {secret} cannot be read: {error}"))?;
        let bytes = Zeroizing::new(bytes.trim_ascii().to_vec());
        let short = || format!("the secret {secret} is shorter than {shortest} bytes");
        if bytes.len() < shortest { Err(short()) } else { Ok(bytes) }
    };
    tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?
}

fn read_file(path: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe in its place must not hold up the thread.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST_SECRET as usize + 1));
    file.take(LONGEST_SECRET + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST_SECRET { Err(io::Error::other("longer than 4 KiB")) } else { Ok(bytes) }
}

/// What the office wants of the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Answered by [`Input::Fetched`] or [`Input::NotFetched`].
    Fetch {
        letters: usize,
        payments: usize,
    },
    Tell(Report),
}

/// The running post.
#[derive(Debug)]
pub struct Office {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Where the books' answers go.
#[derive(Clone, Debug)]
pub struct Inbox(mpsc::Sender<Input>);

impl Inbox {
    /// False: the office is closed.
    pub async fn put(&self, input: Input) -> bool {
        self.0.send(input).await.is_ok()
    }
}

impl Office {
    pub fn start(config: Config, seed: [u8; 32]) -> (Office, Inbox, mpsc::Receiver<(Now, Want)>) {
        Office::start_with(Courier::new(config), seed)
    }

    pub fn start_with(courier: Courier, seed: [u8; 32]) -> (Office, Inbox, mpsc::Receiver<(Now, Want)>) {
        let (stop, stopped) = watch::channel(false);
        let (inbox, inputs) = mpsc::channel(WANTS);
        let (wants, wanted) = mpsc::channel(WANTS);
        let post = Post::new(courier.config.clone(), seed);
        let clerk = Clerk { post, courier, away: JoinSet::new(), names: HashMap::new(), wants };
        (Office { stop, task: tokio::spawn(clerk.work(inputs, stopped)) }, Inbox(inbox), wanted)
    }

    /// Gives what is on its way a moment, and ends. What was not reported goes again after the next start.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        // A panic in the task was told by the hook.
        let _ = self.task.await;
    }
}

struct Clerk {
    post: Post,
    courier: Courier,
    away: JoinSet<Said>,
    names: HashMap<tokio::task::Id, String>,
    wants: mpsc::Sender<(Now, Want)>,
}

impl Clerk {
    async fn work(mut self, mut inputs: mpsc::Receiver<Input>, mut stopped: watch::Receiver<bool>) {
        self.post.wake(Now::read());
        loop {
            self.flush().await;
            let deadline = self.deadline();
            tokio::select! {
                _ = stopped.changed() => break,
                input = inputs.recv() => match input {
                    Some(input) => self.post.handle(Now::read(), input),
                    None => break,
                },
                Some(done) = self.away.join_next_with_id() => self.came_back(done),
                () = sleep_until(deadline) => self.post.wake(Now::read()),
            }
        }
        let until = Instant::now() + LAST_WORDS;
        while let Ok(Some(done)) = timeout_at(until, self.away.join_next_with_id()).await {
            self.came_back(done);
            self.report().await;
        }
        self.report().await;
    }

    fn deadline(&self) -> Instant {
        // An hour where nothing waits: select needs a moment, and an early one does no harm.
        let wait = self.post.deadline().map_or(Duration::from_secs(3_600), |at| at.since(clock::mono()));
        Instant::now() + wait
    }

    fn came_back(&mut self, done: Result<(tokio::task::Id, Said), tokio::task::JoinError>) {
        let (task, said) = match done {
            Ok(done) => done,
            // The panic was told by the hook.
            Err(error) => (error.id(), Said::Unclear("a fault of the bridge".into())),
        };
        if let Some(id) = self.names.remove(&task) {
            self.post.handle(Now::read(), Input::Said { id, said });
        }
    }

    async fn flush(&mut self) {
        while let Some(output) = self.post.poll() {
            match output {
                Output::Go(errand) => self.go(errand),
                Output::Fetch { letters, payments } => self.ask(Want::Fetch { letters, payments }).await,
                Output::Tell(report) => self.ask(Want::Tell(report)).await,
            }
        }
    }

    /// At the end only what has come back matters.
    async fn report(&mut self) {
        while let Some(output) = self.post.poll() {
            if let Output::Tell(report) = output {
                self.ask(Want::Tell(report)).await;
            }
        }
    }

    fn go(&mut self, errand: Errand) {
        let id = match &errand {
            Errand::Letter(letter) => letter.id.clone(),
            Errand::Payment(payment) => payment.key.clone(),
        };
        let courier = self.courier.clone();
        let task = self.away.spawn(async move {
            let said = courier.carry(&errand).await;
            count(&errand, &said);
            said
        });
        self.names.insert(task.id(), id);
    }

    async fn ask(&self, want: Want) {
        // Nobody listens any more where the node has stopped.
        let _ = self.wants.send((Now::read(), want)).await;
    }
}

fn count(errand: &Errand, said: &Said) {
    let by = match errand {
        Errand::Letter(Letter { target: Target::Mail(_), .. }) => "mail",
        Errand::Letter(Letter { target: Target::Hook { .. }, .. }) => "webhook",
        Errand::Payment(_) => "payment",
    };
    let result = match said {
        Said::Yes => "yes",
        Said::No(_) => "no",
        Said::Unclear(_) => "unclear",
    };
    metrics::counter!(name::NOTICES, "by" => by, "result" => result).increment(1);
}

/// Hooks that stand in a file, looked at before they are saved: what is wrong with each, in their order.
pub async fn check_all(gate: &Gate, urls: &[HookUrl]) -> Vec<Option<Barred>> {
    let courier = Courier::new(Config { gate: gate.clone(), ..Config::default() });
    let mut found = Vec::with_capacity(urls.len());
    for url in urls {
        found.push(courier.check(url).await.err());
    }
    found
}
