//! The tenant of a request, from `X-Scope-OrgID`. It must not know what the request wants.

use axum::http::HeaderMap;
use model::{Error, Kind, Result, TenantId};

pub const TENANT_HEADER: &str = "x-scope-orgid";
/// What separates tenants in a request that reads of several.
const SEPARATOR: char = '|';
/// The most tenants that one request may name.
const TENANTS_MAX: usize = 256;

/// The one tenant that a request writes for, or tails. Without authentication it is the anonymous one, whatever was sent.
pub fn tenant(headers: &HeaderMap, auth_enabled: bool) -> Result<TenantId> {
    if !auth_enabled {
        return Ok(TenantId::anonymous());
    }
    let named = named(headers)?;
    if named.contains(SEPARATOR) {
        return Err(Error::invalid("multiple org IDs present"));
    }
    TenantId::parse(named)
}

/// The tenants that a request reads of, sorted, each once.
pub fn tenants(headers: &HeaderMap, auth_enabled: bool) -> Result<Vec<TenantId>> {
    if !auth_enabled {
        return Ok(vec![TenantId::anonymous()]);
    }
    let mut tenants = Vec::new();
    for name in named(headers)?.split(SEPARATOR).filter(|name| !name.is_empty()) {
        if tenants.len() == TENANTS_MAX {
            return Err(Error::invalid(format!("a request may name at most {TENANTS_MAX} tenants")));
        }
        tenants.push(TenantId::parse(name)?);
    }
    if tenants.is_empty() {
        return Err(no_tenant());
    }
    tenants.sort();
    tenants.dedup();
    Ok(tenants)
}

/// Whether a request names several different tenants, of which one may be empty (`a|`): then Loki tells the tenant of
/// each stream, in the label `__tenant_id__`.
pub fn names_several(headers: &HeaderMap, auth_enabled: bool) -> bool {
    let named = if auth_enabled { named(headers).unwrap_or_default() } else { "" };
    let mut names = named.split(SEPARATOR);
    let first = names.next();
    names.any(|name| Some(name) != first)
}

fn named(headers: &HeaderMap) -> Result<&str> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let value = values.next().ok_or_else(no_tenant)?;
    if values.next().is_some() {
        return Err(Error::invalid("multiple org IDs present"));
    }
    match value.to_str() {
        Ok("") => Err(no_tenant()),
        Ok(named) => Ok(named),
        Err(_) => Err(Error::invalid("tenant ID contains characters that are no ASCII text")),
    }
}

fn no_tenant() -> Error {
    Error::new(Kind::Unauthenticated, "no org id")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|v| (TENANT_HEADER.parse().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn one_tenant_writes() {
        let check = |values: &[&str], expected: std::result::Result<&str, &str>| {
            let got = tenant(&headers(values), true);
            assert_eq!(got.as_ref().map(TenantId::as_str).map_err(|e| e.message.as_str()), expected, "{values:?}");
        };
        check(&["a"], Ok("a"));
        check(&[], Err("no org id"));
        check(&[""], Err("no org id"));
        check(&["east|west"], Err("multiple org IDs present"));
        check(&["a", "b"], Err("multiple org IDs present"));
        check(&["a/b"], Err("tenant ID 'a/b' contains unsupported character '/'"));
        assert_eq!(tenant(&headers(&["../x"]), false).unwrap(), TenantId::anonymous());
    }

    #[test]
    fn several_tenants_are_read() {
        let check = |value: &str, expected: &[&str], several: bool| {
            let got = tenants(&headers(&[value]), true).unwrap();
            assert_eq!(got.iter().map(TenantId::as_str).collect::<Vec<_>>(), expected);
            assert_eq!(names_several(&headers(&[value]), true), several, "{value}");
        };
        check("west|east", &["east", "west"], true);
        check("east|east", &["east"], false);
        check("east|", &["east"], true);
        check("east", &["east"], false);
        assert!(tenants(&headers(&["|"]), true).is_err() && tenants(&headers(&["a|b/"]), true).is_err());
    }
}
