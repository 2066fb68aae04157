//! Object keys: how a chunk is named, and how Loki's filesystem store spells that name (storage format, section 1).

use crate::schema::SchemaVersion;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Error, Fingerprint, Result, TenantId};
use std::fmt;

/// A chunk's identity within its tenant, and its size as the index lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkRef {
    pub fingerprint: Fingerprint,
    pub from_ms: i64,
    pub through_ms: i64,
    /// CRC-32C of the whole object.
    pub checksum: u32,
    /// Uncompressed size, in units of 1024 bytes.
    pub kb: u32,
    pub entries: u32,
}

impl ChunkRef {
    /// The object key under the schema of the period that holds `from_ms`: `tenant/fp/from:through:crc` from v12 on,
    /// `tenant/fp:from:through:crc` before; numbers in hexadecimal without leading zeros.
    pub fn key(&self, tenant: &TenantId, schema: SchemaVersion) -> String {
        let separator = if schema >= SchemaVersion::V12 { '/' } else { ':' };
        let (from, through) = (Hex(self.from_ms), Hex(self.through_ms));
        format!("{tenant}/{}{separator}{from}:{through}:{:x}", self.fingerprint, self.checksum)
    }
}

/// Go's `%x` of a signed number: the sign, then the magnitude.
struct Hex(i64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{:x}", self.0.unsigned_abs())
    }
}

/// The tenant and chunk of an object key of either layout. Size and entries are not in a key: they are 0.
pub fn parse_key(key: &str) -> Result<(TenantId, ChunkRef)> {
    let malformed = || Error::invalid(format!("{key:?} is not the key of a chunk"));
    let (tenant, rest) = key.split_once('/').ok_or_else(malformed)?;
    let fields: Vec<&str> = rest.splitn(5, [':', '/']).collect();
    let [fingerprint, from, through, checksum] = fields[..] else { return Err(malformed()) };
    let chunk = ChunkRef {
        fingerprint: Fingerprint(hex(fingerprint).ok_or_else(malformed)?),
        from_ms: signed_hex(from).ok_or_else(malformed)?,
        through_ms: signed_hex(through).ok_or_else(malformed)?,
        checksum: hex(checksum).and_then(|c| u32::try_from(c).ok()).ok_or_else(malformed)?,
        kb: 0,
        entries: 0,
    };
    Ok((TenantId::parse(tenant)?, chunk))
}

fn hex(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| u64::from_str_radix(text, 16).ok())?
}

fn signed_hex(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(magnitude) => 0i64.checked_sub_unsigned(hex(magnitude)?),
        None => i64::try_from(hex(text)?).ok(),
    }
}

/// The file of a chunk below Loki's `chunks_directory`: the last segment of a key of v12 on in base64, the whole key
/// before. Only chunks are named so; index files keep their names.
pub fn filesystem_name(key: &str) -> String {
    match key.rsplit_once('/') {
        Some((directory, name)) if directory.contains('/') => format!("{directory}/{}", STANDARD.encode(name)),
        _ => STANDARD.encode(key),
    }
}

/// The object key of a file that [`filesystem_name`] named; `None` for other files.
pub fn key_of_filesystem_name(name: &str) -> Option<String> {
    let plain = |text: &str| String::from_utf8(STANDARD.decode(text).ok()?).ok();
    match name.rsplit_once('/') {
        Some((directory, last)) => Some(format!("{directory}/{}", plain(last)?)),
        None => plain(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_file_names_are_loki_s_both_ways() {
        let tenant = TenantId::parse("t1").unwrap();
        for (schema, key, file) in [
            (
                SchemaVersion::V13,
                "t1/ffc6003b987cad8f/1952014f800:1952014f801:6cc3e0cb",
                "t1/ffc6003b987cad8f/MTk1MjAxNGY4MDA6MTk1MjAxNGY4MDE6NmNjM2UwY2I=",
            ),
            (
                SchemaVersion::V11,
                "t1/23d91e3372d31eec:19549dbdaa0:19549e227e8:8578b81b",
                "dDEvMjNkOTFlMzM3MmQzMWVlYzoxOTU0OWRiZGFhMDoxOTU0OWUyMjdlODo4NTc4YjgxYg==",
            ),
            (SchemaVersion::V12, "t1/7c7447f434f0f7a8/-5dc:0:5244d61", "t1/7c7447f434f0f7a8/LTVkYzowOjUyNDRkNjE="),
        ] {
            let (owner, chunk) = parse_key(key).unwrap();
            assert_eq!(owner, tenant);
            assert_eq!(chunk.key(&tenant, schema), key);
            assert_eq!(filesystem_name(key), file);
            assert_eq!(key_of_filesystem_name(file).as_deref(), Some(key));
        }
    }

    #[test]
    fn other_names_are_refused() {
        for bad in [
            "",
            "t1",
            "t1/",
            "t1/1:2:3",
            "t1/1:2:3:4:5",
            "t1/+1:2:3:4",
            "t1/1:2:3:100000000",
            "t1/x:2:3:4",
            "t1/1:-:3:4",
            "../1:2:3:4",
            "t1/1:8000000000000000:3:4",
            "index/index_20148/1795409560-vm-1.tsdb.gz",
            "t1/10000000000000000:2:3:4",
        ] {
            assert!(parse_key(bad).is_err(), "{bad}");
        }
        for bad in ["index/t/1795409560-vm-1.tsdb.gz", "x", "loki_cluster_seed.json"] {
            assert_eq!(key_of_filesystem_name(bad), None, "{bad}");
        }
    }
}
