//! How a bucket spells the keys of chunks (storage format, section 1.3). Other objects are named by their keys.

use format::key::{filesystem_name, key_of_filesystem_name, parse_key};

/// How chunk keys become object names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkNames {
    /// The key itself: S3, GCS.
    AsKeyed,
    /// Loki's filesystem store: the last segment, or before schema v12 the whole key, in base64.
    Base64,
    /// Every `:` replaced (setting `chunk_delimiter`): Azure with `-`, S3 if so configured.
    Delimited(char),
}

impl ChunkNames {
    pub(super) fn stored(self, key: &str) -> String {
        match self {
            ChunkNames::AsKeyed => key.to_string(),
            ChunkNames::Base64 => filesystem_name(key),
            ChunkNames::Delimited(with) => key.replace(':', with.encode_utf8(&mut [0; 4])),
        }
    }

    pub(super) fn keyed(self, name: &str) -> Option<String> {
        let key = match self {
            ChunkNames::AsKeyed => name.to_string(),
            ChunkNames::Base64 => key_of_filesystem_name(name)?,
            // A delimiter may occur in a tenant's name, but not in the fields after it.
            ChunkNames::Delimited(with) => {
                let (tenant, fields) = name.split_once('/')?;
                format!("{tenant}/{}", fields.replace(with, ":"))
            }
        };
        parse_key(&key).is_ok().then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_back_the_key() {
        for key in [
            "t-1/7c7447f434f0f7a8/195545e0217:1955460b24c:30441b00",
            "t-1/7c7447f434f0f7a8:195545e0217:1955460b24c:30441b00",
        ] {
            for names in [ChunkNames::AsKeyed, ChunkNames::Base64, ChunkNames::Delimited('-')] {
                assert_eq!(names.keyed(&names.stored(key)).as_deref(), Some(key), "{names:?}");
            }
        }
        let azure = ChunkNames::Delimited('-').stored("t/7c/195545e0217:1955460b24c:30441b00");
        assert_eq!(azure, "t/7c/195545e0217-1955460b24c-30441b00");
        for names in [ChunkNames::AsKeyed, ChunkNames::Base64, ChunkNames::Delimited('-')] {
            assert_eq!(names.keyed("index/index_20148/1795409560-vm-1.tsdb.gz"), None, "{names:?}");
        }
    }
}
