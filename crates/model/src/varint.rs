//! LEB128 variable-length integers as Go's `encoding/binary` and protobuf write them, and length-prefixed strings.
//! Readers take `&mut &[u8]`, advance it, and answer `None` on truncation or overflow; they never panic.

#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// The bytes that [`put_uvarint`] writes for `v`.
#[inline]
pub fn uvarint_bytes(v: u64) -> usize {
    (64 - (v | 1).leading_zeros() as usize).div_ceil(7)
}

/// Zig-zag, as Go's `PutVarint` and protobuf's `sint64`.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, v: i64) {
    put_uvarint(out, ((v << 1) ^ (v >> 63)) as u64);
}

#[inline]
pub fn put_str(out: &mut Vec<u8>, s: &[u8]) {
    put_uvarint(out, s.len() as u64);
    out.extend_from_slice(s);
}

#[inline(always)]
pub fn uvarint(buf: &mut &[u8]) -> Option<u64> {
    // Most lengths and numbers of symbols are of one byte: worth its copy at every caller, the rest is not.
    if let [first, rest @ ..] = *buf
        && *first < 0x80
    {
        *buf = rest;
        return Some(u64::from(*first));
    }
    long_uvarint(buf)
}

/// Of two bytes or more.
fn long_uvarint(buf: &mut &[u8]) -> Option<u64> {
    if let Some(word) = buf.first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        let last_bytes = !word & CONTINUATION_BITS;
        if last_bytes != 0 {
            let len = last_bytes.trailing_zeros() as usize / 8 + 1;
            *buf = &buf[len..];
            return Some(pack(word & (u64::MAX >> (64 - 8 * len))));
        }
        // Nine bytes: a timestamp in nanoseconds. Ten hold one more bit.
        let low = pack(word);
        return match (buf.get(8).copied()?, buf.get(9).copied()) {
            (ninth @ ..0x80, _) => {
                *buf = &buf[9..];
                Some(low | u64::from(ninth) << 56)
            }
            (ninth, Some(tenth @ 0..=1)) => {
                *buf = &buf[10..];
                Some(low | u64::from(ninth & 0x7f) << 56 | u64::from(tenth) << 63)
            }
            _ => None,
        };
    }
    short_uvarint(buf)
}

const CONTINUATION_BITS: u64 = 0x8080_8080_8080_8080;

/// The seven low bits of each byte, together.
#[inline]
fn pack(bytes: u64) -> u64 {
    let v = bytes & !CONTINUATION_BITS;
    let v = (v & 0x007f_007f_007f_007f) | ((v & 0x7f00_7f00_7f00_7f00) >> 1);
    let v = (v & 0x0000_3fff_0000_3fff) | ((v & 0x3fff_0000_3fff_0000) >> 2);
    (v & 0x0000_0000_0fff_ffff) | ((v & 0x0fff_ffff_0000_0000) >> 4)
}

/// Of fewer than eight bytes.
fn short_uvarint(buf: &mut &[u8]) -> Option<u64> {
    let mut v = 0u64;
    for (i, &b) in buf.iter().enumerate() {
        v |= u64::from(b & 0x7f) << (7 * i);
        if b < 0x80 {
            *buf = &buf[i + 1..];
            return Some(v);
        }
    }
    None
}

#[inline]
pub fn varint(buf: &mut &[u8]) -> Option<i64> {
    let v = uvarint(buf)?;
    Some((v >> 1) as i64 ^ -((v & 1) as i64))
}

/// `len` bytes from the front of `buf`.
#[inline]
pub fn take<'a>(buf: &mut &'a [u8], len: u64) -> Option<&'a [u8]> {
    let len = usize::try_from(len).ok()?;
    let (head, rest) = buf.split_at_checked(len)?;
    *buf = rest;
    Some(head)
}

/// A length-prefixed byte string.
#[inline]
pub fn bytes<'a>(buf: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = uvarint(buf)?;
    take(buf, len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_and_reject_junk() {
        for v in [0, 1, -1, 63, 64, -64, -65, i64::MAX, i64::MIN, 1_740_000_000_000_000_005] {
            let mut out = vec![];
            put_varint(&mut out, v);
            let mut buf = out.as_slice();
            assert_eq!(varint(&mut buf), Some(v));
            assert!(buf.is_empty());
            assert_eq!(uvarint_bytes(((v << 1) ^ (v >> 63)) as u64), out.len());
            for cut in 0..out.len() {
                assert_eq!(varint(&mut &out[..cut]), None, "truncated at {cut}");
            }
        }
        for shift in 0..64 {
            for v in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift, 0x5555_5555_5555_5555 >> shift] {
                for after in [0, 1, 12] {
                    let mut out = vec![];
                    put_uvarint(&mut out, v);
                    out.resize(out.len() + after, 0xff);
                    let mut buf = out.as_slice();
                    assert_eq!((uvarint(&mut buf), buf.len()), (Some(v), after));
                }
            }
        }
        assert_eq!(uvarint(&mut [0xffu8; 11].as_slice()), None);
        let too_large = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(uvarint(&mut too_large.as_slice()), None);
        assert_eq!(bytes(&mut [5u8, b'a'].as_slice()), None, "a length past the end");
    }
}
