//! What chitchat may be given. It trusts what it reads: it asserts that versions rise, keeps whatever it is told, and
//! unpacks blocks however large they grow. So each message is read here first, and what no member sends is refused. The
//! layouts are those of chitchat 0.11.

use chitchat::{ChitchatId, Deserializable, NodeState, Serializable, Version};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// Bytes of a member's id: more than a name in DNS has.
pub const ID_BYTES_MAX: usize = 256;
/// Bytes of a key and its value.
pub const KEY_VALUE_BYTES_MAX: usize = 4096;
/// What a message's blocks may hold when they are unpacked.
pub const DECODED_BYTES_MAX: usize = 4 << 20;
/// Blocks are cut at 16 KiB, but for the last.
const BLOCKS_MAX: usize = DECODED_BYTES_MAX / (16 << 10) + 1;
/// What one block may hold when it is unpacked.
const BLOCK_BYTES_MAX: usize = u16::MAX as usize;
/// Bytes in which chitchat tells whom it knows: some 700 incarnations. With less than 16 KiB beside them in a datagram it
/// cuts blocks in two ways that must be equal, and with less than a hundred bytes it gives up.
pub const DIGEST_BYTES_MAX: usize = 48_000;
/// Bytes of the keys and values of all incarnations. Each tells some hundred.
pub const STATE_BYTES_MAX: usize = 16 << 20;

/// Magic number, version and type.
const HEAD_BYTES: usize = 4;
const SYN: u8 = 0;
const SYN_ACK: u8 = 1;
const ACK: u8 = 2;
const NO_MORE_BLOCKS: u8 = 0;
const COMPRESSED: u8 = 1;
const PLAIN: u8 = 2;
const NODE: u8 = 0;
const KEY_VALUE: u8 = 1;
const SET_MAX_VERSION: u8 = 2;

/// Why a message is not for chitchat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be read, or is of a kind that members do not send.
    Malformed,
    /// It names another cluster than its envelope.
    Foreign,
    /// An id, a value or all of it is larger than members make it.
    TooLarge,
    /// The versions of an incarnation do not rise.
    Disordered,
    /// It tells us what we are.
    OwnState,
    /// As much is known as may be.
    Full,
}

impl Refusal {
    pub fn reason(self) -> &'static str {
        match self {
            Refusal::Malformed => "malformed",
            Refusal::Foreign => "foreign",
            Refusal::TooLarge => "too_large",
            Refusal::Disordered => "disordered",
            Refusal::OwnState => "own_state",
            Refusal::Full => "full",
        }
    }
}

/// What chitchat holds: as it was looked at last, and what it was given since. Clones are the same.
#[derive(Clone, Default)]
pub struct Held(Arc<Mutex<Amounts>>);

#[derive(Default)]
struct Amounts {
    ids: HashSet<ChitchatId>,
    digest_bytes: usize,
    state_bytes: usize,
}

impl Held {
    /// Takes the place of what was believed before.
    pub fn set<'a>(&self, states: impl Iterator<Item = &'a NodeState>) {
        let mut amounts = Amounts::default();
        for state in states {
            amounts.know(state.chitchat_id());
            let sizes = state.key_values_including_deleted().map(|(key, value)| key.len() + value.value.len() + 14);
            amounts.state_bytes += sizes.sum::<usize>();
        }
        *self.0.lock() = amounts;
    }
}

impl Amounts {
    /// Whether this one is known, from now on if there is room.
    fn know(&mut self, id: &ChitchatId) -> bool {
        let bytes = id.serialized_len() + 24;
        if self.ids.contains(id) {
            return true;
        }
        let has_room = self.digest_bytes + bytes <= DIGEST_BYTES_MAX;
        if has_room {
            self.digest_bytes += bytes;
            self.ids.insert(id.clone());
        }
        has_room
    }
}

/// Stands between the envelopes and chitchat.
#[derive(Clone)]
pub struct Screen {
    pub cluster: String,
    pub own: ChitchatId,
    pub held: Held,
}

/// What may be read by chitchat.
#[derive(Debug, PartialEq, Eq)]
pub struct Admitted {
    pub message: Vec<u8>,
    /// Incarnations that were left out because nobody else may be known.
    pub left_out: usize,
}

impl Screen {
    pub fn admit(&self, message: &[u8]) -> Result<Admitted, Refusal> {
        let (head, mut rest) = message.split_at_checked(HEAD_BYTES).ok_or(Refusal::Malformed)?;
        let mut admitted = Admitted { message: head.to_vec(), left_out: 0 };
        let kind = head[HEAD_BYTES - 1];
        if matches!(kind, SYN | SYN_ACK) {
            self.digest(&mut rest, &mut admitted)?;
        }
        admitted.message.extend(rest);
        match kind {
            SYN if read::<String>(&mut rest)? != self.cluster => return Err(Refusal::Foreign),
            SYN => {}
            SYN_ACK | ACK => self.delta(&mut rest)?,
            _ => return Err(Refusal::Malformed),
        }
        if rest.is_empty() { Ok(admitted) } else { Err(Refusal::Malformed) }
    }

    /// Whom the sender knows. Chitchat would know them too from here on.
    fn digest(&self, rest: &mut &[u8], admitted: &mut Admitted) -> Result<(), Refusal> {
        let count: u16 = read(rest)?;
        let mut kept: u16 = 0;
        let mut entries: Vec<u8> = vec![];
        for _ in 0..count {
            let from = *rest;
            let id = node_id(rest)?;
            // Heartbeat, version of the last clearance, highest version.
            let _: [u8; 24] = read(rest)?;
            if self.held.0.lock().know(&id) {
                entries.extend(&from[..from.len() - rest.len()]);
                kept += 1;
            }
        }
        admitted.left_out = usize::from(count - kept);
        admitted.message.extend(kept.to_le_bytes());
        admitted.message.extend(entries);
        Ok(())
    }

    /// What the sender tells of others.
    fn delta(&self, rest: &mut &[u8]) -> Result<(), Refusal> {
        let decoded = unpack(rest)?;
        let mut ops = decoded.as_slice();
        // Of the incarnation that is told of, while more may be told of it.
        let mut latest: Option<Version> = None;
        while !ops.is_empty() {
            match read::<u8>(&mut ops)? {
                NODE => {
                    if node_id(&mut ops)? == self.own {
                        return Err(Refusal::OwnState);
                    }
                    // Version of the last clearance, version that all this is newer than.
                    let _: [u8; 16] = read(&mut ops)?;
                    latest = Some(0);
                }
                KEY_VALUE => {
                    let (key, value): (String, String) = (read(&mut ops)?, read(&mut ops)?);
                    let (version, _status): (Version, u8) = (read(&mut ops)?, read(&mut ops)?);
                    if key.len() + value.len() > KEY_VALUE_BYTES_MAX {
                        return Err(Refusal::TooLarge);
                    }
                    latest = latest.filter(|before| *before < version).map(|_| version);
                    latest.ok_or(Refusal::Disordered)?;
                }
                // Of an incarnation without keys alone: else their versions say it.
                SET_MAX_VERSION => {
                    read::<Version>(&mut ops)?;
                    latest.take().filter(|before| *before == 0).ok_or(Refusal::Disordered)?;
                }
                _ => return Err(Refusal::Malformed),
            }
        }
        let mut held = self.held.0.lock();
        if held.state_bytes + decoded.len() > STATE_BYTES_MAX {
            return Err(Refusal::Full);
        }
        held.state_bytes += decoded.len();
        Ok(())
    }
}

fn read<T: Deserializable>(rest: &mut &[u8]) -> Result<T, Refusal> {
    T::deserialize(rest).map_err(|_| Refusal::Malformed)
}

fn node_id(rest: &mut &[u8]) -> Result<ChitchatId, Refusal> {
    let id: ChitchatId = read(rest)?;
    if id.node_id.len() > ID_BYTES_MAX { Err(Refusal::TooLarge) } else { Ok(id) }
}

/// What the blocks hold together.
fn unpack(rest: &mut &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut decoded: Vec<u8> = vec![];
    let mut unpacked = vec![0; BLOCK_BYTES_MAX];
    for _ in 0..=BLOCKS_MAX {
        let kind: u8 = read(rest)?;
        if kind == NO_MORE_BLOCKS {
            return Ok(decoded);
        }
        let length: u16 = read(rest)?;
        let (block, after) = rest.split_at_checked(length.into()).ok_or(Refusal::Malformed)?;
        *rest = after;
        let plain = match kind {
            PLAIN => block,
            COMPRESSED => {
                let length = zstd::bulk::decompress_to_buffer(block, &mut unpacked[..]);
                &unpacked[..length.map_err(|_| Refusal::Malformed)?]
            }
            _ => return Err(Refusal::Malformed),
        };
        if decoded.len() + plain.len() > DECODED_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        decoded.extend(plain);
    }
    Err(Refusal::TooLarge)
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
