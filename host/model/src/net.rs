//! Hosts and ports: what a cell asks to reach, and patterns of what a person lets be reached. Text and comparison only; nobody is asked for an address.

use core::net::IpAddr;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A host by name or address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A name, lower case.
    Name(String),
    /// All names below a name: `*.example.com` without the `*.`.
    Suffix(String),
    /// An address.
    Ip(IpAddr),
}

/// What a cell asks to reach: always a port, so that who grants it knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetRule {
    /// The host.
    pub host: Host,
    /// The port, 1 to 65535.
    pub port: u16,
}

/// What a person grants or denies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetGrant {
    host: Pattern,
    /// The port; without one, all.
    pub port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Host(Host),
    /// An address range: the first bits of an address.
    Range(IpAddr, u8),
}

/// A text that is no host and port.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NetError {
    /// The host.
    #[error(
        "`{0}` is not a host; valid: `example.com`, `*.example.com`, `10.0.0.5`, `[::1]`, in ASCII"
    )]
    Host(String),
    /// The port.
    #[error(
        "`{0}` has no port that can be reached; valid: `HOST:PORT`, with a port from 1 to 65535"
    )]
    Port(String),
}

fn shown(text: &str) -> String {
    text.chars().take(120).flat_map(char::escape_debug).collect()
}

/// The longest name there is (RFC 1035).
const LONGEST: usize = 253;

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last part of digits alone would be read as an address by some (`1.2.3`, `0x7f.1`).
    let last = text.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    text.len() <= LONGEST && text.split('.').all(label) && !number
}

impl FromStr for Host {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let error = || NetError::Host(shown(text));
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(error)?;
            let address: core::net::Ipv6Addr = inner.parse().map_err(|_| error())?;
            return Ok(Self::Ip(plain(address.into())));
        }
        if let Ok(address) = text.parse::<core::net::Ipv4Addr>() {
            return Ok(Self::Ip(address.into()));
        }
        let lower = text.to_ascii_lowercase();
        // The root's dot says the same.
        let lower = lower.strip_suffix('.').unwrap_or(&lower);
        match lower.strip_prefix("*.") {
            Some(rest) if is_name(rest) && rest.contains('.') => Ok(Self::Suffix(rest.to_owned())),
            None if is_name(lower) => Ok(Self::Name(lower.to_owned())),
            _ => Err(error()),
        }
    }
}

/// An IPv4 address in IPv6's clothes is that IPv4 address.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
            Self::Ip(IpAddr::V4(address)) => write!(f, "{address}"),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Host {
    /// Whether all of `other` is in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Suffix(suffix), Self::Name(name)) => below(name, suffix),
            (Self::Suffix(suffix), Self::Suffix(name)) => name == suffix || below(name, suffix),
            (a, b) => a == b,
        }
    }
}

fn below(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
}

impl FromStr for NetRule {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        let (host, port) = text.rsplit_once(':').ok_or_else(|| NetError::Port(shown(text)))?;
        let host: Host = host.parse()?;
        // Linux connects it to loopback, past whoever denied that.
        if matches!(host, Host::Ip(address) if address.is_unspecified()) {
            return Err(NetError::Host(shown(text)));
        }
        Ok(Self { host, port: port_of(text, port)? })
    }
}

fn port_of(text: &str, port: &str) -> Result<u16, NetError> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    let number = port.parse().ok().filter(|port| digits && *port > 0);
    number.ok_or_else(|| NetError::Port(shown(text)))
}

impl fmt::Display for NetRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for NetGrant {
    type Err = NetError;
    fn from_str(text: &str) -> Result<Self, NetError> {
        // An address in brackets has colons of its own.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port_of(text, port)?)),
            _ => (text, None),
        };
        if host == "*" {
            return Ok(Self { host: Pattern::Any, port });
        }
        if let Some((address, bits)) = host.split_once('/') {
            let Host::Ip(address) = address.parse()? else {
                return Err(NetError::Host(shown(text)));
            };
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most);
            let bits = bits.ok_or_else(|| NetError::Host(shown(text)))?;
            return Ok(Self { host: Pattern::Range(address, bits), port });
        }
        Ok(Self { host: Pattern::Host(host.parse()?), port })
    }
}

impl NetGrant {
    /// Whether all of what is asked for is in it.
    #[must_use]
    pub fn covers(&self, asked: &NetRule) -> bool {
        let port = self.port.is_none_or(|port| port == asked.port);
        port && match (&self.host, &asked.host) {
            (Pattern::Any, _) => true,
            (Pattern::Host(host), asked) => host.covers(asked),
            (Pattern::Range(first, bits), Host::Ip(address)) => in_range(*first, *bits, *address),
            (Pattern::Range(..), Host::Name(_) | Host::Suffix(_)) => false,
        }
    }

    /// Whether any of what is asked for is in it. An IPv6 address through which an IPv4 address is reached is that one, too.
    #[must_use]
    pub fn touches(&self, asked: &NetRule) -> bool {
        if let Some(address) = embedded(&asked.host)
            && self.touches(&NetRule { host: Host::Ip(address), port: asked.port })
        {
            return true;
        }
        let inside = match &self.host {
            Pattern::Host(host) => {
                asked.host.covers(host)
                    || (is_local(host)
                        && is_local(&asked.host)
                        && (names(host) || names(&asked.host)))
            }
            // The one name that may lead to loopback.
            Pattern::Range(first, bits) => {
                names(&asked.host)
                    && is_local(&asked.host)
                    && LOOPBACKS.iter().any(|local| in_range(*first, *bits, *local))
            }
            Pattern::Any => false,
        };
        self.covers(asked) || (inside && self.port.is_none_or(|port| port == asked.port))
    }
}

/// Where `localhost` leads.
const LOOPBACKS: [IpAddr; 2] =
    [IpAddr::V4(core::net::Ipv4Addr::LOCALHOST), IpAddr::V6(core::net::Ipv6Addr::LOCALHOST)];

fn names(host: &Host) -> bool {
    matches!(host, Host::Name(_))
}

/// Whether a host is this machine: by address, or as `localhost`.
fn is_local(host: &Host) -> bool {
    match host {
        Host::Name(name) => name == "localhost",
        Host::Suffix(_) => false,
        Host::Ip(address) => address.is_loopback(),
    }
}

/// The IPv4 address that a translator (NAT64, RFC 6052 and 8215) or a relay (6to4, RFC 3056) makes of an IPv6 address.
fn embedded(host: &Host) -> Option<IpAddr> {
    let Host::Ip(IpAddr::V6(address)) = host else { return None };
    let (high, low) = match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => (high, low),
        _ => return None,
    };
    let bits = u32::from(high) << 16 | u32::from(low);
    Some(core::net::Ipv4Addr::from_bits(bits).into())
}

fn in_range(first: IpAddr, bits: u8, address: IpAddr) -> bool {
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()) << 96, 32_u32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((a, width), (b, other)) = (number(first), number(plain(address)));
    let kept = if bits == 0 { 0 } else { u128::MAX << (128 - u32::from(bits)) };
    width == other && (a ^ b) & kept == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_name_a_host_and_a_port() {
        for (text, shown) in [
            ("Example.COM:443", "example.com:443"),
            ("example.com.:80", "example.com:80"),
            ("*.example.com:443", "*.example.com:443"),
            ("10.0.0.5:5432", "10.0.0.5:5432"),
            ("[::1]:80", "[::1]:80"),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
            ("localhost:8080", "localhost:8080"),
        ] {
            assert_eq!(text.parse::<NetRule>().unwrap().to_string(), shown);
        }
        for bad in [
            "",
            "example.com",
            ":80",
            "example.com:0",
            "example.com:65536",
            "example.com:+80",
            "a b:80",
            "*:80",
            "*.com:80",
            "a.*.com:80",
            "münchen.de:80",
            "::1:80",
            "127.1:80",
            "0x7f.0.0.1:80",
            "2130706433:80",
            "0x7f000001:80",
            "http://example.com:80",
            "user@example.com:80",
            "-a.com:80",
            "a..b:80",
            "a.com\n:80",
            "0.0.0.0:80",
            "[::]:80",
            "[::ffff:0.0.0.0]:80",
        ] {
            assert!(bad.parse::<NetRule>().is_err(), "{bad}");
        }
    }

    #[test]
    fn grants_cover_what_is_in_them_and_touch_what_overlaps() {
        let check = |grant: &str, asked: &str| {
            let (grant, asked): (NetGrant, NetRule) =
                (grant.parse().unwrap(), asked.parse().unwrap());
            (grant.covers(&asked), grant.touches(&asked))
        };
        for (grant, asked) in [
            ("example.com", "example.com:443"),
            ("example.com:443", "EXAMPLE.com:443"),
            ("*.example.com", "a.b.example.com:1"),
            ("*.example.com:1", "*.a.example.com:1"),
            ("*:443", "whatever.org:443"),
            ("10.0.0.0/8", "10.9.8.7:1"),
            ("[fd00::]/8", "[fd12::1]:1"),
            ("0.0.0.0/0:80", "1.2.3.4:80"),
        ] {
            assert_eq!(check(grant, asked), (true, true), "{grant} {asked}");
        }
        for (grant, asked) in [
            ("example.com:443", "example.com:80"),
            ("example.com", "a.example.com:443"),
            ("*.example.com", "example.com:443"),
            ("*.example.com", "badexample.com:443"),
            ("10.0.0.0/8", "11.0.0.1:1"),
            ("10.0.0.0/8", "example.com:1"),
            ("0.0.0.0/0", "[::1]:1"),
        ] {
            assert_eq!(check(grant, asked), (false, false), "{grant} {asked}");
        }
        assert_eq!(check("evil.example.com", "*.example.com:443"), (false, true));
        assert_eq!(check("evil.example.com:80", "*.example.com:443"), (false, false));
        // Denying loopback by one of its names denies it by the others; allowing it does not.
        for (grant, asked) in [
            ("127.0.0.0/8", "localhost:80"),
            ("127.0.0.1", "localhost:80"),
            ("[::1]:80", "localhost:80"),
            ("0.0.0.0/0", "localhost:80"),
            ("localhost", "127.0.0.1:80"),
            ("localhost:80", "[::1]:80"),
        ] {
            assert_eq!(check(grant, asked), (false, true), "{grant} {asked}");
        }
        // So does denying an IPv4 address by its forms in IPv6.
        for asked in ["[64:ff9b::a00:5]:80", "[64:ff9b:1::a00:5]:80", "[2002:a00:5::1]:80"] {
            for grant in ["10.0.0.5", "10.0.0.0/8:80", "0.0.0.0/0"] {
                assert_eq!(check(grant, asked), (false, true), "{grant} {asked}");
            }
            for grant in ["10.0.0.6", "11.0.0.0/8", "10.0.0.5:81"] {
                assert_eq!(check(grant, asked), (false, false), "{grant} {asked}");
            }
        }
        assert_eq!(check("10.0.0.5", "[::ffff:10.0.0.5]:80"), (true, true));
        for (grant, asked) in [
            ("127.0.0.1", "127.0.0.2:80"),
            ("localhost:81", "127.0.0.1:80"),
            ("10.0.0.0/8", "localhost:80"),
            ("127.0.0.0/8", "example.com:80"),
        ] {
            assert_eq!(check(grant, asked), (false, false), "{grant} {asked}");
        }
    }
}
