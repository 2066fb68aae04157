//! The distributor: a push is validated, admitted, sharded and replicated. It must not know HTTP, nor how lines are
//! stored.

pub mod admit;
pub mod discard;
pub mod intake;
pub mod level;
pub mod metadata;
pub mod metrics;
pub mod replicas;
pub mod replicate;
pub mod shard;
pub mod stream;

pub use metrics::Metrics;
pub use replicas::{OneIngester, ReplicaView, Replicas};

use admit::{RateExceeded, Rates};
use async_trait::async_trait;
use discard::{Reason, rfc3339};
use intake::{Intake, Valid};
use level::LevelDetector;
use model::{Error, Kind, Result, TenantId};
use parking_lot::RwLock;
use rpc::ingester::Rejection;
use rpc::pusher::{Format, PushError, PushRequest, Pusher};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use std::sync::Arc;
use stream::Streams;
use tokio_util::task::TaskTracker;

/// How many refusals of ingesters are told to the client.
const REJECTIONS_TOLD_MAX: usize = 10;

/// How many distributors share the global rates of tenants.
pub type Distributors = Arc<dyn Fn() -> usize + Send + Sync>;

pub struct Distributor {
    limits: Arc<Overrides>,
    clock: SharedClock,
    replicas: Arc<dyn Replicas>,
    distributors: Distributors,
    metrics: Metrics,
    streams: Streams,
    rates: Rates,
    /// The level detector of the last tenant's limits: tenants seldom differ in it.
    levels: RwLock<Option<(Arc<Limits>, Arc<LevelDetector>)>>,
    tasks: TaskTracker,
}

#[async_trait]
impl Pusher for Distributor {
    #[tracing::instrument(name = "push", skip_all, fields(org_id = tenant.as_str()))]
    async fn push(&self, tenant: &TenantId, request: &dyn PushRequest) -> Result<(), PushError> {
        let limits = self.limits.tenant(tenant);
        self.refuse_blocked(tenant, &limits)?;
        let valid = self.validate(tenant, &limits, request)?;
        self.admit(tenant, &limits, request.format(), &valid)?;
        let complaint = valid.discards.error();
        let view = self.replicas.view()?;
        let shards = shard::shard(valid.batch, &valid.tokens, &*view)?;
        let rejections = replicate::replicate(tenant, shards, &*view, &self.tasks).await?;
        match rejection_error(&rejections).or(complaint) {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }
}

impl Distributor {
    pub fn new(
        limits: Arc<Overrides>,
        clock: SharedClock,
        replicas: Arc<dyn Replicas>,
        distributors: Distributors,
    ) -> Self {
        Distributor {
            limits,
            clock,
            replicas,
            distributors,
            metrics: Metrics::default(),
            streams: Streams::default(),
            rates: Rates::default(),
            levels: RwLock::new(None),
            tasks: TaskTracker::new(),
        }
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Waits for what is still being sent to slow replicas. No push may come after it.
    pub async fn stop(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn refuse_blocked(&self, tenant: &TenantId, limits: &Limits) -> Result<(), PushError> {
        if limits.block_ingestion_until <= self.clock.now_ns() {
            return Ok(());
        }
        let status = limits.block_ingestion_status_code;
        let until = rfc3339(limits.block_ingestion_until);
        let message = format!("ingestion blocked for user {tenant} until '{until}' with status code '{status}'");
        Err(PushError::Blocked { status, message })
    }

    fn validate(&self, tenant: &TenantId, limits: &Arc<Limits>, request: &dyn PushRequest) -> Result<Valid> {
        let levels = self.levels(limits);
        let mut intake = Intake::new(tenant, limits, &self.streams, &levels, self.clock.now_ns());
        request.walk(&mut intake)?;
        let valid = intake.finish();
        if valid.streams == 0 {
            return Err(Error::new(Kind::Empty, "error at least one valid stream is required for ingestion"));
        }
        self.metrics.received(tenant.as_str(), limits, request.format(), &valid);
        Ok(valid)
    }

    fn admit(&self, tenant: &TenantId, limits: &Limits, format: Format, valid: &Valid) -> Result<()> {
        if valid.lines == 0 {
            return Ok(());
        }
        let (lines, bytes) = (valid.lines, valid.bytes);
        let admitted = self.rates.admit(tenant, limits, bytes, self.clock.now_ns(), (self.distributors)());
        admitted.map_err(|RateExceeded { limit_bytes_per_second: limit }| {
            self.metrics.discarded(Reason::RateLimited.as_str(), tenant.as_str(), limits, format, lines, bytes);
            Error::limited(format!(
                "ingestion rate limit exceeded for user {tenant} (limit: {limit} bytes/sec) while attempting to ingest '{lines}' lines totaling '{bytes}' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased"
            ))
        })
    }

    fn levels(&self, limits: &Arc<Limits>) -> Arc<LevelDetector> {
        if let Some((of, levels)) = &*self.levels.read()
            && Arc::ptr_eq(of, limits)
        {
            return levels.clone();
        }
        let levels = Arc::new(LevelDetector::new(&limits.log_level_fields, limits.log_level_from_json_max_depth));
        *self.levels.write() = Some((limits.clone(), levels.clone()));
        levels
    }
}

/// What ingesters refused, as one answer: too much (429) if any of it was, else wrong (400).
fn rejection_error(rejections: &[Rejection]) -> Option<Error> {
    if rejections.is_empty() {
        return None;
    }
    let limited = rejections.iter().any(|r| r.kind == Kind::Limited);
    let told: Vec<&str> = rejections.iter().take(REJECTIONS_TOLD_MAX).map(|r| r.message.as_str()).collect();
    Some(Error::new(if limited { Kind::Limited } else { Kind::Invalid }, told.join("\n")))
}
