//! Values that are made of files and made anew when a file changes: certificates, credentials. A bad change leaves the
//! value that is there. It must not know what is made.

use crate::metrics::{Family, Gauge, Metrics};
use crate::tasks::Tasks;
use arc_swap::ArcSwap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often files are read again.
const PERIOD: Duration = Duration::from_secs(5);

/// Bytes of one file: thousands of certificates or credentials fit.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The newest value; clones share it.
pub struct Reloaded<T>(Arc<ArcSwap<T>>);

impl<T> Clone for Reloaded<T> {
    fn clone(&self) -> Self {
        Reloaded(self.0.clone())
    }
}

impl<T> Reloaded<T> {
    /// A value that stays.
    pub fn fixed(value: T) -> Self {
        Reloaded(Arc::new(ArcSwap::from_pointee(value)))
    }

    pub fn get(&self) -> Arc<T> {
        self.0.load_full()
    }
}

/// Makes values and keeps them new; a cheap handle.
#[derive(Clone)]
pub struct Reloader {
    tasks: Tasks,
    period: Duration,
    successful: Family<Vec<(&'static str, String)>, Gauge>,
}

impl Reloader {
    /// `lokirs_file_reload_successful` tells of each value whether its files were good when they were last read.
    pub fn new(tasks: &Tasks, metrics: &Metrics) -> Self {
        let successful = Family::default();
        let help = "Whether what was last read from files of settings was good";
        metrics.with_registry(|registry| registry.register("lokirs_file_reload_successful", help, successful.clone()));
        Reloader { tasks: tasks.clone(), period: PERIOD, successful }
    }

    #[cfg(test)]
    fn every(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// What `make` makes of the files' bytes, which come in the order of `files`. `name` stands in the log and the metric.
    /// The error of the first time is the caller's.
    pub fn start<T, F>(&self, name: &str, files: Vec<PathBuf>, make: F) -> Result<Reloaded<T>, String>
    where
        T: Send + Sync + 'static,
        F: Fn(&[Vec<u8>]) -> Result<T, String> + Send + 'static,
    {
        let mut source = Source { files, seen: vec![], make };
        let first = source.changed().and_then(|made| made.ok_or_else(|| "there is nothing to read".to_string()));
        let value = first.map_err(|fault| format!("{name}: {fault}"))?;
        let value = Reloaded(Arc::new(ArcSwap::from_pointee(value)));
        let successful = self.successful.get_or_create(&vec![("name", name.to_string())]).clone();
        successful.set(1);
        if source.files.is_empty() {
            return Ok(value);
        }
        let (name, kept) = (name.to_string(), value.clone());
        let (stopping, period) = (self.tasks.stopping(), self.period);
        self.tasks.spawn("reload of files", async move {
            let mut ticks = tokio::time::interval(period);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = ticks.tick() => {}
                }
                match source.changed() {
                    Ok(None) => {}
                    Ok(Some(value)) => {
                        kept.0.store(Arc::new(value));
                        successful.set(1);
                        tracing::info!(name, "read anew: its files have changed");
                    }
                    Err(fault) => {
                        // Said once: that it is still so is no news.
                        if successful.set(0) != 0 {
                            tracing::error!(name, fault, "cannot be read anew; what was read before stays in use");
                        }
                    }
                }
            }
        });
        Ok(value)
    }
}

struct Source<F> {
    files: Vec<PathBuf>,
    /// What was last read, good or bad; nothing after a failure to read.
    seen: Vec<Vec<u8>>,
    make: F,
}

impl<T, F: Fn(&[Vec<u8>]) -> Result<T, String>> Source<F> {
    /// The value, unless the files are as they were.
    fn changed(&mut self) -> Result<Option<T>, String> {
        let read: Result<Vec<_>, String> = self.files.iter().map(|path| read_file(path)).collect();
        let bytes = read.inspect_err(|_| self.seen.clear())?;
        if bytes == self.seen && !bytes.is_empty() {
            return Ok(None);
        }
        self.seen = bytes;
        (self.make)(&self.seen).map(Some)
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let fault = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(fault)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(path).map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(files: &[Vec<u8>]) -> Result<u32, String> {
        String::from_utf8_lossy(&files[0]).trim().parse().map_err(|_| "no number".to_string())
    }

    async fn until(condition: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(tokio::time::Instant::now() < deadline, "the condition never holds");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn a_changed_file_is_read_anew_and_a_bad_one_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("number");
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let reloader = Reloader::new(&tasks, &metrics).every(Duration::from_millis(5));
        let files = vec![path.clone()];
        assert!(reloader.start("n", files.clone(), number).err().unwrap().contains("cannot read"));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(reloader.start("n", files.clone(), number).err().unwrap(), "n: no number");
        std::fs::write(&path, "1").unwrap();
        let value = reloader.start("n", files, number).unwrap();
        let successful =
            |n: u8| metrics.print_classic().contains(&format!("lokirs_file_reload_successful{{name=\"n\"}} {n}\n"));
        assert!(*value.get() == 1 && successful(1));
        std::fs::write(&path, "two").unwrap();
        until(|| successful(0)).await;
        assert_eq!(*value.get(), 1);
        std::fs::write(&path, "2").unwrap();
        until(|| *value.get() == 2 && successful(1)).await;
        assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
    }
}
