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
    /// The URL with its user information masked.
    pub fn masked(&self) -> String {
        match self.parts() {
            (scheme, Some(rest)) => format!("{scheme}{MASK}@{rest}"),
            (all, None) => all.to_string(),
        }
    }
    /// The URL without its user information: for others to see.
    pub fn without_user(&self) -> String {
        match self.parts() {
            (scheme, Some(rest)) => format!("{scheme}{rest}"),
            (all, None) => all.to_string(),
        }
    }
    /// What stands before the user information and behind it, if there is one. The secret may hold `/` and `@`, so the last
    /// `@` ends it.
    fn parts(&self) -> (&str, Option<&str>) {
        let begin = self.0.find("://").map_or(0, |scheme| scheme + 3);
        match self.0.rfind('@').filter(|at| begin <= *at) {
            Some(at) => (&self.0[..begin], Some(&self.0[at + 1..])),
            None => (&self.0, None),
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
        for (url, shown, without_user) in [
            ("s3://AKIA:se/cr@et@eu-west-1/bucket", "s3://********@eu-west-1/bucket", "s3://eu-west-1/bucket"),
            ("s3://us-east-1", "s3://us-east-1", "s3://us-east-1"),
            ("key:secret@host", "********@host", "host"),
            ("", "", ""),
        ] {
            assert_eq!(SecretUrl::new(url).masked(), shown);
            assert_eq!(SecretUrl::new(url).without_user(), without_user);
            assert_eq!(format!("{:?}", SecretUrl::new(url)), shown);
        }
    }
}
