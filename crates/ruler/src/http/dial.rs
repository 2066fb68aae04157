//! Where a client connects when it is not what its URL's host resolves to. It must not know who is there.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::SocketAddr;

/// Whatever name is asked for, it is this that is meant. The port is the URL's.
#[derive(Clone, Debug)]
pub enum Dial {
    Address(SocketAddr),
    Host(String),
}

impl Resolve for Dial {
    fn resolve(&self, _: Name) -> Resolving {
        let dial = self.clone();
        Box::pin(async move {
            let found: Addrs = match dial {
                Dial::Address(address) => Box::new(std::iter::once(address)),
                Dial::Host(host) => Box::new(tokio::net::lookup_host((host, 0)).await?.collect::<Vec<_>>().into_iter()),
            };
            Ok(found)
        })
    }
}
