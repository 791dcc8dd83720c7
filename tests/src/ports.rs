//! Free TCP ports on the loopback address.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// A TCP port on 127.0.0.1 that nobody listens on.
///
/// Another process may take it before the caller's program does; the kernel hands such ports out in random order, so
/// that is rare. A program that can pick a port itself and report it should do that instead.
pub fn free() -> Result<u16> {
    Ok(all_free::<1>()?[0])
}

/// Several different free ports.
pub fn all_free<const N: usize>() -> Result<[u16; N]> {
    let mut sockets = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        // Bound but not listening, so that a copy of it in a process just being started stands in nobody's way. All are
        // kept until the end, so that no port is found twice.
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context("no free port on 127.0.0.1")?;
        *port = socket.local_addr()?.port();
        sockets.push(socket);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let [one, two, three] = all_free::<3>().unwrap();
        assert!(one != two && two != three && one != three);
        std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
    }
}
