//! Whether a client is still there while nothing is sent to it.
//!
//! A client that has gone and one that only has nothing more to ask look the same at first: both have closed their side of the
//! connection, and the second one waits for its answer. What tells them apart is what the client's system answers to TCP's own
//! probes: of a connection that nobody has any more it knows nothing, and resets it. Systems remember such a connection for
//! a while, most for a minute, so that a client that has gone is missed after a minute and a half; one that is sent something
//! is missed at once.

use std::{
    any::Any,
    net::TcpStream,
    sync::{Arc, Weak},
    time::Duration,
};

use actix_web::{HttpRequest, dev::Extensions, rt::net};
use socket2::{SockRef, TcpKeepalive};
use tracing::debug;

/// Seconds without a byte before the first probe, and between two.
const PROBE: Duration = Duration::from_secs(15);
/// Probes without an answer, then the connection is given up.
const PROBES: u32 = 4;
/// So often it is looked whether the connection is still one.
const LOOK: Duration = Duration::from_secs(2);

/// The connection as its server has it, a second time: the framework keeps its own to itself.
struct Connection(Arc<TcpStream>);

/// The client of a request, if it came over a connection.
#[derive(Clone)]
pub(crate) struct Peer(Option<Weak<TcpStream>>);

/// A connection begins: its client is probed from now on.
pub(crate) fn connected(io: &dyn Any, data: &mut Extensions) {
    use std::os::fd::AsFd;
    let Some(stream) = io.downcast_ref::<net::TcpStream>() else { return };
    let probes = TcpKeepalive::new().with_time(PROBE).with_interval(PROBE).with_retries(PROBES);
    let probed = SockRef::from(stream).set_tcp_keepalive(&probes);
    match probed.and_then(|()| stream.as_fd().try_clone_to_owned()) {
        Ok(same) => {
            data.insert(Connection(Arc::new(same.into())));
        }
        Err(error) => debug!(%error, "a client that goes without a word is missed late"),
    }
}

impl Peer {
    /// Who sent a request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        Self(request.conn_data::<Connection>().map(|connection| Arc::downgrade(&connection.0)))
    }

    /// Comes back once the client has gone.
    pub(crate) async fn gone(&self) {
        let Some(connection) = &self.0 else { return std::future::pending().await };
        // A connection that was reset has no other end.
        while connection.upgrade().is_some_and(|stream| stream.peer_addr().is_ok()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}
