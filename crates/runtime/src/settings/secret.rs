//! Settings that must not be shown: they have no way to their text but [`Secret::expose`].

use std::fmt;

/// What stands where a secret would be printed.
pub const MASK: &str = "********";

/// A key, a password, a token.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }
    /// The text itself: for the one place that signs or sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// What may be shown.
    pub fn masked(&self) -> &'static str {
        if self.0.is_empty() { "" } else { MASK }
    }
}

/// A URL whose user information is a secret: `s3://key:secret@region/bucket`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    pub fn new(text: impl Into<String>) -> Self {
        SecretUrl(text.into())
    }
    pub fn expose(&self) -> &str {
        &self.0
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The URL with its user information masked. The secret may hold `/` and `@`, so the last `@` ends it.
    pub fn masked(&self) -> String {
        match (self.0.find("://"), self.0.rfind('@')) {
            (Some(scheme), Some(at)) if scheme + 3 <= at => {
                format!("{}{MASK}{}", &self.0[..scheme + 3], &self.0[at..])
            }
            (None, Some(at)) => format!("{MASK}{}", &self.0[at..]),
            _ => self.0.clone(),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.masked())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), MASK);
        for (url, shown) in [
            ("s3://AKIA:se/cr@et@eu-west-1/bucket", "s3://********@eu-west-1/bucket"),
            ("s3://us-east-1", "s3://us-east-1"),
            ("key:secret@host", "********@host"),
            ("", ""),
        ] {
            assert_eq!(SecretUrl::new(url).masked(), shown);
            assert_eq!(format!("{:?}", SecretUrl::new(url)), shown);
        }
    }
}
