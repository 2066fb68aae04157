//! Loki's filesystem store: one directory, keys as paths below it. Where Loki writes a file in place, a put here writes
//! a file beside it, syncs it, renames it and syncs the directory, so that a reader never sees half an object; a delete
//! takes emptied directories along, as Loki's does.

use super::Backend;
use model::{Error, Result};
use object_store::local::LocalFileSystem;
use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

/// The bucket in `dir`, which is made when it is missing.
pub(super) fn bucket(dir: &Path) -> Result<Backend> {
    let fail = |e: &dyn Display| Error::unavailable(format!("object directory {}: {e}", dir.display()));
    std::fs::create_dir_all(dir).map_err(|e| fail(&e))?;
    let store = LocalFileSystem::new_with_prefix(dir).map_err(|e| fail(&e))?;
    Ok(Backend::new(Arc::new(store.with_fsync(true).with_automatic_cleanup(true))))
}

#[cfg(test)]
mod tests {
    use crate::objects::Objects;
    use bytes::Bytes;

    #[tokio::test]
    async fn files_lie_where_loki_looks_for_them_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("deep").join("chunks");
        let objects = Objects::local(&root).unwrap();
        let chunk = objects.chunk_name("t1/ffc6003b987cad8f/1952014f800:1952014f801:6cc3e0cb");
        for key in [chunk.as_str(), "index/index_20148/1-a.tsdb.gz", "index/index_20148/t1/2-b.tsdb.gz"] {
            objects.put(key, Bytes::from_static(b"1")).await.unwrap();
            objects.put(key, Bytes::from_static(b"22")).await.unwrap();
        }
        assert_eq!(
            std::fs::read(root.join("t1/ffc6003b987cad8f/MTk1MjAxNGY4MDA6MTk1MjAxNGY4MDE6NmNjM2UwY2I=")).unwrap(),
            b"22"
        );
        let files = std::fs::read_dir(root.join("index/index_20148")).unwrap().count();
        assert_eq!(files, 2, "the file and the tenant's directory");
        objects.delete(&chunk).await.unwrap();
        assert!(!root.join("t1").exists(), "emptied directories are gone");
        assert!(root.exists());
    }

    #[tokio::test]
    async fn what_a_crash_leaves_of_a_put_is_no_object() {
        let dir = tempfile::tempdir().unwrap();
        let objects = Objects::local(dir.path()).unwrap();
        std::fs::write(dir.path().join("a.gz#1"), b"half").unwrap();
        assert_eq!(objects.list("").await.unwrap(), []);
        objects.put("a.gz", Bytes::from_static(b"whole")).await.unwrap();
        assert_eq!(objects.get("a.gz").await.unwrap(), "whole");
        assert_eq!(objects.list("").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let e = Objects::local(file.join("below")).unwrap_err();
        assert!(e.message.contains("file/below"), "{e}");
    }
}
