//! Which address a request came from, for logs, limits and audit: proxies are believed only where the settings name them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, de::Error};

/// Networks whose proxies are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// The nearest address that no trusted proxy has: `forwarded` are the addresses of `X-Forwarded-For`, in their order.
    pub fn client<'a>(&self, peer: IpAddr, forwarded: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for address in forwarded.rev() {
            if !self.0.iter().any(|network| network.contains(&client)) {
                break;
            }
            // What can't be read was not written by a proxy that is to be believed.
            let Ok(before) = address.trim().parse::<IpAddr>() else { break };
            client = before.to_canonical();
        }
        client
    }
}

impl<'de> Deserialize<'de> for TrustedProxies {
    /// Reads networks separated by commas; an address alone is a network of one.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let network = |part: &str| {
            let alone = || part.parse::<IpAddr>().map(IpNet::from);
            part.parse::<IpNet>().or_else(|_| alone()).map_err(|_| {
                D::Error::custom("trusted_proxies: expected networks such as 10.0.0.0/8, separated by commas")
            })
        };
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &str) -> String {
        let proxies: TrustedProxies = serde_json::from_value(trusted.into()).unwrap();
        proxies.client(peer.parse().unwrap(), forwarded.split(',')).to_string()
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        assert_eq!(client("", "10.0.0.1", "1.2.3.4"), "10.0.0.1", "nobody, by default");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(client("10.0.0.0/8", "9.9.9.9", "1.2.3.4"), "9.9.9.9");
        assert_eq!(
            client("10.0.0.0/8, ::1", "::1", "6.6.6.6, 1.2.3.4, 10.0.0.2"),
            "1.2.3.4",
            "what it says before is hearsay"
        );
        assert_eq!(client("10.0.0.0/8", "::ffff:10.0.0.1", "1.2.3.4"), "1.2.3.4");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", "nonsense"), "10.0.0.1");
        assert_eq!(client("10.0.0.0/8", "10.0.0.1", "10.0.0.3"), "10.0.0.3");
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        let wrong = serde_json::from_value::<TrustedProxies>("10.0.0.0/99".into()).unwrap_err();
        assert!(wrong.to_string().contains("trusted_proxies"), "{wrong}");
    }
}
