//! A tenant's name, proven to be usable as a path segment, a header and a metric label.

use crate::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// The longest tenant id, in bytes, as in Loki.
pub const TENANT_ID_BYTES_MAX: usize = 150;

/// The tenant when authentication is off, as in Loki.
pub const ANONYMOUS: &str = "fake";

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Letters, digits and `! - _ . * ' ( )`, at most 150 bytes, and neither `.` nor `..`.
    pub fn parse(id: &str) -> Result<Self> {
        if id.len() > TENANT_ID_BYTES_MAX {
            return Err(Error::invalid(format!("tenant ID is too long: max {TENANT_ID_BYTES_MAX} characters")));
        }
        if let Some(bad) = id.chars().find(|c| !c.is_ascii_alphanumeric() && !"!-_.*'()".contains(*c)) {
            return Err(Error::invalid(format!("tenant ID '{id}' contains unsupported character '{bad}'")));
        }
        if id == "." || id == ".." {
            return Err(Error::invalid("tenant ID is '.' or '..'"));
        }
        if id.is_empty() {
            return Err(Error::new(crate::Kind::Unauthenticated, "no org id"));
        }
        Ok(TenantId(id.into()))
    }

    pub fn anonymous() -> Self {
        TenantId(ANONYMOUS.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked_as_loki_checks_them() {
        for good in ["a", "team-a", "A_1.*'()!", "...", &"x".repeat(150)] {
            assert!(TenantId::parse(good).is_ok(), "{good}");
        }
        for (bad, text) in [
            ("../x", "tenant ID '../x' contains unsupported character '/'"),
            ("..", "tenant ID is '.' or '..'"),
            ("a b", "tenant ID 'a b' contains unsupported character ' '"),
            ("%2e", "tenant ID '%2e' contains unsupported character '%'"),
            (&"x".repeat(151), "tenant ID is too long: max 150 characters"),
            ("", "no org id"),
        ] {
            assert_eq!(TenantId::parse(bad).unwrap_err().message, text);
        }
    }
}
