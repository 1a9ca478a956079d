//! A bad line: a relay for datagrams that loses some of them, each way, as its seed says, and may be slow with the others.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Default)]
pub struct Way {
    pub passed: AtomicU64,
    pub lost: AtomicU64,
}

/// Between one peer and the bridge, until dropped.
pub struct Relay {
    /// Where the peer sends to.
    pub near: SocketAddr,
    pub there: Arc<Way>,
    pub back: Arc<Way>,
    _ways: JoinSet<()>,
}

impl Relay {
    /// The bridge sees `ip` as the peer's. `loss` is a part of one.
    pub async fn start(ip: [u8; 4], bridge: SocketAddr, loss: f64, seed: u64) -> Relay {
        Relay::late(ip, bridge, loss, Duration::ZERO, seed).await
    }

    /// The same, where each datagram to the bridge takes up to so long, by itself: they come in another order, too.
    pub async fn late(ip: [u8; 4], bridge: SocketAddr, loss: f64, most: Duration, seed: u64) -> Relay {
        let bind = || UdpSocket::bind(SocketAddr::from((ip, 0)));
        let (near, far) = (Arc::new(bind().await.unwrap()), Arc::new(bind().await.unwrap()));
        far.connect(bridge).await.unwrap();
        let (there, back) = (Arc::new(Way::default()), Arc::new(Way::default()));
        let (caller, called) = watch::channel(None);
        let mut ways = JoinSet::new();
        let address = near.local_addr().unwrap();
        {
            let (near, far, way, mut line) = (near.clone(), far.clone(), there.clone(), Line::new(loss, seed));
            ways.spawn(async move {
                let mut datagram = vec![0; 65_535];
                loop {
                    let Ok((length, from)) = near.recv_from(&mut datagram).await else { continue };
                    caller.send_replace(Some(from));
                    if !line.carries(&way) {
                        continue;
                    }
                    let Some(wait) = line.keeps(most) else {
                        let _ = far.send(&datagram[..length]).await;
                        continue;
                    };
                    let (far, datagram) = (far.clone(), datagram[..length].to_vec());
                    tokio::spawn(async move {
                        tokio::time::sleep(wait).await;
                        let _ = far.send(&datagram).await;
                    });
                }
            });
        }
        let (way, mut line) = (back.clone(), Line::new(loss, seed + 1));
        ways.spawn(async move {
            let mut datagram = vec![0; 65_535];
            loop {
                let Ok(length) = far.recv(&mut datagram).await else { continue };
                let to = *called.borrow();
                if let Some(to) = to.filter(|_| line.carries(&way)) {
                    let _ = near.send_to(&datagram[..length], to).await;
                }
            }
        });
        Relay { near: address, there, back, _ways: ways }
    }
}

struct Line {
    loss: f64,
    rng: StdRng,
}

impl Line {
    fn new(loss: f64, seed: u64) -> Line {
        Line { loss, rng: StdRng::seed_from_u64(seed) }
    }

    fn carries(&mut self, way: &Way) -> bool {
        let lost = self.rng.random_bool(self.loss);
        let count = if lost { &way.lost } else { &way.passed };
        count.fetch_add(1, Ordering::Relaxed);
        !lost
    }

    /// How long the next one is on its way.
    fn keeps(&mut self, most: Duration) -> Option<Duration> {
        (!most.is_zero()).then(|| most.mul_f64(self.rng.random_range(0.0..=1.0)))
    }
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} lost", self.passed.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed))
    }
}
