//! The compressions of a chunk's blocks and symbols, framed as Loki frames them (storage format, section 2.5).
//! It must not know what it compresses. Contexts are kept per thread: making one costs more than compressing a block.

mod deflate;
mod lz4;
pub(crate) mod snappy;
mod zstd;

use model::{Error, Result};

/// A compression, by Loki's byte value and `chunk_encoding` name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    None = 0,
    Gzip = 1,
    Lz4_64k = 3,
    Snappy = 4,
    Lz4_256k = 5,
    Lz4_1M = 6,
    Lz4_4M = 7,
    Flate = 8,
    Zstd = 9,
}

impl Codec {
    /// Every codec, in the order of the byte values.
    pub const ALL: [Codec; 9] = [
        Codec::None,
        Codec::Gzip,
        Codec::Lz4_64k,
        Codec::Snappy,
        Codec::Lz4_256k,
        Codec::Lz4_1M,
        Codec::Lz4_4M,
        Codec::Flate,
        Codec::Zstd,
    ];

    pub fn from_byte(byte: u8) -> Result<Codec> {
        let known = Self::ALL.into_iter().find(|c| c.byte() == byte);
        known.ok_or_else(|| Error::corrupt(format!("unknown chunk encoding {byte}")))
    }

    pub fn byte(self) -> u8 {
        self as u8
    }

    /// The codec of a `chunk_encoding` setting.
    pub fn from_name(name: &str) -> Result<Codec> {
        Self::ALL.into_iter().find(|c| c.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Codec::name).join(", ");
            Error::invalid(format!("invalid encoding: {name}, supported: {names}"))
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Lz4_64k => "lz4-64k",
            Codec::Snappy => "snappy",
            Codec::Lz4_256k => "lz4-256k",
            Codec::Lz4_1M => "lz4-1M",
            Codec::Lz4_4M => "lz4",
            Codec::Flate => "flate",
            Codec::Zstd => "zstd",
        }
    }

    pub fn compress(self, raw: &[u8]) -> Vec<u8> {
        match self {
            Codec::None => raw.to_vec(),
            Codec::Gzip => deflate::gzip(raw),
            Codec::Lz4_64k => lz4::compress(raw, lz4::BlockMax::K64),
            Codec::Lz4_256k => lz4::compress(raw, lz4::BlockMax::K256),
            Codec::Lz4_1M => lz4::compress(raw, lz4::BlockMax::M1),
            Codec::Lz4_4M => lz4::compress(raw, lz4::BlockMax::M4),
            Codec::Snappy => snappy::compress(raw),
            Codec::Flate => deflate::deflate(raw),
            Codec::Zstd => zstd::compress(raw),
        }
    }

    /// The raw bytes of `payload`, at most `limit_bytes`: more is an error before they are made. `size_hint` is the
    /// expected number of bytes; a wrong one costs time, not correctness.
    pub fn decompress(self, payload: &[u8], size_hint: usize, limit_bytes: usize) -> Result<Vec<u8>> {
        self.decompress_into(payload, size_hint, limit_bytes, Vec::new())
    }

    /// The same in the memory of `reused`, whose bytes are forgotten.
    pub fn decompress_into(
        self,
        payload: &[u8],
        size_hint: usize,
        limit_bytes: usize,
        reused: Vec<u8>,
    ) -> Result<Vec<u8>> {
        let mut out = Output::reusing(reused, size_hint, limit_bytes);
        match self {
            Codec::None => out.extend(payload)?,
            Codec::Gzip => deflate::gunzip(payload, &mut out)?,
            Codec::Lz4_64k | Codec::Lz4_256k | Codec::Lz4_1M | Codec::Lz4_4M => lz4::decompress(payload, &mut out)?,
            Codec::Snappy => snappy::decompress(payload, &mut out)?,
            Codec::Flate => deflate::inflate(payload, &mut out)?,
            Codec::Zstd => zstd::decompress(payload, &mut out)?,
        }
        Ok(out.bytes)
    }
}

/// Decompressed bytes under a limit.
pub(crate) struct Output {
    pub(crate) bytes: Vec<u8>,
    limit_bytes: usize,
}

/// The least room that [`Output::reserve_some`] makes.
const GROWTH_BYTES_MIN: usize = 4 << 10;

impl Output {
    pub(crate) fn new(size_hint: usize, limit_bytes: usize) -> Self {
        Self::reusing(Vec::new(), size_hint, limit_bytes)
    }

    /// In the memory of `bytes`, unless it is more than the limit: codecs fill what capacity there is.
    fn reusing(mut bytes: Vec<u8>, size_hint: usize, limit_bytes: usize) -> Self {
        if bytes.capacity() > limit_bytes {
            bytes = Vec::new();
        }
        bytes.clear();
        bytes.reserve_exact(size_hint.min(limit_bytes));
        Output { bytes, limit_bytes }
    }

    /// How many more bytes fit under the limit.
    fn room(&self) -> usize {
        self.limit_bytes - self.bytes.len()
    }

    fn too_large(&self) -> Error {
        Error::corrupt(format!("decompressed data exceeds {} bytes", self.limit_bytes))
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.room() {
            return Err(self.too_large());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Makes sure that there is spare capacity: what there is, or as much again as was written so far.
    fn reserve_some(&mut self) -> Result<()> {
        if self.bytes.len() < self.bytes.capacity() {
            return Ok(());
        }
        if self.room() == 0 {
            return Err(self.too_large());
        }
        self.bytes.reserve_exact(self.bytes.len().max(GROWTH_BYTES_MIN).min(self.room()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let log: Vec<u8> =
            (0..9000).flat_map(|i| format!("level=info n={i} msg=\"some text\"\n").into_bytes()).collect();
        let mut state = 1u64;
        let noise: Vec<u8> = (0..200_000)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 56) as u8
            })
            .collect();
        vec![vec![], b"x".to_vec(), vec![0; 70_000], log, noise]
    }

    #[test]
    fn every_codec_gives_back_what_it_was_given_whatever_the_hint() {
        for codec in Codec::ALL {
            for raw in samples() {
                let packed = codec.compress(&raw);
                for hint in [0, raw.len() / 2, raw.len(), raw.len() + 100, usize::MAX] {
                    let limit = raw.len() + 8;
                    assert!(
                        codec.decompress(&packed, hint, limit).unwrap() == raw,
                        "{codec:?} {} hint {hint}",
                        raw.len()
                    );
                }
                for reused in [Vec::new(), vec![1; raw.len() / 2], vec![1; raw.len() + 100]] {
                    assert!(
                        codec.decompress_into(&packed, raw.len(), raw.len(), reused).unwrap() == raw,
                        "{codec:?}: exactly the limit, in memory of any size"
                    );
                }
            }
        }
    }

    #[test]
    fn more_than_the_limit_is_an_error_that_names_it() {
        for codec in Codec::ALL {
            let packed = codec.compress(&vec![b'a'; 10_000_000]);
            let e = codec.decompress(&packed, 100, 1 << 20).unwrap_err();
            assert!(e.message.contains("exceeds 1048576 bytes"), "{codec:?}: {e}");
        }
    }

    #[test]
    fn truncations_and_flips_never_panic() {
        let raw = &samples()[3][..20_000];
        for codec in Codec::ALL {
            let packed = codec.compress(raw);
            for cut in 0..packed.len().min(300) {
                let _ = codec.decompress(&packed[..cut], raw.len(), 1 << 20);
                let _ = codec.decompress(&packed[..packed.len() - cut], raw.len(), 1 << 20);
            }
            let mut bad = packed.clone();
            for i in 0..packed.len().min(2000) {
                bad[i] ^= 1 << (i % 8);
                let _ = codec.decompress(&bad, raw.len(), 1 << 20);
                bad[i] ^= 1 << (i % 8);
            }
        }
    }

    #[test]
    fn bytes_and_names_are_loki_s() {
        let table = [
            (0, "none"),
            (1, "gzip"),
            (3, "lz4-64k"),
            (4, "snappy"),
            (5, "lz4-256k"),
            (6, "lz4-1M"),
            (7, "lz4"),
            (8, "flate"),
            (9, "zstd"),
        ];
        for (byte, name) in table {
            let codec = Codec::from_byte(byte).unwrap();
            assert_eq!((codec.byte(), codec.name(), Codec::from_name(name).unwrap()), (byte, name, codec));
        }
        for unknown in [2, 10, 255] {
            assert!(Codec::from_byte(unknown).is_err(), "{unknown}");
        }
        assert_eq!(
            Codec::from_name("brotli").unwrap_err().message,
            "invalid encoding: brotli, supported: none, gzip, lz4-64k, snappy, lz4-256k, lz4-1M, lz4, flate, zstd"
        );
    }
}
