//! How to reach a member: the instance in this process if the member is us, else a client that is made once.

use crate::members::Member;
use model::Result;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;

/// Makes a client for an address. It connects when it is first used, so making one does not wait.
pub type Connect<T> = Box<dyn Fn(&str) -> Result<Arc<T>> + Send + Sync>;

/// Instances of one service by member.
pub struct Pool<T: ?Sized> {
    local: Option<(String, Arc<T>)>,
    connect: Connect<T>,
    clients: Mutex<HashMap<String, Arc<T>>>,
}

impl<T: ?Sized> Pool<T> {
    /// `local` is our own id and instance, where this process plays the role.
    pub fn new(local: Option<(String, Arc<T>)>, connect: Connect<T>) -> Self {
        Pool { local, connect, clients: Mutex::default() }
    }

    pub fn get(&self, member: &Member) -> Result<Arc<T>> {
        if let Some((_, instance)) = self.local.as_ref().filter(|(id, _)| *id == member.id) {
            return Ok(instance.clone());
        }
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&member.grpc_address) {
            return Ok(client.clone());
        }
        let client = (self.connect)(&member.grpc_address)?;
        clients.insert(member.grpc_address.clone(), client.clone());
        Ok(client)
    }

    /// Forgets the clients of those who are gone: what is kept is bounded by the members.
    pub fn keep(&self, members: &[Member]) {
        self.clients.lock().retain(|address, _| members.iter().any(|member| member.grpc_address == *address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::{MemberState, member};

    #[test]
    fn the_local_instance_is_given_or_one_client_an_address() {
        let pool: Pool<str> = Pool::new(
            Some(("me".into(), "local".into())),
            Box::new(|address| Ok(format!("client of {address}").into())),
        );
        let (me, other) = (member("me", "", MemberState::Active), member("other", "", MemberState::Active));
        assert_eq!(&*pool.get(&me).unwrap(), "local");
        let first = pool.get(&other).unwrap();
        assert_eq!(&*first, "client of other:9095");
        assert!(Arc::ptr_eq(&first, &pool.get(&other).unwrap()));
        pool.keep(&[me]);
        assert!(!Arc::ptr_eq(&first, &pool.get(&other).unwrap()));
    }
}
