//! The built program as a process of its own, that can be killed, stopped and woken, and the books beside it.

use crate::world::{CARRIER, DIRECT, PEOPLE, apply};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::rating::UsageRecord;
use tollbridge::store::{Options, Store, UsageFilter, key_file_of};

/// Where the tests' PostgreSQL is; tests/postgres starts one, and tests/run calls it.
const SERVER: &str = "TOLLBRIDGE_TEST_POSTGRES";

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The address of a new, empty schema.
pub async fn schema() -> String {
    use sqlx::Connection;
    let server = std::env::var(SERVER).unwrap_or_else(|_| panic!("{SERVER} is not set: run `tests/postgres COMMAND`"));
    let name = format!("it{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let mut conn = sqlx::PgConnection::connect(&server).await.unwrap();
    sqlx::query("SELECT new_schema($1)").bind(&name).execute(&mut conn).await.unwrap();
    format!("{server}?options=-csearch_path%3D{name}")
}

/// A port that was free a moment ago; a bridge that is started again must have the same.
pub fn free() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Books, and the folder of the node's own files.
pub struct Books {
    url: String,
    folder: TempDir,
}

impl Books {
    pub fn file() -> Books {
        let folder = tempfile::tempdir().unwrap();
        Books { url: format!("sqlite:{}", folder.path().join("books.db").display()), folder }
    }

    pub async fn server() -> Books {
        Books { url: schema().await, folder: tempfile::tempdir().unwrap() }
    }

    /// A command that becomes a bridge on these books.
    pub fn run(&self, command: Command, sip: SocketAddr) -> Bridge {
        Bridge::run(command, &self.url, self.folder.path(), sip)
    }

    /// The same books, seen from another machine.
    pub fn elsewhere(&self) -> Books {
        let other = Books { url: self.url.clone(), folder: tempfile::tempdir().unwrap() };
        // The key of PINs is the same on all nodes.
        let key = |books: &Books| key_file_of(&books.url, &books.data());
        std::fs::create_dir_all(other.data()).unwrap();
        std::fs::copy(key(self), key(&other)).unwrap();
        other
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Opens them as soon as nobody else has them.
    async fn open(&self) -> Store {
        for _ in 0..500 {
            if let Ok(store) = Store::open(&self.url, Options { folder: self.data(), ..Options::default() }).await {
                return store;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the store stays locked");
    }

    /// The people of the tests, with money enough, and their carrier.
    pub async fn fill(&self) {
        let store = self.open().await;
        apply(&store, &PEOPLE.replace("credits = \"10.00\"", "credits = \"1000.00\"")).await;
        let source = IpAddr::from(CARRIER);
        apply(&store, &format!("[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\n")).await;
    }

    /// With nobody running: what was left open is closed, and the books are right. Gives all records.
    pub async fn audited(&self) -> Vec<UsageRecord> {
        let store = self.open().await;
        store.recover(tollbridge::clock::wall()).await.unwrap();
        assert_eq!(store.audit().await.unwrap(), []);
        assert_eq!(store.live_legs().await.unwrap(), []);
        for organisation in ["acme", "poor", "omega"] {
            assert_eq!(store.balance(&organisation.parse().unwrap()).await.unwrap().held.0, 0, "{organisation}");
        }
        store.usage(&UsageFilter::default()).await.unwrap()
    }
}

/// A running process.
pub struct Bridge {
    child: Child,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may be dead already: that is what some tests are about.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bridge {
    pub fn start(books: &Books, sip: SocketAddr, options: &[&str]) -> Bridge {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollbridge"));
        command.arg("serve").args(options);
        books.run(command, sip)
    }

    /// Of a command that becomes the bridge.
    pub fn run(mut command: Command, url: &str, folder: &Path, sip: SocketAddr) -> Bridge {
        command
            .current_dir(folder)
            .env("TOLLBRIDGE__SIP__LISTEN", format!("[\"udp:{sip}\"]"))
            .env("TOLLBRIDGE__API__LISTEN", "127.0.0.1:0")
            .env("TOLLBRIDGE__STORE__URL", url)
            .env("TOLLBRIDGE__STORE__FOLDER", folder.join("data"))
            .env("TOLLBRIDGE__MEDIA__PORTS", "20000-29999")
            .env("TOLLBRIDGE__MEDIA__THREADS", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Bridge { child: command.spawn().unwrap() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// No warning, no last word.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Its exit code; `None` where it goes on.
    pub async fn ended(&mut self, patience: Duration) -> Option<i32> {
        let until = std::time::Instant::now() + patience;
        while std::time::Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status.code().unwrap_or(-1));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

pub async fn call(carrier: &Exchange, from: &str) -> Phone {
    for _ in 0..500 {
        if let Ok(phone) = carrier.call(from, DIRECT).await {
            return phone;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the bridge does not take calls");
}
