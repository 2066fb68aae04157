//! The tenant of a request, from `X-Scope-OrgID`. It must not know what the request wants.

use axum::http::HeaderMap;
use model::{Error, Kind, Result, TenantId};
use rpc::queries::Tenants;

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

/// The tenants that a request reads of. Answers are labelled as soon as it names different ones, of which one may be empty:
/// `a|` is such a request, as it is in Loki.
pub fn tenants(headers: &HeaderMap, auth_enabled: bool) -> Result<Tenants> {
    if !auth_enabled {
        return Ok(TenantId::anonymous().into());
    }
    let mut names: Vec<&str> = named(headers)?.split(SEPARATOR).collect();
    names.sort_unstable();
    names.dedup();
    let labelled = names.len() > 1;
    names.retain(|name| !name.is_empty());
    if names.is_empty() {
        return Err(no_tenant());
    }
    if names.len() > TENANTS_MAX {
        return Err(Error::invalid(format!("a request may name at most {TENANTS_MAX} tenants")));
    }
    let ids = names.into_iter().map(TenantId::parse).collect::<Result<Vec<_>>>()?;
    Ok(Tenants { ids, labelled })
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
            assert_eq!(got.ids.iter().map(TenantId::as_str).collect::<Vec<_>>(), expected);
            assert_eq!(got.labelled, several, "{value}");
        };
        check("west|east", &["east", "west"], true);
        check("east|east", &["east"], false);
        check("east|", &["east"], true);
        check("east", &["east"], false);
        assert!(tenants(&headers(&["|"]), true).is_err() && tenants(&headers(&["a|b/"]), true).is_err());
    }
}
