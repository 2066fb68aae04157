//! Rule files in a directory, one directory a tenant, each file a namespace. They are only read: who writes files does not
//! need an API for it.

use super::{Namespaces, RuleStore};
use crate::rule::{Group, parse_file};
use async_trait::async_trait;
use model::{Error, Result, TenantId};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Bytes of a rule file.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Tenants, and files of a tenant.
const NAMES_MAX: usize = 100_000;

pub struct LocalStore {
    directory: PathBuf,
}

impl LocalStore {
    pub fn new(directory: &Path) -> Self {
        LocalStore { directory: directory.into() }
    }

    async fn names(&self, directory: &Path, directories: bool) -> Result<Vec<String>> {
        let fault = |e: std::io::Error| Error::unavailable(format!("rule files {}: {e}", directory.display()));
        let mut listed = match tokio::fs::read_dir(directory).await {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(vec![]),
            listed => listed.map_err(fault)?,
        };
        let mut names = Vec::new();
        while let Some(entry) = listed.next_entry().await.map_err(fault)? {
            // Follows links: mounted configuration is made of them.
            let Ok(kind) = tokio::fs::metadata(entry.path()).await else { continue };
            let Ok(name) = entry.file_name().into_string() else { continue };
            if kind.is_dir() == directories && !name.starts_with('.') && names.len() < NAMES_MAX {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

fn unsupported(what: &str) -> Error {
    Error::invalid(format!("{what} unsupported in rule local store (setting: ruler.storage.type)"))
}

#[async_trait]
impl RuleStore for LocalStore {
    async fn tenants(&self) -> Result<Vec<TenantId>> {
        let names = self.names(&self.directory, true).await?;
        Ok(names.iter().filter_map(|name| TenantId::parse(name).ok()).collect())
    }

    async fn groups(&self, tenant: &TenantId) -> Result<Namespaces> {
        let directory = self.directory.join(tenant.as_str());
        let mut namespaces = Namespaces::new();
        for name in self.names(&directory, false).await? {
            let path = directory.join(&name);
            match read(&path).await {
                Ok(groups) => drop(namespaces.insert(name, groups)),
                Err(e) => tracing::error!(%tenant, file = %path.display(), error = %e, "a rule file is left out"),
            }
        }
        Ok(namespaces)
    }

    async fn set(&self, _: &TenantId, _: &str, _: &Group) -> Result<()> {
        Err(unsupported("SetRuleGroup"))
    }

    async fn delete(&self, _: &TenantId, _: &str, _: &str) -> Result<()> {
        Err(unsupported("DeleteRuleGroup"))
    }
}

async fn read(path: &Path) -> Result<Vec<Group>> {
    let fault = |e: std::io::Error| Error::unavailable(e.to_string());
    let bytes = tokio::fs::metadata(path).await.map_err(fault)?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(Error::too_large(format!("it has {bytes} bytes of {FILE_BYTES_MAX}")));
    }
    parse_file(&tokio::fs::read_to_string(path).await.map_err(fault)?)
}
