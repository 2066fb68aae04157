//! Mutations of valid input from a fixed seed, for tests of decoders: whatever comes, they answer and do not panic.
//! `LOKIRS_FUZZ_SECONDS` (2 unless set) is how long each test runs, `LOKIRS_FUZZ_SEED` where it starts.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Of a mutated input; inputs that grow without end slow the search down.
const INPUT_BYTES_MAX: usize = 1 << 20;

/// A xorshift generator.
pub struct Random(u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    /// One of the seeds with a few pieces of it changed.
    fn mutation(&mut self, seeds: &[Vec<u8>], pieces: &[&[u8]]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..self.below(6) {
            self.mutate(&mut input, seeds, pieces);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], pieces: &[&[u8]]) {
        let at = self.below(input.len() + 1);
        let end = (at + 1 + self.below(16)).min(input.len());
        match self.below(8) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 if at < input.len() => input[at] ^= 1 << self.below(8),
            3 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            4 => {
                let again = input[at..end].repeat(1 + self.below(40));
                input.splice(at..at, again);
            }
            5 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                let to = (from + self.below(64)).min(other.len());
                input.splice(at..end, other[from..to].iter().copied());
            }
            6 => {
                let number = self.next() >> self.below(64);
                input.splice(at..at, number.to_le_bytes().into_iter().take(1 + self.below(8)));
            }
            _ if !pieces.is_empty() => {
                let piece = pieces[self.below(pieces.len())];
                input.splice(at..at, piece.iter().copied());
            }
            _ => {}
        }
    }
}

/// Panics of all threads and tasks: most that take a panic along tell nobody.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::SeqCst);
            print(panic);
        }));
    });
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Gives mutations of `seeds` to `decode`, which says whether it took the input. A panic is reported with its seed.
/// Some inputs must be taken and some refused, or nothing was tried.
pub fn fuzz(seeds: &[Vec<u8>], pieces: &[&[u8]], mut decode: impl FnMut(&[u8], &mut Random) -> bool) {
    assert!(!seeds.is_empty(), "there is something to mutate");
    count_panics();
    let deadline = Instant::now() + Duration::from_secs(setting("LOKIRS_FUZZ_SECONDS", 2));
    let first = setting("LOKIRS_FUZZ_SEED", 1);
    let (mut seed, mut taken) = (first, 0u64);
    while Instant::now() < deadline {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let input = random.mutation(seeds, pieces);
        match catch_unwind(AssertUnwindSafe(|| decode(&input, &mut random))) {
            Ok(was_taken) if PANICS.load(Ordering::SeqCst) == 0 => taken += u64::from(was_taken),
            _ => panic!("seed {seed}: {}", String::from_utf8_lossy(&input[..input.len().min(4096)])),
        }
        seed += 1;
    }
    let tried = seed - first;
    eprintln!("{tried} inputs, {taken} of them taken");
    assert!(taken > 0 && taken < tried, "{taken} of {tried} inputs were taken");
}
