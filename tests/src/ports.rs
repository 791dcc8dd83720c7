//! Free TCP ports on the loopback address.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result};

/// A TCP port on 127.0.0.1 that nobody listens on.
///
/// Another process may take it before the caller's program does; the kernel hands such ports out in random order, so
/// that is rare. A program that can pick a port itself and report it should do that instead.
pub fn free() -> Result<u16> {
    Ok(all_free::<1>()?[0])
}

/// Several different free ports.
pub fn all_free<const N: usize>() -> Result<[u16; N]> {
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        // Kept open until all are found, so that no port is found twice.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port on 127.0.0.1")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
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
        TcpListener::bind((Ipv4Addr::LOCALHOST, one)).unwrap();
    }
}
