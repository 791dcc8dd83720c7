//! The names of hosts, looked up once: the addresses that were checked are those connected to, so that no second answer
//! of a name server can lead elsewhere.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Policy;

/// Looks names up, and answers with what may be connected to.
pub(super) struct Guarded(pub(super) Policy);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<IpAddr> = tokio::net::lookup_host((host, 0)).await?.map(|address| address.ip()).collect();
            let allowed = policy.allowed(host, found)?;
            // The port is the URL's.
            let addresses: Addrs = Box::new(allowed.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        })
    }
}
