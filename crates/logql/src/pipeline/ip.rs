//! `ip("...")`: an address, a range or a prefix, looked for in a line or in a label value.
//! It must not know stages.

use model::quote::quote;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpPattern {
    One(IpAddr),
    /// Both ends inclusive, of one family.
    Range(IpAddr, IpAddr),
    Prefix(IpAddr, u8),
}

impl IpPattern {
    /// The error is Loki's text.
    pub fn parse(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| format!("ip: invalid pattern: {}", quote(text)))
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self, ip) {
            (IpPattern::One(one), _) => *one == ip,
            (IpPattern::Range(IpAddr::V4(from), IpAddr::V4(to)), IpAddr::V4(ip)) => (*from..=*to).contains(&ip),
            (IpPattern::Range(IpAddr::V6(from), IpAddr::V6(to)), IpAddr::V6(ip)) => (*from..=*to).contains(&ip),
            (IpPattern::Prefix(IpAddr::V4(net), bits), IpAddr::V4(ip)) => {
                same_prefix(u32::from(*net).into(), u32::from(ip).into(), 128 - 32 + u32::from(*bits), 32)
            }
            (IpPattern::Prefix(IpAddr::V6(net), bits), IpAddr::V6(ip)) => {
                same_prefix(u128::from(*net), u128::from(ip), u32::from(*bits), 128)
            }
            _ => false,
        }
    }

    /// Whether some address in `text` matches. Addresses are found as Loki finds them: a hint of the first bytes, then the
    /// longest run of bytes that an address of the family can have; an address too short for the hint is not seen.
    pub fn is_in(&self, text: &[u8]) -> bool {
        let mut at = 0;
        while at < text.len() {
            let rest = &text[at..];
            let run = if rest.len() > 3 && is_v4_hint(rest) {
                rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count()
            } else if rest.len() > 4 && is_v6_hint(rest) {
                rest.iter().take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count()
            } else {
                at += 1;
                continue;
            };
            if parse_address(&rest[..run]).is_some_and(|ip| self.contains(ip)) {
                return true;
            }
            at += run + 1;
        }
        false
    }
}

/// Compares the highest `bits` of 128; the addresses are `width` bits wide and right-aligned.
fn same_prefix(net: u128, ip: u128, bits: u32, width: u32) -> bool {
    let significant = bits - (128 - width);
    significant == 0 || (net ^ ip) >> (width - significant) == 0
}

fn parse(text: &str) -> Option<IpPattern> {
    if let Ok(ip) = text.parse() {
        return Some(IpPattern::One(ip));
    }
    if let Some((from, to)) = text.split_once('-') {
        let (from, to): (IpAddr, IpAddr) = (from.parse().ok()?, to.parse().ok()?);
        return (from.is_ipv4() == to.is_ipv4() && from <= to).then_some(IpPattern::Range(from, to));
    }
    let (net, bits) = text.split_once('/')?;
    let net: IpAddr = net.parse().ok()?;
    if bits.starts_with('+') || (bits.len() > 1 && bits.starts_with('0')) {
        return None;
    }
    let bits: u8 = bits.parse().ok()?;
    (bits <= if net.is_ipv4() { 32 } else { 128 }).then_some(IpPattern::Prefix(net, bits))
}

fn parse_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match text.contains(':') {
        true => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        false => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

/// A digit, then a dot after one to three bytes.
fn is_v4_hint(text: &[u8]) -> bool {
    text[0].is_ascii_digit() && text[1..4].contains(&b'.')
}

/// `::` and a digit, or one to four digits and a colon.
fn is_v6_hint(text: &[u8]) -> bool {
    if text[0] == b':' {
        return text[1] == b':' && text[2].is_ascii_hexdigit();
    }
    let digits = text[..5].iter().take_while(|b| b.is_ascii_hexdigit()).count();
    (1..=4).contains(&digits) && text[digits] == b':'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_text() {
        for (pattern, text, found) in [
            ("10.0.0.1", "addr=10.0.0.1:8080 id=1", true),
            ("10.0.0.1", "110.0.0.1 is not 10.0.0.1 id", true),
            ("10.0.0.1", "x10.0.0.1y", true),
            ("10.0.0.1", "110.0.0.1", false),
            ("10.0.0.1", "::ffff:10.0.0.1", false),
            ("::/0", "::1", false),
            ("2001:db8::/32", "[2001:DB8::A]:443", true),
            ("192.168.0.1-192.168.0.20", "range 192.168.0.5-9", true),
            ("0.0.0.0/0", "addr=999.1.1.1", false),
            ("fe80::1", "fe80::1%eth0", true),
        ] {
            assert_eq!(IpPattern::parse(pattern).unwrap().is_in(text.as_bytes()), found, "{pattern} in {text}");
        }
        for bad in ["bad", "10.0.0.1/33", "", "10.0.0.1-::1", "10.0.0.9-10.0.0.1", "1.2.3"] {
            assert_eq!(IpPattern::parse(bad).unwrap_err(), format!("ip: invalid pattern: \"{bad}\""));
        }
    }
}
