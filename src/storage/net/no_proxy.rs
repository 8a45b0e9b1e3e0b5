//! PURE: which hosts are reached without a proxy, the same as for the registry. Source: Go's package
//! `golang.org/x/net/http/httpproxy`, which the registry uses.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

/// A parsed `NO_PROXY`.
///
/// | entry | hosts |
/// |---|---|
/// | `*` | all |
/// | `example.com` | the domain and its subdomains |
/// | `.example.com`, `*.example.com` | its subdomains, without the domain itself |
/// | `10.1.2.3`, `fd00::1` | this address |
/// | `10.1.0.0/16`, `fd00::/8` | the addresses of this network |
/// | `example.com:9000`, `10.1.2.3:9000`, `[fd00::1]:9000` | as above, at this port only |
///
/// `localhost` and loopback addresses are always reached directly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoProxy {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    All,
    Network(IpAddr, u8),
    /// An address; at this port, or at every port if it is empty.
    Address(IpAddr, String),
    /// `.example.com`, whether the domain itself counts as well, and the port.
    Domain(String, bool, String),
}

impl NoProxy {
    /// Parses entries separated by commas. Entries of another form match nothing.
    pub fn parse(text: &str) -> Self {
        let entries = text.split(',').map(|entry| entry.trim().to_lowercase());
        Self {
            entries: entries.filter_map(|entry| Entry::parse(&entry)).collect(),
        }
    }

    /// Whether this URL is reached without a proxy.
    pub fn covers(&self, url: &Url) -> bool {
        let port = url.port_or_known_default().map(|port| port.to_string());
        let port = port.unwrap_or_default();
        let host = url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address.map(|address| address.to_canonical()) {
            Ok(address) => address.is_loopback() || self.entries.iter().any(|entry| entry.has_address(address, &port)),
            Err(_) => host == "localhost" || self.entries.iter().any(|entry| entry.has_name(host, &port)),
        }
    }
}

impl Entry {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some(network) = network(entry) {
            return Some(network);
        }
        let (host, port) = host_and_port(entry).unwrap_or((entry, ""));
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port.to_owned()));
        }
        let name = match host.strip_prefix('*') {
            Some(rest) if rest.starts_with('.') => rest,
            _ => host,
        };
        let (name, itself) = match name.strip_prefix('.') {
            Some(rest) => (rest, false),
            None if name.is_empty() => return None,
            None => (name, true),
        };
        Some(Self::Domain(format!(".{}", ascii(name)), itself, port.to_owned()))
    }

    fn has_address(&self, address: IpAddr, port: &str) -> bool {
        match self {
            Self::All => true,
            Self::Network(network, length) => contains(*network, *length, address),
            Self::Address(own, at) => *own == address && (at.is_empty() || at == port),
            Self::Domain(..) => false,
        }
    }

    fn has_name(&self, host: &str, port: &str) -> bool {
        match self {
            Self::All => true,
            Self::Network(..) | Self::Address(..) => false,
            Self::Domain(suffix, itself, at) => {
                let fits = host.ends_with(suffix.as_str()) || (*itself && suffix.strip_prefix('.') == Some(host));
                fits && (at.is_empty() || at == port)
            }
        }
    }
}

/// `10.1.0.0/16`; `None` if the entry is not a network.
fn network(entry: &str) -> Option<Entry> {
    let (address, length) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let digits = length.bytes().all(|b| b.is_ascii_digit());
    let length: u8 = length.parse().ok().filter(|length| digits && *length <= longest)?;
    let mapped = match address {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & mask(length)).to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    Some(match mapped {
        // The last 32 of the 128 bits are the IPv4 address.
        Some(v4) => Entry::Network(v4.into(), length.saturating_sub(96)),
        None => Entry::Network(address, length),
    })
}

fn contains(network: IpAddr, length: u8, address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let mask = mask(length + 96);
            let [network, address] = [network, address].map(|v4| v4.to_ipv6_mapped().to_bits());
            network & mask == address & mask
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            network.to_bits() & mask(length) == address.to_bits() & mask(length)
        }
        _ => false,
    }
}

/// The first `length` of 128 bits.
fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or_default()
}

/// `host:port`, or `[address]:port` without the brackets; `None` without a port.
fn host_and_port(entry: &str) -> Option<(&str, &str)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

/// An internationalised name as URLs contain it.
fn ascii(name: &str) -> String {
    if name.is_ascii() {
        return name.to_owned();
    }
    let url = Url::parse(&format!("http://{name}"));
    let domain = url.ok().and_then(|url| url.domain().map(str::to_owned));
    domain.unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIRECT: bool = true;
    const PROXY: bool = false;

    fn check(rows: &[(&str, &str, bool)]) {
        for (no_proxy, url, direct) in rows {
            let parsed = NoProxy::parse(no_proxy);
            assert_eq!(
                parsed.covers(&Url::parse(url).unwrap()),
                *direct,
                "NO_PROXY={no_proxy} {url}"
            );
        }
    }

    // storage-decisions 28
    // Each row was checked with golang.org/x/net 0.59.
    #[test]
    fn names_go_the_way_that_go_takes() {
        check(&[
            ("*.example.com", "https://s3.example.com", DIRECT),
            ("*.example.com", "https://a.s3.example.com", DIRECT),
            ("*.example.com", "https://example.com", PROXY),
            (".example.com", "https://s3.example.com", DIRECT),
            (".example.com", "https://example.com", PROXY),
            ("example.com", "https://example.com", DIRECT),
            ("example.com", "https://a.s3.example.com", DIRECT),
            ("ample.com", "https://example.com", PROXY),
            ("s3.example.com:9000", "https://s3.example.com:9000", DIRECT),
            ("s3.example.com:9000", "https://s3.example.com", PROXY),
            ("s3.example.com:443", "https://s3.example.com", DIRECT),
            ("s3.example.com:80", "http://s3.example.com", DIRECT),
            ("*.example.com:9000", "http://b.example.com:9000", DIRECT),
            ("a.b:0", "http://a.b:0", DIRECT),
            ("a.b:", "http://a.b:99", DIRECT),
            ("S3.Example.COM", "https://s3.example.com", DIRECT),
            ("s3.example.com", "https://S3.EXAMPLE.com", DIRECT),
            ("other, s3.example.com ,", "https://s3.example.com", DIRECT),
            ("s3.example.com", "https://s3.example.com.", PROXY),
            ("s3.example.com.", "https://s3.example.com", PROXY),
            ("bücher.example", "http://xn--bcher-kva.example", DIRECT),
            (":9000", "http://b:9000", PROXY),
            ("", "http://b", PROXY),
            ("*", "http://b", DIRECT),
            ("a, *", "http://b", DIRECT),
            ("*.", "http://b", PROXY),
            ("http://a.b", "http://a.b", PROXY),
            ("a.b a.c", "http://a.b", PROXY),
            ("*example.com", "http://s3example.com", PROXY),
            ("exa*.com", "http://exampla.com", PROXY),
            ("", "http://a.localhost:9000", PROXY),
            ("", "http://localhost:9000", DIRECT),
        ]);
    }

    // storage-decisions 28
    // Each row was checked with golang.org/x/net 0.59.
    #[test]
    fn addresses_go_the_way_that_go_takes() {
        check(&[
            ("10.1.2.3:9000", "http://10.1.2.3:9000", DIRECT),
            ("10.1.2.3:9000", "http://10.1.2.3", PROXY),
            ("10.1.2.3", "http://10.1.2.3:9000", DIRECT),
            ("10.1.0.0/16", "http://10.1.2.3:9000", DIRECT),
            ("10.1.2.3/16", "http://10.1.2.3:9000", DIRECT),
            ("10.1.0.0/16", "http://10.2.2.3:9000", PROXY),
            ("0.0.0.0/0", "http://10.2.2.3", DIRECT),
            ("10.1.0.0/16", "http://s3.10.1.2.a", PROXY),
            ("[fd00::1]:9000", "http://[fd00::1]:9000", DIRECT),
            ("[fd00::1]:9000", "http://[fd00::1]:9001", PROXY),
            ("[fd00::1]", "http://[fd00::1]:9000", PROXY),
            ("fd00::1", "http://[fd00::1]:9000", DIRECT),
            ("fd00::/8", "http://[fd00::1]:9000", DIRECT),
            ("fd00::/8", "http://[fe00::1]:9000", PROXY),
            ("::/0", "http://[fe00::1]:9000", DIRECT),
            ("::/0", "http://10.0.0.1", PROXY),
            ("::ffff:10.0.0.1", "http://10.0.0.1", DIRECT),
            ("::ffff:10.0.0.0/104", "http://10.0.0.1", DIRECT),
            ("10.0.0.0/8", "http://[::ffff:10.0.0.1]", DIRECT),
            ("010.0.0.1", "http://10.0.0.1", PROXY),
            ("10.0.0.0/33", "http://10.0.0.1", PROXY),
            ("10.0.0.0/+8", "http://10.0.0.1", PROXY),
            ("2.3.4", "http://1.2.3.4", PROXY),
            ("10.0.0.*", "http://10.0.0.1", PROXY),
            ("*", "http://10.0.0.1", DIRECT),
            ("", "http://127.9.9.9", DIRECT),
            ("", "http://[::1]:9000", DIRECT),
            ("", "http://[::ffff:127.0.0.1]:9000", DIRECT),
            ("", "http://10.0.0.1", PROXY),
        ]);
    }
}
