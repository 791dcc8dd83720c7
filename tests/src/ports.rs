//! Free TCP ports on the loopback address.

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio::net::TcpSocket;

/// A TCP port on 127.0.0.1 that nobody listens on.
///
/// It is below those that the kernel gives to connections, one of which could take it before the caller's program does, and
/// drawn at random, so that another process which looks for ports hardly finds the same. A program that can pick a port
/// itself and report it should do that instead.
pub fn free() -> Result<u16> {
    Ok(all_free::<1>()?[0])
}

/// Several different free ports.
pub fn all_free<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    for port in &mut ports {
        *port = (0..TRIES).find_map(|_| draw()).context("no free port on 127.0.0.1")?;
    }
    Ok(ports)
}

/// Linux gives connections ports from 32768 on, unless configured otherwise.
const FIRST: u16 = 16_384;
const COUNT: u16 = 16_384;
const TRIES: u32 = 1000;
/// What was given out before: no port is found twice.
static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// A port that can be bound, and was not given out before.
fn draw() -> Option<u16> {
    let port = FIRST + rand::random::<u16>() % COUNT;
    let socket = TcpSocket::new_v4().ok()?;
    // Bound but not listening, so that it can be bound anew at once.
    socket.set_reuseaddr(true).ok()?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    given.get_or_insert_default().insert(port).then_some(port)
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
