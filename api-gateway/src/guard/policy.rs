//! Where may be connected to: decided before any connection.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::{Scope, addresses};

/// Why a URL, or where it leads to, is not connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// It is none.
    #[error("is no absolute URL")]
    NotAUrl,
    /// Another scheme.
    #[error("is no https URL; only those are allowed")]
    NotHttps,
    /// Another scheme, where http is allowed.
    #[error("is no https or http URL; only those are allowed")]
    NotHttp,
    /// Name or password in the URL.
    #[error("has credentials in its URL; put them nowhere, or into the path or query of a signed URL")]
    Credentials,
    /// An address that is not public.
    #[error("leads to {}; only public addresses are allowed", .0.words())]
    Address(Scope),
}

/// What may be connected to.
#[derive(Debug, Clone)]
pub struct Policy {
    allow_http: bool,
    networks: Vec<IpNet>,
    hosts: Vec<String>,
}

impl Policy {
    /// As configured: whether `http` is allowed beside `https`, and networks (CIDR) and names of hosts that may be reached
    /// although their addresses are not public. `section` names the settings.
    ///
    /// # Errors
    /// When an entry of `allow_private` is neither a network nor the name of a host.
    pub fn new(section: &str, allow_http: bool, allow_private: &[String]) -> Result<Self, String> {
        let (mut networks, mut hosts) = (Vec::new(), Vec::new());
        for entry in allow_private {
            match (entry.parse::<IpNet>(), entry.parse::<IpAddr>(), Host::parse(entry)) {
                (Ok(network), ..) => networks.push(network),
                (_, Ok(address), _) => networks.push(address.into()),
                (.., Ok(Host::Domain(name))) if !entry.contains(['/', ':']) => hosts.push(name),
                _ => {
                    return Err(format!(
                        "{section}.allow_private: {entry:?} is neither a network such as 10.0.0.0/8 nor the name of a host"
                    ));
                }
            }
        }
        Ok(Self { allow_http, networks, hosts })
    }

    /// Reads a URL that may be connected to, as far as it shows without looking up its host.
    ///
    /// # Errors
    /// When it may not.
    pub fn parse(&self, text: &str) -> Result<Url, Forbidden> {
        let url = Url::parse(text).map_err(|_| Forbidden::NotAUrl)?;
        self.check(&url)?;
        Ok(url)
    }

    /// As [`Policy::parse`], of what a redirect leads to.
    ///
    /// # Errors
    /// When it may not be connected to.
    pub fn check(&self, url: &Url) -> Result<(), Forbidden> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            _ if self.allow_http => return Err(Forbidden::NotHttp),
            _ => return Err(Forbidden::NotHttps),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Forbidden::Credentials);
        }
        // Numbers in any notation were read as addresses by the URL's parser.
        match url.host() {
            None => Err(Forbidden::NotAUrl),
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(address)) => self.check_address(address.into()),
            Some(Host::Ipv6(address)) => self.check_address(address.into()),
        }
    }

    /// The addresses of a host that may be connected to.
    ///
    /// # Errors
    /// When none of them may.
    pub(super) fn allowed(&self, host: &str, addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, Forbidden> {
        if self.hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host.trim_end_matches('.'))) {
            return Ok(addresses);
        }
        let (mut allowed, mut forbidden) = (Vec::new(), None);
        for address in addresses {
            match self.check_address(address) {
                Ok(()) => allowed.push(address),
                Err(why) => forbidden = Some(why),
            }
        }
        match forbidden {
            Some(why) if allowed.is_empty() => Err(why),
            _ => Ok(allowed),
        }
    }

    fn check_address(&self, address: IpAddr) -> Result<(), Forbidden> {
        match addresses::scope(address) {
            Some(scope) if !self.networks.iter().any(|network| network.contains(&address.to_canonical())) => {
                Err(Forbidden::Address(scope))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allow_http: bool, allow_private: &[&str]) -> Policy {
        let allow_private: Vec<String> = allow_private.iter().map(|entry| (*entry).to_owned()).collect();
        Policy::new("gateway.tests", allow_http, &allow_private).unwrap()
    }

    #[test]
    fn the_table_of_urls() {
        use Forbidden::{Address, Credentials, NotAUrl, NotHttps};
        let strict = policy(false, &[]);
        for (url, expected) in [
            ("https://example.org/a?b=c", Ok(())),
            ("https://example.org:8443/", Ok(())),
            ("https://8.8.8.8/", Ok(())),
            ("http://example.org/", Err(NotHttps)),
            ("file:///etc/passwd", Err(NotHttps)),
            ("ftp://example.org/", Err(NotHttps)),
            ("data:application/json,1", Err(NotHttps)),
            ("/relative", Err(NotAUrl)),
            ("", Err(NotAUrl)),
            ("https://", Err(NotAUrl)),
            ("https://user@example.org/", Err(Credentials)),
            ("https://:secret@example.org/", Err(Credentials)),
            ("https://169.254.169.254/latest/meta-data", Err(Address(Scope::LinkLocal))),
            ("https://10.0.0.1/", Err(Address(Scope::Private))),
            ("https://[::1]/", Err(Address(Scope::Loopback))),
            ("https://[::ffff:127.0.0.1]/", Err(Address(Scope::Loopback))),
            ("https://127.1/", Err(Address(Scope::Loopback))),
            ("https://2130706433/", Err(Address(Scope::Loopback))),
            ("https://0x7f.0.0.1/", Err(Address(Scope::Loopback))),
            ("https://0177.0.0.1/", Err(Address(Scope::Loopback))),
        ] {
            assert_eq!(strict.parse(url).map(|_| ()), expected, "{url}");
        }
    }

    #[test]
    fn what_is_allowed_by_configuration_may_be_connected_to() {
        let lax = policy(true, &["127.0.0.0/8", "192.168.7.7", "data.internal"]);
        for url in
            ["http://127.0.0.1:99/", "http://192.168.7.7/", "https://[::ffff:127.0.0.1]/", "http://data.internal/"]
        {
            assert!(lax.parse(url).is_ok(), "{url}");
        }
        assert_eq!(lax.parse("http://192.168.7.8/").unwrap_err(), Forbidden::Address(Scope::Private));
        assert_eq!(lax.parse("ftp://example.org/").unwrap_err(), Forbidden::NotHttp);
        let private: Vec<IpAddr> = vec!["10.1.2.3".parse().unwrap()];
        assert_eq!(lax.allowed("DATA.internal.", private.clone()), Ok(private.clone()));
        assert_eq!(lax.allowed("other.internal", private), Err(Forbidden::Address(Scope::Private)));
    }

    #[test]
    fn of_a_name_only_public_addresses_are_connected_to() {
        let (public, private): (IpAddr, IpAddr) = ("8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap());
        assert_eq!(policy(false, &[]).allowed("a.example", vec![private, public]), Ok(vec![public]));
    }

    #[test]
    fn an_entry_that_is_neither_network_nor_host_is_a_mistake() {
        for entry in ["10.0.0.0/99", "a b", "https://data.internal"] {
            let mistake = Policy::new("gateway.tests", false, &[entry.to_owned()]).unwrap_err();
            assert!(mistake.starts_with("gateway.tests.allow_private"), "{mistake}");
        }
    }
}
