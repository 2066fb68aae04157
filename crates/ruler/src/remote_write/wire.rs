//! The message of remote write 1.0: protobuf, compressed with snappy. It must not know where it goes.

use crate::sample::Sample;
use model::Labels;
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Pair>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Pair {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Point {
    #[prost(double, tag = "1")]
    pub value: f64,
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

/// Each sample as a series of its own, in the order that they have.
pub(super) fn encode(samples: &[Sample]) -> Vec<u8> {
    let pair = |label: &model::Label| Pair { name: label.name.to_string(), value: label.value.to_string() };
    let series = samples.iter().map(|sample| TimeSeries {
        labels: sample.labels.iter().map(pair).collect(),
        samples: vec![Point { value: sample.value, timestamp: sample.timestamp_ms }],
    });
    WriteRequest { timeseries: series.collect() }.encode_to_vec()
}

pub(super) fn decode(message: &[u8]) -> Result<Vec<Sample>, String> {
    let request = WriteRequest::decode(message).map_err(|error| error.to_string())?;
    let samples = request.timeseries.into_iter().flat_map(|series| {
        let labels = Labels::new(series.labels.into_iter().map(|pair| (pair.name, pair.value)));
        let sample =
            move |point: Point| Sample { labels: labels.clone(), timestamp_ms: point.timestamp, value: point.value };
        series.samples.into_iter().map(sample).collect::<Vec<_>>()
    });
    Ok(samples.collect())
}

/// What stands in a request's body.
pub(super) fn compress(message: &[u8]) -> Result<Vec<u8>, String> {
    snap::raw::Encoder::new().compress_vec(message).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_bit_by_bit() {
        let sample = |name: &str, timestamp_ms, value| Sample {
            labels: Labels::new([("__name__", name), ("a", "b")]),
            timestamp_ms,
            value,
        };
        // Prometheus's mark of a series that has ended is a certain NaN.
        let ended = f64::from_bits(0x7ff0_0000_0000_0002);
        let samples = [sample("x", 1, 0.5), sample("x", -2, f64::INFINITY), sample("y", i64::MAX, ended)];
        let back = decode(&encode(&samples)).unwrap();
        for (sample, back) in samples.iter().zip(&back) {
            assert_eq!((&back.labels, back.timestamp_ms), (&sample.labels, sample.timestamp_ms));
            assert_eq!(back.value.to_bits(), sample.value.to_bits());
        }
        assert_eq!(back.len(), 3);
        assert!(decode(&[0xff; 9]).is_err());
        assert_eq!(
            encode(&[Sample { labels: Labels::new([("a", "b")]), timestamp_ms: 5, value: 1.0 }]),
            b"\x0a\x15\x0a\x06\x0a\x01a\x12\x01b\x12\x0b\x09\0\0\0\0\0\0\xf0\x3f\x10\x05"
        );
    }
}
