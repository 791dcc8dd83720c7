//! Which addresses are public (the IANA registries of special-purpose addresses, RFC 6890).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address that is not public is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// A private network.
    Private,
    /// The link: metadata services of clouds are found there.
    LinkLocal,
    /// Many receivers.
    Multicast,
    /// No address of a host: unspecified, broadcast, documentation, measurements, or kept for later.
    Reserved,
}

impl Scope {
    /// In a sentence about an address.
    pub fn words(self) -> &'static str {
        match self {
            Self::Loopback => "a loopback address",
            Self::Private => "a private address",
            Self::LinkLocal => "a link-local address",
            Self::Multicast => "a multicast address",
            Self::Reserved => "a reserved address",
        }
    }
}

/// `None` for a public address.
pub(super) fn scope(address: IpAddr) -> Option<Scope> {
    match address {
        IpAddr::V4(address) => scope_v4(address),
        IpAddr::V6(address) => scope_v6(address),
    }
}

fn scope_v4(address: Ipv4Addr) -> Option<Scope> {
    let [a, b, c, d] = address.octets();
    match (a, b, c) {
        (127, ..) => Some(Scope::Loopback),
        // Shared by carriers behind NAT: 100.64.0.0/10.
        (10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Some(Scope::Private),
        (169, 254, _) => Some(Scope::LinkLocal),
        // The one platform address of a cloud that looks public: 168.63.129.16.
        (168, 63, 129) if d == 16 => Some(Scope::LinkLocal),
        (224..=239, ..) => Some(Scope::Multicast),
        // This network, protocol assignments, documentation, the former relays of 6to4, benchmarks, and what is left.
        (0, ..)
        | (192, 0, 0 | 2)
        | (198, 51, 100)
        | (203, 0, 113)
        | (192, 88, 99)
        | (198, 18..=19, _)
        | (240..=255, ..) => Some(Scope::Reserved),
        _ => None,
    }
}

fn scope_v6(address: Ipv6Addr) -> Option<Scope> {
    let segments = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Scope::Loopback),
        [0, 0, 0, 0, 0, 0, 0, 0] => Some(Scope::Reserved),
        // An IPv4 address in another coat: mapped, translated (both prefixes of NAT64 that embed the whole), 6to4.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            scope_v4(v4(high, low))
        }
        [0xfc00..=0xfdff, ..] => Some(Scope::Private),
        // Site-local addresses were once what unique local ones are now.
        [0xfec0..=0xfeff, ..] => Some(Scope::Private),
        [0xfe80..=0xfebf, ..] => Some(Scope::LinkLocal),
        [0xff00..=0xffff, ..] => Some(Scope::Multicast),
        // Protocol assignments (Teredo among them, whose end can't be told), documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Scope::Reserved),
        [0x2000..=0x3fff, ..] => None,
        // Nothing else is given out to hosts.
        _ => Some(Scope::Reserved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_addresses() {
        use Scope::{LinkLocal, Loopback, Multicast, Private, Reserved};
        for (address, expected) in [
            ("8.8.8.8", None),
            ("172.15.0.1", None),
            ("172.32.0.1", None),
            ("100.63.0.1", None),
            ("100.128.0.1", None),
            ("2606:4700::1111", None),
            ("127.0.0.1", Some(Loopback)),
            ("127.255.255.254", Some(Loopback)),
            ("10.0.0.1", Some(Private)),
            ("172.16.0.1", Some(Private)),
            ("192.168.1.1", Some(Private)),
            ("100.64.0.1", Some(Private)),
            ("169.254.169.254", Some(LinkLocal)),
            ("168.63.129.16", Some(LinkLocal)),
            ("168.63.129.17", None),
            ("224.0.0.1", Some(Multicast)),
            ("0.0.0.0", Some(Reserved)),
            ("0.1.2.3", Some(Reserved)),
            ("192.0.0.8", Some(Reserved)),
            ("192.0.2.1", Some(Reserved)),
            ("198.51.100.1", Some(Reserved)),
            ("203.0.113.1", Some(Reserved)),
            ("198.18.0.1", Some(Reserved)),
            ("198.19.255.1", Some(Reserved)),
            ("240.0.0.1", Some(Reserved)),
            ("255.255.255.255", Some(Reserved)),
            ("::1", Some(Loopback)),
            ("::", Some(Reserved)),
            ("::127.0.0.1", Some(Reserved)),
            ("::ffff:127.0.0.1", Some(Loopback)),
            ("::ffff:10.0.0.1", Some(Private)),
            ("::ffff:8.8.8.8", None),
            ("64:ff9b::a9fe:a9fe", Some(LinkLocal)),
            ("64:ff9b::808:808", None),
            ("64:ff9b:1::a00:1", Some(Reserved)),
            ("2002:a00:1::1", Some(Private)),
            ("2002:7f00:1::", Some(Loopback)),
            ("2001::1", Some(Reserved)),
            ("2001:db8::1", Some(Reserved)),
            ("3fff::1", Some(Reserved)),
            ("fd00::1", Some(Private)),
            ("fe80::1", Some(LinkLocal)),
            ("fec0::1", Some(Private)),
            ("ff02::1", Some(Multicast)),
            ("100::1", Some(Reserved)),
            ("5f00::1", Some(Reserved)),
        ] {
            assert_eq!(scope(address.parse().unwrap()), expected, "{address}");
        }
    }
}
