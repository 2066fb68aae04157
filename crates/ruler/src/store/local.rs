//! Rule files in a directory, one directory a tenant, each file a namespace in the form of Prometheus's rule files, as Loki's
//! `local` store reads them. Loki's only reads; this one writes too where it may, so that a process without a bucket has
//! rules that its API sets.

use super::{Namespaces, RuleStore};
use crate::rule::{Group, parse_file, print_file};
use async_trait::async_trait;
use model::{Error, Result, TenantId};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use tokio::sync::Mutex;

/// Bytes of a rule file.
const FILE_BYTES_MAX: usize = 16 << 20;
/// Tenants, and files of a tenant.
const NAMES_MAX: usize = 100_000;
/// Bytes of a file's name, as file systems have it.
const NAME_BYTES_MAX: usize = 255;

pub struct LocalStore {
    directory: PathBuf,
    /// Held while a file is changed; `None`: the directory is only read.
    writing: Option<Mutex<()>>,
}

impl LocalStore {
    pub fn read_only(directory: &Path) -> Self {
        LocalStore { directory: directory.into(), writing: None }
    }

    /// Two processes must not change one directory at the same time.
    pub fn writable(directory: &Path) -> Self {
        LocalStore { directory: directory.into(), writing: Some(Mutex::default()) }
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

    /// Reads a namespace, changes its groups and writes it, or removes the file when none is left.
    async fn change(
        &self,
        tenant: &TenantId,
        namespace: &str,
        what: &str,
        change: impl FnOnce(&mut Vec<Group>) + Send,
    ) -> Result<()> {
        let Some(writing) = &self.writing else {
            return Err(Error::invalid(format!(
                "{what} unsupported in rule local store (setting: ruler.storage.type)"
            )));
        };
        let directory = self.directory.join(tenant.as_str());
        let path = directory.join(file_name(namespace)?);
        let _one_at_a_time = writing.lock().await;
        let mut groups = if tokio::fs::try_exists(&path).await.unwrap_or(true) { read(&path).await? } else { vec![] };
        change(&mut groups);
        let fault = |e: std::io::Error| Error::unavailable(format!("rule file {}: {e}", path.display()));
        if groups.is_empty() {
            return match tokio::fs::remove_file(&path).await {
                Err(e) if e.kind() != ErrorKind::NotFound => Err(fault(e)),
                _ => Ok(()),
            };
        }
        let text = print_file(&groups)?;
        if text.len() > FILE_BYTES_MAX {
            let bytes = text.len();
            return Err(Error::too_large(format!("the namespace would have {bytes} bytes of {FILE_BYTES_MAX}")));
        }
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&directory, &to, &text)).await;
        written.map_err(|e| Error::internal(e.to_string()))?.map_err(fault)
    }
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
                Ok(groups) => drop(namespaces.insert(namespace(&name), groups)),
                Err(e) => tracing::error!(%tenant, file = %path.display(), error = %e, "a rule file is left out"),
            }
        }
        Ok(namespaces)
    }

    async fn set(&self, tenant: &TenantId, namespace: &str, group: &Group) -> Result<()> {
        let change = |groups: &mut Vec<Group>| match groups.iter_mut().find(|other| other.name == group.name) {
            Some(same) => same.clone_from(group),
            None => groups.push(group.clone()),
        };
        self.change(tenant, namespace, "SetRuleGroup", change).await
    }

    async fn delete(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()> {
        let change = |groups: &mut Vec<Group>| groups.retain(|other| other.name != group);
        self.change(tenant, namespace, "DeleteRuleGroup", change).await
    }
}

/// What cannot stand in a file's name, and `%` itself, as `%` and two digits.
fn file_name(namespace: &str) -> Result<String> {
    let mut name = String::new();
    for (i, c) in namespace.chars().enumerate() {
        match c {
            '/' | '%' | '\0' => name.push_str(&format!("%{:02X}", c as u32)),
            '.' if i == 0 => name.push_str("%2E"),
            c => name.push(c),
        }
    }
    if name.is_empty() || name.len() > NAME_BYTES_MAX - TEMPORARY.len() {
        return Err(Error::invalid(format!("namespace {namespace:?}: its name is empty or too long for a file")));
    }
    Ok(name)
}

fn namespace(file_name: &str) -> String {
    let plain = [("%2F", "/"), ("%00", "\0"), ("%2E", "."), ("%25", "%")];
    plain.into_iter().fold(file_name.to_string(), |name, (escaped, plain)| name.replace(escaped, plain))
}

async fn read(path: &Path) -> Result<Vec<Group>> {
    let fault = |e: std::io::Error| Error::unavailable(e.to_string());
    let bytes = tokio::fs::metadata(path).await.map_err(fault)?.len();
    if bytes > FILE_BYTES_MAX as u64 {
        return Err(Error::too_large(format!("it has {bytes} bytes of {FILE_BYTES_MAX}")));
    }
    parse_file(&tokio::fs::read_to_string(path).await.map_err(fault)?)
}

/// Before the name of a file that is being written; such names are not read.
const TEMPORARY: &str = ".new-";

/// The old file or the new one is there, whole, whenever the machine stops.
fn write(directory: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = directory.join(format!("{TEMPORARY}{name}"));
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    std::fs::File::open(directory)?.sync_all()
}
