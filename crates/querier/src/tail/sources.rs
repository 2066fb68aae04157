//! The ingesters' tails as one. An ingester that goes away, comes back or is new is followed. It must not know entries.

use crate::ingesters::Ingesters;
use futures::FutureExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll, StreamExt, once};
use model::{Error, Kind, Result};
use rpc::ingester::{Ingester, RecentRequest, Tailed};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// How long an ingester may take to open a tail.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// Who told, and what; `None` when it will tell no more.
type Told = (u64, Option<Tailed>);
type Opened = (u64, Result<BoxStream<'static, Result<Tailed>>>);

pub struct Sources {
    ingesters: Arc<dyn Ingesters>,
    request: RecentRequest,
    /// Whose tails are open or about to be, by number.
    open: HashMap<u64, Arc<dyn Ingester>>,
    next_number: u64,
    opening: FuturesUnordered<BoxFuture<'static, Opened>>,
    tails: SelectAll<BoxStream<'static, Told>>,
}

impl Sources {
    /// Opens a tail on every ingester. As many may fail as replication covers, but for what is the user's fault.
    pub async fn open(ingesters: Arc<dyn Ingesters>, request: RecentRequest) -> Result<Self> {
        let set = ingesters.members();
        let mut sources = Sources {
            ingesters,
            request,
            open: HashMap::new(),
            next_number: 0,
            opening: FuturesUnordered::new(),
            tails: SelectAll::new(),
        };
        set.ingesters.iter().for_each(|ingester| sources.begin(ingester.clone()));
        let (mut failures, mut failed) = (vec![], vec![]);
        while let Some(opened) = sources.opening.next().await {
            let number = opened.0 as usize;
            if let Err(error) = sources.opened(opened) {
                failures.push(error);
                failed.push(number);
            }
        }
        failures.sort_by_key(|e| e.kind == Kind::Invalid);
        match failures.pop() {
            Some(e) if e.kind == Kind::Invalid || !set.can_miss(failed.into_iter()) => Err(e),
            _ => Ok(sources),
        }
    }

    /// Begins to open tails on the ingesters that have none.
    pub fn reopen(&mut self) {
        for ingester in self.ingesters.members().ingesters {
            if !self.open.values().any(|open| Arc::ptr_eq(open, &ingester)) {
                self.begin(ingester);
            }
        }
    }

    fn begin(&mut self, ingester: Arc<dyn Ingester>) {
        let (number, request) = (self.next_number, self.request.clone());
        self.next_number += 1;
        self.open.insert(number, ingester.clone());
        let open = async move {
            let opened = tokio::time::timeout(OPEN_TIMEOUT, ingester.tail(request)).await;
            let late = |_| Err(Error::new(Kind::Timeout, "an ingester did not open a tail in time"));
            (number, opened.unwrap_or_else(late))
        };
        self.opening.push(open.boxed());
    }

    fn opened(&mut self, (number, tail): Opened) -> Result<()> {
        let tail = tail.inspect_err(|_| drop(self.open.remove(&number)))?;
        let told = tail.map(move |told| (number, told.ok())).chain(once(async move { (number, None) }));
        self.tails.push(told.boxed());
        Ok(())
    }

    /// What is told next; waits for as long as it takes, also while no tail is open.
    pub async fn next(&mut self) -> Tailed {
        loop {
            tokio::select! {
                Some((number, told)) = self.tails.next() => match told {
                    Some(tailed) => return tailed,
                    None => drop(self.open.remove(&number)),
                },
                Some(opened) = self.opening.next() => match self.opened(opened) {
                    Ok(()) => tracing::info!("a tail was opened again"),
                    Err(error) => tracing::debug!(%error, "a tail could not be opened again"),
                },
                else => std::future::pending().await,
            }
        }
    }
}
