//! Reads datagrams of a socket, as fast as they come.

use crate::sip::transport::is_keep_alive;
use crate::sip::{Flow, Transport};
use bytes::Bytes;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// The largest datagram that IP carries.
const DATAGRAM: usize = 65_535;
/// So many in one go, before others have their turn.
const ONE_GO: usize = 4_096;

/// Gives each datagram to `take`, until that says that there is no more use in it.
pub(in crate::sip) async fn read_datagrams(
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    mut take: impl FnMut(Flow, Bytes) -> bool,
) {
    let mut buffer = vec![0; DATAGRAM];
    let mut taken = 0;
    loop {
        // All that has come, in one go: the system's buffer may be small, and it drops what is of calls as gladly as what is
        // new. Here it is seen how much waits.
        let received = match socket.try_recv_from(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                taken = 0;
                // An error here comes again where it is read.
                let _ = socket.readable().await;
                continue;
            }
            received => received,
        };
        taken += 1;
        if taken % ONE_GO == 0 {
            tokio::task::yield_now().await;
        }
        // An error here is an ICMP of some earlier packet: nothing to do with the next.
        let Ok((length, peer)) = received else { continue };
        if is_keep_alive(&buffer[..length]) {
            continue;
        }
        let flow = Flow { transport: Transport::Udp, local, peer };
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        if !take(flow, bytes) {
            return;
        }
    }
}
