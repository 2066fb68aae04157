//! The operand of `ip(...)`: an address, a range of two, or a network.

use std::net::IpAddr;

pub fn check(pattern: &str) -> Result<(), String> {
    if is_valid(pattern) { Ok(()) } else { Err(format!("ip: invalid pattern: {}", model::quote::quote(pattern))) }
}

fn is_valid(pattern: &str) -> bool {
    if let Some((first, last)) = pattern.split_once('-') {
        return match (first.parse::<IpAddr>(), last.parse::<IpAddr>()) {
            (Ok(first), Ok(last)) => first.is_ipv4() == last.is_ipv4() && first <= last,
            _ => false,
        };
    }
    let Some((address, bits)) = pattern.split_once('/') else { return pattern.parse::<IpAddr>().is_ok() };
    let is_plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(address), Ok(bits)) => is_plain && bits <= if address.is_ipv4() { 32 } else { 128 },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_ranges_and_networks() {
        for ok in
            ["10.0.0.1", "::1", "10.0.0.0/8", "10.1.2.3/8", "fe80::/10", "0.0.0.0/0", "10.0.0.1-10.0.0.9", "::1-::5"]
        {
            assert_eq!(super::check(ok), Ok(()), "{ok}");
        }
        for bad in
            ["bad", "", "10.0.0", "10.0.0.1/33", "10.0.0.1/08", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "1.2.3.4-", "/8"]
        {
            assert_eq!(super::check(bad), Err(format!("ip: invalid pattern: \"{bad}\"")), "{bad}");
        }
    }
}
