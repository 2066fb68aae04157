//! The texts of refused entries, Loki's. It must not know why an entry is refused.

use jiff::Timestamp;
use model::time::NANOS_PER_MILLI;
use model::{Kind, TenantId};
use rpc::ingester::Rejection;

/// Entries that one message names; more are only counted.
const ENTRIES_NAMED_MAX: usize = 10;

/// The refused entries of one stream of one push.
#[derive(Debug, Default)]
pub struct Refused {
    named: Vec<String>,
    entries: u64,
    bytes: u64,
}

impl Refused {
    /// `cause` gives the text of one entry, e.g. `entry out of order`; it is asked for those that are named only.
    pub fn add(&mut self, ts_ns: i64, bytes: u64, cause: impl FnOnce() -> String) {
        self.entries += 1;
        self.bytes += bytes;
        if self.named.len() < ENTRIES_NAMED_MAX {
            self.named.push(format!("entry with timestamp {} ignored, reason: '{}',\n", go_time(ts_ns), cause()));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// `of`: the entries of the stream in the push; `labels`: its canonical text.
    pub fn into_rejection(self, kind: Kind, reason: &str, tenant: &TenantId, labels: &str, of: u64) -> Rejection {
        let message = format!(
            "{}user '{tenant}', total ignored: {} out of {of} for stream: {labels}",
            self.named.concat(),
            self.entries
        );
        Rejection { kind, reason: reason.into(), message, entries: self.entries, bytes: self.bytes }
    }
}

pub fn too_far_behind(ts_ns: i64, oldest_ns: i64) -> String {
    format!(
        "entry too far behind, entry timestamp is: {}, oldest acceptable timestamp is: {}",
        rfc3339(ts_ns),
        rfc3339(oldest_ns)
    )
}

pub const OUT_OF_ORDER: &str = "entry out of order";

pub fn stream_rate_exceeded(limit_bytes: u64, labels: &str, bytes: u64) -> String {
    format!(
        "Per stream rate limit exceeded (limit: {}/sec) while attempting to ingest for stream '{labels}' totaling {}, \
         consider splitting a stream via additional labels or contact your Loki administrator to see if the limit can \
         be increased",
        byte_size(limit_bytes),
        byte_size(bytes)
    )
}

pub fn too_many_streams(tenant: &TenantId, labels: &str) -> String {
    format!(
        "maximum active stream limit exceeded when trying to create stream {labels}, reduce the number of active \
         streams (reduce labels or reduce label values), or contact your Loki administrator to see if the limit can be \
         increased, user: '{tenant}'"
    )
}

/// A size in the largest unit of 1024 that it is a whole or fractional number of: `3MB`, `1.5KB`, `100B`.
fn byte_size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TB"), (1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "KB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        None => format!("{bytes}B"),
        Some((unit, name)) => {
            let tenths = (u128::from(bytes) * 10 / u128::from(*unit)) as u64;
            if tenths.is_multiple_of(10) {
                format!("{}{name}", tenths / 10)
            } else {
                format!("{}.{}{name}", tenths / 10, tenths % 10)
            }
        }
    }
}

/// As Go prints a time: `2026-01-15 10:00:00.5 +0000 UTC`.
fn go_time(ts_ns: i64) -> String {
    let fraction = ts_ns.rem_euclid(NANOS_PER_MILLI * 1000);
    let digits = format!(".{fraction:09}");
    format!("{}{} +0000 UTC", formatted(ts_ns, "%Y-%m-%d %H:%M:%S"), digits.trim_end_matches('0').trim_end_matches('.'))
}

fn rfc3339(ts_ns: i64) -> String {
    formatted(ts_ns, "%Y-%m-%dT%H:%M:%SZ")
}

fn formatted(ts_ns: i64, format: &str) -> String {
    let second = Timestamp::from_second(ts_ns.div_euclid(NANOS_PER_MILLI * 1000)).unwrap_or(Timestamp::UNIX_EPOCH);
    second.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: i64 = 1_768_471_200_000_000_000;

    #[test]
    fn texts_are_loki_s() {
        let tenant = TenantId::parse("pushraw").unwrap();
        let mut refused = Refused::default();
        refused.add(TEN, 9, || too_far_behind(TEN, TEN + 3_600_000_000_000));
        let labels = r#"{case="olds", job="pushtest"}"#;
        let rejection = refused.into_rejection(Kind::Invalid, "too_far_behind", &tenant, labels, 2);
        // Recorded: push_json/older-than-window-second-request.
        assert_eq!(
            rejection.message,
            "entry with timestamp 2026-01-15 10:00:00 +0000 UTC ignored, reason: 'entry too far behind, entry \
             timestamp is: 2026-01-15T10:00:00Z, oldest acceptable timestamp is: 2026-01-15T11:00:00Z',\nuser \
             'pushraw', total ignored: 1 out of 2 for stream: {case=\"olds\", job=\"pushtest\"}"
        );
        assert_eq!((rejection.entries, rejection.bytes), (1, 9));
    }

    #[test]
    fn only_ten_entries_are_named() {
        let mut refused = Refused::default();
        for i in 0..25 {
            refused.add(i, 1, || OUT_OF_ORDER.into());
        }
        let tenant = TenantId::anonymous();
        let rejection = refused.into_rejection(Kind::Invalid, "out_of_order", &tenant, "{}", 30);
        assert_eq!(rejection.message.matches("out of order").count(), 10);
        assert!(rejection.message.ends_with("user 'fake', total ignored: 25 out of 30 for stream: {}"));
    }

    #[test]
    fn times_and_sizes_print_as_in_go() {
        for (ts, text) in [
            (TEN, "2026-01-15 10:00:00 +0000 UTC"),
            (TEN + 120_000_000, "2026-01-15 10:00:00.12 +0000 UTC"),
            (TEN + 1, "2026-01-15 10:00:00.000000001 +0000 UTC"),
            (-1, "1969-12-31 23:59:59.999999999 +0000 UTC"),
            (i64::MIN, "1677-09-21 00:12:43.145224192 +0000 UTC"),
        ] {
            assert_eq!(go_time(ts), text);
        }
        for (bytes, text) in [(100, "100B"), (3 << 20, "3MB"), (1536, "1.5KB"), (u64::MAX, "16777215.9TB")] {
            assert_eq!(byte_size(bytes), text);
        }
    }
}
