//! The overrides file, read at the start and again while the process runs. A bad file at the start is fatal; later the
//! set that is there stays, and a metric says so.

use crate::config::roles::Ruler;
use crate::config::{self, Keys, Settings};
use runtime::limits::{LimitSet, Overrides, parse_overrides};
use runtime::metrics::{Gauge, Metrics};
use runtime::tasks::Tasks;
use std::sync::Arc;
use std::time::Duration;

/// The shortest period: a file is read and parsed this often at most.
const PERIOD_MIN: Duration = Duration::from_millis(100);

/// Reads the files now and keeps reading them.
pub fn start(settings: &Settings, keys: Arc<Keys>, metrics: &Metrics, tasks: &Tasks) -> Result<Arc<Overrides>, String> {
    let overrides = Arc::new(Overrides::new(settings.limits_config.clone()));
    let files = settings.runtime_config.file.clone();
    if files.is_empty() {
        return Ok(overrides);
    }
    let successful = metrics.gauge(
        "runtime_config_last_reload_successful",
        "Whether the last runtime-config reload attempt was successful",
    );
    let ruler = settings.ruler.clone();
    let mut watch = Watch { files, keys, ruler, overrides: overrides.clone(), successful, seen: vec![] };
    watch.reload().map_err(|faults| format!("failed to load runtime config: {faults}"))?;
    let (period, stopping) = (settings.runtime_config.period.max(PERIOD_MIN), tasks.stopping());
    tasks.spawn("runtime config", async move {
        let mut ticks = tokio::time::interval(period);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = ticks.tick() => {}
            }
            if let Err(faults) = watch.reload() {
                tracing::error!(faults, "failed to reload the runtime config; the old one stays");
            }
        }
    });
    Ok(overrides)
}

struct Watch {
    files: Vec<String>,
    keys: Arc<Keys>,
    /// Over which a tenant's overrides are laid.
    ruler: Ruler,
    overrides: Arc<Overrides>,
    successful: Gauge,
    /// The texts that were last read, good or bad: equal texts need no parse.
    seen: Vec<String>,
}

impl Watch {
    fn reload(&mut self) -> Result<(), String> {
        let result = self.read();
        if let Some(result) = result.transpose() {
            self.successful.set(i64::from(result.is_ok()));
            self.overrides.replace(result?);
        }
        Ok(())
    }

    /// `None` when nothing has changed.
    fn read(&mut self) -> Result<Option<LimitSet>, String> {
        let texts = self.files.iter().map(|path| config::read_file(path)).collect::<Result<Vec<_>, _>>()?;
        if texts == self.seen {
            return Ok(None);
        }
        let defaults = self.overrides.defaults();
        let set = parse_overrides(&texts, &defaults, &*self.keys).map_err(|faults| faults.join("; "));
        let set = set.and_then(|set| self.checked(set));
        self.seen = texts;
        set.map(Some)
    }

    /// Whether what tenants have of the ruler's own can be used.
    fn checked(&self, set: LimitSet) -> Result<LimitSet, String> {
        let faults = set.tenants.iter().flat_map(|(tenant, limits)| {
            let faults = self.ruler.outbound_faults(limits).into_iter();
            faults.map(move |fault| format!("{tenant}: {fault}"))
        });
        let faults: Vec<String> = faults.collect();
        if faults.is_empty() { Ok(set) } else { Err(faults.join("; ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::TenantId;

    #[tokio::test]
    async fn a_bad_reload_keeps_the_old_set() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("overrides.yaml");
        let mut settings = Settings::default();
        settings.runtime_config.file = vec![path.display().to_string()];
        settings.runtime_config.period = Duration::ZERO;
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let keys = Arc::new(Keys::of_loki());
        assert!(start(&settings, keys.clone(), &Metrics::default(), &tasks).is_err());

        std::fs::write(&path, "overrides: {a: {max_query_series: 3, metric_aggregation_enabled: false}}").unwrap();
        let overrides = start(&settings, keys, &metrics, &tasks).unwrap();
        let series = || overrides.tenant(&TenantId::parse("a").unwrap()).max_query_series;
        let successful = |value: i64| {
            metrics.print_classic().contains(&format!("loki_runtime_config_last_reload_successful {value}\n"))
        };
        assert!(series() == 3 && successful(1));
        std::fs::write(&path, "overrides: {a: {max_query_serious: 9}}").unwrap();
        until(|| successful(0)).await;
        assert_eq!(series(), 3);
        std::fs::write(&path, "overrides: {a: {max_query_series: 4}}").unwrap();
        until(|| series() == 4 && successful(1)).await;
        // What only the ruler can read is looked at as well.
        let bad = "overrides: {a: {max_query_series: 5, ruler_alertmanager_config: {alertmanager_url: nowhere}}}";
        std::fs::write(&path, bad).unwrap();
        until(|| successful(0)).await;
        assert_eq!(series(), 4);
        std::fs::write(&path, "overrides: {a: {max_query_series: 6}}").unwrap();
        until(|| series() == 6 && successful(1)).await;
        assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
    }

    async fn until(condition: impl Fn() -> bool) {
        for _ in 0..100 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the condition never holds");
    }
}
