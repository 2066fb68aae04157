//! The object store that a test runs over, as its parameter: a directory, or an S3 server of the test's own.

use crate::s3::S3;
use std::path::{Path, PathBuf};

pub enum Store {
    /// Chunks and index below a directory, which all processes of a test see.
    Directory(PathBuf),
    S3(S3),
}

impl Store {
    pub fn directory(dir: &Path) -> Store {
        Store::Directory(dir.join("bucket"))
    }

    pub async fn s3() -> Store {
        Store::S3(S3::start().await)
    }

    /// A configuration with this store; `rest` are further lines of it.
    pub fn config(&self, rest: &str) -> String {
        let storage = self.yaml();
        format!("auth_enabled: false\ncommon:\n  path_prefix: ${{DIR}}/data\n  storage:\n    {storage}\n{rest}")
    }

    /// The block under `common.storage`.
    pub fn yaml(&self) -> String {
        match self {
            Store::Directory(dir) => {
                format!("filesystem: {{chunks_directory: {dir}, rules_directory: {dir}-rules}}", dir = dir.display())
            }
            Store::S3(s3) => s3.yaml(),
        }
    }

    /// What `schema_config` calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Store::Directory(_) => "filesystem",
            Store::S3(_) => "s3",
        }
    }

    pub fn objects(&self) -> storage::objects::Objects {
        match self {
            Store::Directory(dir) => storage::objects::Objects::local(dir).unwrap(),
            Store::S3(s3) => s3.objects(),
        }
    }
}
