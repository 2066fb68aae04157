//! What stands around each datagram of the gossip: who we are and which cluster it belongs to, so that members of two
//! clusters never merge, however their addresses are reused. It must not know what the payload says.

use lz4_flex::block;

/// The first bytes of every datagram.
const MAGIC: [u8; 4] = *b"lkrs";
const VERSION: u8 = 1;
const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// Bytes of a cluster's name.
pub const CLUSTER_BYTES_MAX: usize = 128;
/// The largest payload of a UDP datagram over IPv4.
pub const DATAGRAM_BYTES_MAX: usize = 65_507;
/// Smaller payloads are not worth compressing.
const COMPRESS_FROM: usize = 512;

/// Why a datagram is not for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Nothing that a member sends.
    Junk,
    /// Of a version that this one does not know.
    Version(u8),
    /// Of another cluster, which is named.
    Foreign(String),
}

/// Puts the datagram into `out`.
pub fn seal(cluster: &str, payload: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend(MAGIC);
    out.push(VERSION);
    out.push(if payload.len() < COMPRESS_FROM { PLAIN } else { LZ4 });
    out.push(cluster.len() as u8);
    out.extend(cluster.as_bytes());
    if payload.len() < COMPRESS_FROM {
        out.extend(payload);
    } else {
        out.extend((payload.len() as u32).to_le_bytes());
        out.extend(block::compress(payload));
    }
}

/// The payload of a datagram of this cluster.
pub fn open(cluster: &str, datagram: &[u8]) -> Result<Vec<u8>, Refused> {
    let rest = datagram.strip_prefix(&MAGIC).ok_or(Refused::Junk)?;
    let [version, coding, length, rest @ ..] = rest else { return Err(Refused::Junk) };
    if *version != VERSION {
        return Err(Refused::Version(*version));
    }
    let (name, payload) = rest.split_at_checked(usize::from(*length)).ok_or(Refused::Junk)?;
    if name != cluster.as_bytes() {
        let name = &name[..name.len().min(CLUSTER_BYTES_MAX)];
        return Err(Refused::Foreign(String::from_utf8_lossy(name).escape_debug().to_string()));
    }
    match *coding {
        PLAIN => Ok(payload.to_vec()),
        LZ4 => {
            let (length, packed) = payload.split_first_chunk::<4>().ok_or(Refused::Junk)?;
            let length = u32::from_le_bytes(*length) as usize;
            if length > DATAGRAM_BYTES_MAX {
                return Err(Refused::Junk);
            }
            let unpacked = block::decompress(packed, length).ok().filter(|unpacked| unpacked.len() == length);
            unpacked.ok_or(Refused::Junk)
        }
        _ => Err(Refused::Junk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(cluster: &str, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        seal(cluster, payload, &mut out);
        out
    }

    #[test]
    fn a_datagram_is_opened_by_its_cluster_and_by_no_other() {
        let long = b"ingester-1 ingester-2 ".repeat(400);
        for payload in [&b""[..], b"short", &long] {
            assert_eq!(open("a", &sealed("a", payload)), Ok(payload.to_vec()));
            assert_eq!(open("ab", &sealed("a", payload)), Err(Refused::Foreign("a".into())));
            assert_eq!(open("a", &sealed("a\nb", payload)), Err(Refused::Foreign("a\\nb".into())));
        }
        assert!(sealed("a", &long).len() < long.len() / 4);
    }

    #[test]
    fn junk_is_refused_and_costs_no_more_than_a_datagram() {
        let good = sealed("a", &b"x".repeat(2000));
        for cut in 0..good.len() {
            assert!(open("a", &good[..cut]).is_err(), "cut at {cut}");
        }
        let mut version = good.clone();
        version[4] = 9;
        assert_eq!(open("a", &version), Err(Refused::Version(9)));
        let mut bomb = good.clone();
        bomb[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(open("a", &bomb), Err(Refused::Junk));
        let mut coding = good;
        coding[5] = 7;
        assert_eq!(open("a", &coding), Err(Refused::Junk));
    }
}
