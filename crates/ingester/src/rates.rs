//! A stream's rate: a token bucket over line bytes. It must not know which clock fills it.

/// 16 bytes per stream; full at first.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    filled_ns: i64,
}

impl Bucket {
    pub fn new() -> Self {
        Bucket { tokens: f64::INFINITY, filled_ns: i64::MIN }
    }

    /// Takes `bytes` if they are there; nothing otherwise. `rate` in bytes per second, `burst` in bytes; a rate of 0
    /// is no limit.
    pub fn take(&mut self, bytes: u64, rate: u64, burst: u64, now_ns: i64) -> bool {
        if rate == 0 {
            return true;
        }
        let elapsed = now_ns.saturating_sub(self.filled_ns).max(0) as f64 / 1e9;
        self.tokens = (self.tokens + elapsed * rate as f64).min(burst as f64);
        self.filled_ns = self.filled_ns.max(now_ns);
        let enough = self.tokens >= bytes as f64;
        if enough {
            self.tokens -= bytes as f64;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_the_burst_at_once_and_the_rate_after() {
        let mut bucket = Bucket::new();
        for (at_s, bytes, given) in [
            (0, 150, true),
            (0, 1, false),
            (1, 100, true),
            (1, 1, false),
            (0, 1, false),
            (100, 151, false),
            (100, 150, true),
        ] {
            assert_eq!(bucket.take(bytes, 100, 150, at_s * 1_000_000_000), given, "{bytes} bytes at {at_s} s");
        }
        assert!(Bucket::new().take(u64::MAX, 0, 0, 0), "no limit");
    }
}
