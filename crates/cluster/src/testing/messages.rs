//! Messages of the gossip as bytes, also such as no member sends: chitchat's own, but nothing is checked.

use crate::gossip::Incarnation;
use chitchat::{ChitchatId, Serializable};

/// Magic number and version.
const HEAD: [u8; 3] = [0x53, 0xb0, 0];

fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&HEAD[..], &[kind], &parts.concat()].concat()
}

fn id(of: &Incarnation) -> Vec<u8> {
    ChitchatId::new(of.id.as_str(), of.generation, of.address).serialize_to_vec()
}

fn versions(versions: &[u64]) -> Vec<u8> {
    versions.iter().flat_map(|version| version.to_le_bytes()).collect()
}

/// Whom the sender knows: of each the heartbeat, the version of the last clearance and the highest version.
pub fn digest(known: &[(Incarnation, [u64; 3])]) -> Vec<u8> {
    let entries = known.iter().flat_map(|(of, numbers)| [id(of), versions(numbers)].concat());
    (known.len() as u16).to_le_bytes().into_iter().chain(entries).collect()
}

/// What follows is told of an incarnation: the version of its last clearance, and the version that all is newer than.
pub fn node(of: &Incarnation, cleared: u64, after: u64) -> Vec<u8> {
    [vec![0], id(of), versions(&[cleared, after])].concat()
}

pub fn key_value(key: &str, value: &str, version: u64) -> Vec<u8> {
    [vec![1], key.serialize_to_vec(), value.serialize_to_vec(), versions(&[version]), vec![0]].concat()
}

pub fn max_version(version: u64) -> Vec<u8> {
    [vec![2], versions(&[version])].concat()
}

/// What is told, in blocks that are not compressed.
pub fn plain(told: &[u8]) -> Vec<u8> {
    let block = |block: &[u8]| [&[2][..], &(block.len() as u16).to_le_bytes(), block].concat();
    told.chunks(16 << 10).flat_map(block).chain([0]).collect()
}

/// Blocks of `bytes` zeros each, which are compressed.
pub fn zeros(bytes: usize, blocks: usize) -> Vec<u8> {
    let packed = zstd::bulk::compress(&vec![0; bytes], 1).unwrap_or_default();
    let block = [&[1][..], &(packed.len() as u16).to_le_bytes(), &packed].concat();
    [block.repeat(blocks), vec![0]].concat()
}

pub fn syn(cluster: &str, digest: &[u8]) -> Vec<u8> {
    message(0, &[digest, &cluster.serialize_to_vec()])
}

pub fn syn_ack(digest: &[u8], blocks: &[u8]) -> Vec<u8> {
    message(1, &[digest, blocks])
}

pub fn ack(blocks: &[u8]) -> Vec<u8> {
    message(2, &[blocks])
}

/// The refusal of a sender of another cluster.
pub fn bad_cluster() -> Vec<u8> {
    message(3, &[])
}
