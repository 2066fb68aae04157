//! The bytes that a cache keeps: the whole key, extents with their answers, and a checksum. Bytes of another question,
//! of another form, or damaged ones are a miss.

use super::extents::Extent;
use super::key::Key;
use bytes::Bytes;
use xxhash_rust::xxh64::xxh64;

/// The largest value that is kept or read.
pub const VALUE_BYTES_MAX: usize = 16 << 20;
const MAGIC: &[u8; 4] = b"lka1";
const CHECKSUM_BYTES: usize = 8;

/// None when it is too large to be kept.
pub fn encode(key: &Key, extents: &[Extent]) -> Option<Bytes> {
    let answers: usize = extents.iter().map(|extent| extent.answer.len() + 20).sum();
    let len = MAGIC.len() + 4 + key.bytes().len() + answers + CHECKSUM_BYTES;
    if len > VALUE_BYTES_MAX {
        return None;
    }
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(MAGIC);
    let sized = |bytes: &mut Vec<u8>, part: &[u8]| {
        bytes.extend((part.len() as u32).to_le_bytes());
        bytes.extend(part);
    };
    sized(&mut bytes, key.bytes());
    for Extent { first_ns, last_ns, answer } in extents {
        bytes.extend(first_ns.to_le_bytes());
        bytes.extend(last_ns.to_le_bytes());
        sized(&mut bytes, answer);
    }
    bytes.extend(xxh64(&bytes, 0).to_le_bytes());
    Some(bytes.into())
}

/// The extents that are kept for `key`, in order; none when these bytes are not of it.
pub fn decode(key: &Key, bytes: &Bytes) -> Option<Vec<Extent>> {
    if bytes.len() > VALUE_BYTES_MAX {
        return None;
    }
    let mut rest = bytes.slice(..bytes.len().checked_sub(CHECKSUM_BYTES)?);
    if xxh64(&rest, 0).to_le_bytes() != bytes[rest.len()..] || !rest.starts_with(MAGIC) {
        return None;
    }
    rest = rest.slice(MAGIC.len()..);
    if sized(&mut rest)? != key.bytes() {
        return None;
    }
    let mut extents: Vec<Extent> = vec![];
    while !rest.is_empty() {
        let (first_ns, last_ns) = (number(&mut rest)?, number(&mut rest)?);
        let answer = sized(&mut rest)?;
        if first_ns > last_ns || extents.last().is_some_and(|before| before.last_ns >= first_ns) {
            return None;
        }
        extents.push(Extent { first_ns, last_ns, answer });
    }
    Some(extents)
}

fn take(rest: &mut Bytes, n: usize) -> Option<Bytes> {
    (n <= rest.len()).then(|| rest.split_to(n))
}

fn number(rest: &mut Bytes) -> Option<i64> {
    Some(i64::from_le_bytes(take(rest, 8)?.as_ref().try_into().ok()?))
}

fn sized(rest: &mut Bytes) -> Option<Bytes> {
    let len = u32::from_le_bytes(take(rest, 4)?.as_ref().try_into().ok()?);
    take(rest, len as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TenantId;

    fn key(query: &str) -> Key {
        Key::new("result", &TenantId::parse("a").unwrap().into(), &[String::new()]).field(query.as_bytes())
    }

    fn extents() -> Vec<Extent> {
        let extent = |first_ns, last_ns, answer: &'static [u8]| Extent { first_ns, last_ns, answer: answer.into() };
        vec![extent(-5, 5, b"abc"), extent(6, 6, b""), extent(8, i64::MAX, b"d")]
    }

    #[test]
    fn what_is_kept_comes_back_for_its_key_alone() {
        for extents in [extents(), vec![]] {
            let bytes = encode(&key("x"), &extents).unwrap();
            assert_eq!(decode(&key("x"), &bytes), Some(extents));
            assert_eq!(decode(&key("y"), &bytes), None, "as if the hashes of two keys were equal");
        }
        let large = Extent { first_ns: 0, last_ns: 0, answer: vec![0; VALUE_BYTES_MAX].into() };
        assert_eq!(encode(&key("x"), &[large]), None);
        assert_eq!(decode(&key("x"), &vec![0; VALUE_BYTES_MAX + 1].into()), None);
    }

    #[test]
    fn damaged_bytes_are_a_miss() {
        let whole = encode(&key("x"), &extents()).unwrap();
        for i in 0..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[i] ^= 0x40;
            assert_eq!(decode(&key("x"), &flipped.into()), None, "{i}");
            assert_eq!(decode(&key("x"), &whole.slice(..i)), None, "{i}");
        }
        let mut disordered = extents();
        disordered.swap(0, 1);
        assert_eq!(decode(&key("x"), &encode(&key("x"), &disordered).unwrap()), None);
    }
}
