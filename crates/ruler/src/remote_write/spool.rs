//! Samples that wait on disk for one client, bounded in bytes: segments that grow at the end and are deleted from the
//! front, and a file that says how far they have been sent. It must not know who takes them.
//!
//! A segment is a row of frames: length, CRC-32C and number of samples (4 bytes each, little endian), then the samples
//! as a message of remote write. A frame that was cut off by a crash ends its segment.

use super::wire;
use crate::sample::Sample;
use crc_fast::{CrcAlgorithm, checksum};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const HEADER_BYTES: usize = 12;
/// Samples of one frame.
const FRAME_SAMPLES_MAX: usize = 500;
/// Encoded samples that are read at one time, or one frame.
const READ_BYTES_MAX: u64 = 8 << 20;
/// A frame that says it is longer is none.
const FRAME_BYTES_MAX: u64 = 64 << 20;
/// A segment that has grown so far is not written to any more.
pub(super) const SEGMENT_BYTES: u64 = 4 << 20;
/// Of all segments of one client; of more, the oldest segment is dropped.
pub(super) const SPOOL_BYTES_MAX: u64 = 256 << 20;
const POSITION: &str = "position";
const SUFFIX: &str = "samples";

pub(super) struct Spool {
    dir: PathBuf,
    bytes_max: u64,
    segment_bytes: u64,
    /// The oldest first; the last one may grow.
    segments: VecDeque<Segment>,
    /// The frame that is read next, in the first segment.
    offset: u64,
    /// Of the next segment: none has a number that a position may still name.
    number: u64,
    last: Option<File>,
    /// Samples dropped since this was last asked.
    dropped: u64,
}

struct Segment {
    number: u64,
    bytes: u64,
    /// Samples behind the offset.
    left: u64,
}

/// What was read, and where the next read begins once it has been sent.
pub(super) struct Chunk {
    pub samples: Vec<Sample>,
    pub next: Position,
    /// Samples that could not be read.
    pub lost: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    segment: u64,
    offset: u64,
}

impl Spool {
    /// With what an earlier process has left.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Self::bounded(dir, SPOOL_BYTES_MAX, SEGMENT_BYTES)
    }

    pub(super) fn bounded(dir: &Path, bytes_max: u64, segment_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut numbers: Vec<u64> = fs::read_dir(dir)?.filter_map(|entry| number(&entry.ok()?.path())).collect();
        numbers.sort_unstable();
        let sent = read_position(dir);
        // Nothing is written behind what a crash may have cut off: the next sample begins a segment.
        let highest = numbers.last().copied().max(sent.map(|sent| sent.segment));
        let mut spool = Spool {
            dir: dir.to_path_buf(),
            bytes_max,
            segment_bytes,
            segments: VecDeque::new(),
            offset: 0,
            number: highest.map_or(1, |highest| highest.saturating_add(1)),
            last: None,
            dropped: 0,
        };
        for number in numbers {
            if sent.is_some_and(|sent| number < sent.segment) {
                remove(&spool.path(number))?;
                continue;
            }
            let from = sent.filter(|sent| sent.segment == number).map_or(0, |sent| sent.offset);
            if spool.segments.is_empty() {
                spool.offset = from;
            }
            let (bytes, left) = scan(&spool.path(number), from)?;
            spool.segments.push_back(Segment { number, bytes, left });
        }
        Ok(spool)
    }

    /// Samples that wait.
    pub(super) fn len(&self) -> u64 {
        self.segments.iter().map(|segment| segment.left).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// How many samples had to be dropped since this was last asked.
    pub(super) fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// Adds samples at the end, all or none.
    pub(super) fn append(&mut self, samples: &[Sample]) -> io::Result<()> {
        let frames: Vec<u8> = samples.chunks(FRAME_SAMPLES_MAX).flat_map(frame).collect();
        self.make_room(frames.len() as u64)?;
        let mut file = self.file()?;
        let whole = self.segments.back().map_or(0, |last| last.bytes);
        if let Err(error) = file.write_all(&frames) {
            // A file that ends in the middle of a frame is not written to again.
            self.last = file.set_len(whole).is_ok().then_some(file);
            return Err(error);
        }
        self.last = Some(file);
        if let Some(last) = self.segments.back_mut() {
            last.bytes += frames.len() as u64;
            last.left += samples.len() as u64;
        }
        Ok(())
    }

    /// The oldest frames with at least `wanted` samples together, as far as there are and fit.
    pub(super) fn read(&self, wanted: usize) -> io::Result<Chunk> {
        let mut chunk = Chunk { samples: vec![], next: Position { segment: 0, offset: 0 }, lost: 0 };
        let (mut offset, mut bytes_read) = (self.offset, 0);
        for segment in &self.segments {
            let mut left = segment.left;
            let mut file = match File::open(self.path(segment.number)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                file => Some(file?),
            };
            let enough = |samples: &[Sample], bytes| samples.len() >= wanted || bytes >= READ_BYTES_MAX;
            while offset < segment.bytes && !enough(&chunk.samples, bytes_read) {
                let frame = file.as_mut().map_or(Ok(None), |file| read_frame(file, offset))?;
                let Some((samples, bytes)) = frame else {
                    // What was written so far is no frames, though it was when it was written.
                    chunk.lost += std::mem::take(&mut left);
                    offset = segment.bytes;
                    break;
                };
                left = left.saturating_sub(samples.len() as u64);
                offset += bytes;
                bytes_read += bytes;
                chunk.samples.extend(samples);
            }
            chunk.next = Position { segment: segment.number, offset };
            if enough(&chunk.samples, bytes_read) {
                break;
            }
            offset = 0;
        }
        Ok(chunk)
    }

    /// What stands before `to` has been sent. What was added behind it meanwhile stays.
    pub(super) fn advance(&mut self, to: Position) -> io::Result<()> {
        let is_sent = |first: &Segment| (first.number, first.bytes) <= (to.segment, to.offset);
        while self.segments.front().is_some_and(is_sent) {
            self.remove_first()?;
        }
        let path = self.segments.front().map(|first| self.path(first.number));
        if let (Some(first), Some(path)) = (self.segments.front_mut(), path)
            && first.number == to.segment
            && to.offset > self.offset
        {
            self.offset = to.offset;
            first.left = scan(&path, to.offset)?.1;
        }
        // A new segment must not be taken for one that was sent.
        write_position(
            &self.dir,
            self.segments.front().map_or(to, |first| Position { segment: first.number, offset: self.offset }),
        )
    }

    /// Drops the oldest segments, up to the one with this number. How many samples that costs.
    pub(super) fn drop_through(&mut self, number: u64) -> io::Result<u64> {
        let mut dropped = 0;
        while let Some(first) = self.segments.front().filter(|first| first.number <= number) {
            dropped += first.left;
            self.remove_first()?;
        }
        Ok(dropped)
    }

    fn make_room(&mut self, bytes: u64) -> io::Result<()> {
        while self.segments.len() > 1
            && self.segments.iter().map(|segment| segment.bytes).sum::<u64>() + bytes > self.bytes_max
        {
            self.dropped += self.segments.front().map_or(0, |first| first.left);
            self.remove_first()?;
        }
        Ok(())
    }

    fn remove_first(&mut self) -> io::Result<()> {
        let Some(first) = self.segments.pop_front() else { return Ok(()) };
        self.offset = 0;
        if self.segments.is_empty() {
            self.last = None;
        }
        remove(&self.path(first.number))
    }

    /// The last segment's file, at its end; a new one if there is none that may grow.
    fn file(&mut self) -> io::Result<File> {
        let full = self.segments.back().is_none_or(|last| last.bytes >= self.segment_bytes);
        match self.last.take() {
            Some(file) if !full => Ok(file),
            _ => {
                let number = self.number;
                let file = OpenOptions::new().create_new(true).append(true).open(self.path(number))?;
                self.number += 1;
                self.segments.push_back(Segment { number, bytes: 0, left: 0 });
                Ok(file)
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{number:012}.{SUFFIX}"))
    }
}

/// Of a segment's file; nothing for other files.
pub(super) fn number(path: &Path) -> Option<u64> {
    let samples = path.extension().is_some_and(|extension| extension == SUFFIX);
    path.file_stem().filter(|_| samples)?.to_str()?.parse().ok()
}

fn frame(samples: &[Sample]) -> Vec<u8> {
    let message = wire::encode(samples);
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, &message) as u32;
    let header = [message.len() as u32, crc, samples.len() as u32];
    header.iter().flat_map(|number| number.to_le_bytes()).chain(message).collect()
}

/// Samples and length of the frame at `offset`; nothing where there is no whole frame.
fn read_frame(file: &mut File, offset: u64) -> io::Result<Option<(Vec<Sample>, u64)>> {
    let mut header = [0; HEADER_BYTES];
    file.seek(SeekFrom::Start(offset))?;
    if !read_whole(file, &mut header)? {
        return Ok(None);
    }
    let [length, crc, _] = numbers(&header);
    if u64::from(length) > FRAME_BYTES_MAX || offset + HEADER_BYTES as u64 + u64::from(length) > file.metadata()?.len()
    {
        return Ok(None);
    }
    let mut message = vec![0; length as usize];
    if !read_whole(file, &mut message)? || checksum(CrcAlgorithm::Crc32Iscsi, &message) as u32 != crc {
        return Ok(None);
    }
    Ok(wire::decode(&message).ok().map(|samples| (samples, (HEADER_BYTES + message.len()) as u64)))
}

/// One that is gone already is as good.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes of a segment up to its last whole frame, and the samples behind `from`. One that is gone has none.
pub(super) fn scan(path: &Path, from: u64) -> io::Result<(u64, u64)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((from, 0)),
        file => file?,
    };
    let length = file.metadata()?.len();
    let (mut offset, mut left) = (from.min(length), 0);
    let mut header = [0; HEADER_BYTES];
    loop {
        file.seek(SeekFrom::Start(offset))?;
        if !read_whole(&mut file, &mut header)? {
            return Ok((offset, left));
        }
        let [bytes, _, samples] = numbers(&header);
        let end = offset + HEADER_BYTES as u64 + u64::from(bytes);
        if end > length {
            return Ok((offset, left));
        }
        (offset, left) = (end, left + u64::from(samples));
    }
}

fn numbers(header: &[u8; HEADER_BYTES]) -> [u32; 3] {
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    [number(0), number(4), number(8)]
}

/// Whether there was enough to read.
fn read_whole(file: &mut File, into: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(into) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_position(dir: &Path) -> Option<Position> {
    let text = fs::read_to_string(dir.join(POSITION)).ok()?;
    let (segment, offset) = text.trim().split_once(' ')?;
    Some(Position { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

fn write_position(dir: &Path, position: Position) -> io::Result<()> {
    let new = dir.join("position.new");
    fs::write(&new, format!("{} {}\n", position.segment, position.offset))?;
    fs::rename(new, dir.join(POSITION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Labels;

    fn samples(times: std::ops::Range<i64>) -> Vec<Sample> {
        let labels = Labels::new([("__name__", "x")]);
        times.map(|timestamp_ms| Sample { labels: labels.clone(), timestamp_ms, value: 1.0 }).collect()
    }

    fn times(chunk: &Chunk) -> Vec<i64> {
        chunk.samples.iter().map(|sample| sample.timestamp_ms).collect()
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir).unwrap().filter_map(|entry| number(&entry.unwrap().path())).count()
    }

    #[test]
    fn what_was_not_sent_is_there_again_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Spool::bounded(dir.path(), 1 << 20, 1 << 20).unwrap();
        let mut spool = open();
        for start in [0, 10, 20] {
            spool.append(&samples(start..start + 10)).unwrap();
        }
        let first = spool.read(15).unwrap();
        assert_eq!((times(&first), spool.len()), ((0..20).collect(), 30));
        spool.advance(first.next).unwrap();
        assert_eq!(spool.len(), 10);
        let mut spool = open();
        assert_eq!((times(&spool.read(1).unwrap()), spool.len()), ((20..30).collect(), 10));
        spool.append(&samples(30..31)).unwrap();
        let rest = spool.read(100).unwrap();
        assert_eq!(times(&rest), (20..31).collect::<Vec<_>>());
        spool.advance(rest.next).unwrap();
        assert_eq!((spool.len(), files(dir.path())), (0, 0));
        let mut spool = open();
        assert_eq!((spool.len(), spool.read(1).unwrap().samples), (0, vec![]));
        spool.append(&samples(5..6)).unwrap();
        assert_eq!((open().len(), times(&open().read(1).unwrap())), (1, vec![5]));
    }

    #[test]
    fn the_oldest_segment_is_dropped_and_a_late_advance_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let segment = frame(&samples(10..20)).len() as u64;
        let mut spool = Spool::bounded(dir.path(), 3 * segment, 1).unwrap();
        let append = |spool: &mut Spool, start: i64| {
            spool.append(&samples(start..start + 10)).unwrap();
            spool.take_dropped()
        };
        let dropped: Vec<u64> = (0..5).map(|n| append(&mut spool, n * 10)).collect();
        assert_eq!((dropped, spool.len(), files(dir.path())), (vec![0, 0, 0, 10, 10], 30, 3));
        let read = spool.read(1).unwrap();
        assert_eq!(times(&read), (20..30).collect::<Vec<_>>());
        assert_eq!(append(&mut spool, 50), 10);
        spool.advance(read.next).unwrap();
        assert_eq!((times(&spool.read(1).unwrap()), spool.len()), ((30..40).collect(), 30));
        let read = spool.read(100).unwrap();
        assert_eq!((spool.drop_through(5).unwrap(), spool.drop_through(99).unwrap(), files(dir.path())), (20, 10, 0));
        append(&mut spool, 60);
        spool.advance(read.next).unwrap();
        assert_eq!(times(&spool.read(1).unwrap()), (60..70).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_added_to_a_segment_while_its_first_part_is_sent_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::bounded(dir.path(), 1 << 20, 1 << 20).unwrap();
        spool.append(&samples(0..10)).unwrap();
        let first = spool.read(100).unwrap();
        spool.append(&samples(10..20)).unwrap();
        spool.advance(first.next).unwrap();
        assert_eq!((times(&first), spool.len()), ((0..10).collect(), 10));
        let killed = Spool::bounded(dir.path(), 1 << 20, 1 << 20).unwrap();
        assert_eq!((times(&killed.read(100).unwrap()), killed.len()), ((10..20).collect(), 10));
        let second = spool.read(100).unwrap();
        assert_eq!(times(&second), (10..20).collect::<Vec<_>>());
        spool.advance(second.next).unwrap();
        assert_eq!((spool.len(), files(dir.path())), (0, 0));
    }

    #[test]
    fn a_full_disk_costs_nothing_of_what_was_written_and_of_what_comes_when_there_is_room() {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = Spool::bounded(dir.path(), 1 << 20, 1 << 20).unwrap();
        spool.append(&samples(0..10)).unwrap();
        spool.last = Some(OpenOptions::new().append(true).open("/dev/full").unwrap());
        assert_eq!(spool.append(&samples(10..20)).unwrap_err().kind(), io::ErrorKind::StorageFull);
        spool.append(&samples(20..30)).unwrap();
        let expected: Vec<i64> = (0..10).chain(20..30).collect();
        assert_eq!((times(&spool.read(100).unwrap()), spool.len()), (expected, 20));
    }

    #[test]
    fn a_frame_cut_off_or_changed_costs_what_is_behind_it_in_its_segment() {
        let dir = tempfile::tempdir().unwrap();
        let segment = frame(&samples(0..10)).len() as u64 + 1;
        let open = || Spool::bounded(dir.path(), 1 << 20, segment).unwrap();
        let fill = || {
            let mut spool = open();
            (0..4).for_each(|n| spool.append(&samples(n * 10..n * 10 + 10)).unwrap());
        };
        fill();
        let path = dir.path().join("000000000001.samples");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let cut = open();
        assert_eq!((cut.len(), times(&cut.read(25).unwrap())), (30, (0..10).chain(20..40).collect()));
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        fs::write(&path, &changed).unwrap();
        let mut spool = open();
        let chunk = spool.read(100).unwrap();
        assert_eq!((times(&chunk), chunk.lost), ((0..10).chain(20..40).collect(), 10));
        spool.advance(chunk.next).unwrap();
        assert_eq!(spool.len(), 0);
        let mut spool = open();
        spool.append(&samples(40..50)).unwrap();
        fs::remove_file(spool.path(spool.segments[0].number)).unwrap();
        let chunk = spool.read(10).unwrap();
        assert_eq!((chunk.lost, times(&chunk)), (10, vec![]));
        spool.advance(chunk.next).unwrap();
        for junk in [vec![0xff; 100], vec![0; 100], b"position".to_vec()] {
            fs::write(dir.path().join("000000000099.samples"), &junk).unwrap();
            let mut spool = open();
            let chunk = spool.read(10).unwrap();
            assert_eq!(chunk.samples, []);
            spool.advance(chunk.next).unwrap();
            assert_eq!(spool.len(), 0, "{junk:?}");
        }
    }
}
