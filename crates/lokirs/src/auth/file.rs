//! The file of credentials (`server.auth_file`): names, SHA-256 of secrets, and what each may do. Secrets are long and
//! random, so that a plain hash of one cannot be turned back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use runtime::settings;
use runtime::settings::{NoReference, Reader, Setting, Tree};
use subtle::ConstantTimeEq;

/// Each request is compared with all of them.
const CREDENTIALS_MAX: usize = 1000;

/// Instead of a list of tenants.
const EVERY_TENANT: &str = "*";

settings! {
    pub struct File {
        pub credentials: Vec<Entry> = vec![],
    }

    pub struct Entry {
        /// The user of basic authentication.
        pub name: String = String::new(),
        /// In hexadecimal, as `sha256sum` prints it: the token of `Bearer`, the password of `Basic`.
        pub secret_sha256: String = String::new(),
        /// Whose data: names of tenants, or `*` for all.
        pub tenants: Vec<String> = vec![],
        pub permissions: Vec<String> = vec!["push".into(), "read".into()],
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Push,
    /// Queries, rules and limits as they are.
    Read,
    /// Requests to delete lines.
    Delete,
    /// Writing rules.
    Rules,
    Metrics,
    /// Operators' routes.
    Admin,
}

const PERMISSIONS: [(&str, Permission); 6] = [
    ("push", Permission::Push),
    ("read", Permission::Read),
    ("delete", Permission::Delete),
    ("rules", Permission::Rules),
    ("metrics", Permission::Metrics),
    ("admin", Permission::Admin),
];

impl Permission {
    pub fn name(self) -> &'static str {
        PERMISSIONS.iter().find(|(_, permission)| *permission == self).map_or("", |(name, _)| name)
    }
}

type Hash = [u8; SHA256_OUTPUT_LEN];

pub struct Credential {
    pub name: String,
    hash: Hash,
    tenants: Vec<String>,
    permissions: Vec<Permission>,
}

pub struct Credentials(Vec<Credential>);

impl Credentials {
    /// The error names every fault, and no value of a secret.
    pub fn parse(yaml: &str) -> Result<Self, String> {
        let tree = Tree::parse(yaml)?;
        let mut file = File::default();
        let mut reader = Reader::at("", &NoReference);
        file.read(&tree, &mut reader);
        let mut faults = reader.errors;
        if file.credentials.len() > CREDENTIALS_MAX {
            faults.push(format!("there are more than {CREDENTIALS_MAX} credentials"));
        }
        let mut credentials: Vec<Credential> = vec![];
        for entry in file.credentials {
            match Credential::parse(entry) {
                Ok(new) if credentials.iter().any(|old| old.name == new.name || old.hash == new.hash) => {
                    faults.push(format!("{:?}: its name or its secret is another's, too", new.name));
                }
                Ok(new) => credentials.push(new),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Credentials(credentials)) } else { Err(faults.join("; ")) }
    }

    /// The credential that an `Authorization` header shows.
    pub fn find(&self, header: &str) -> Option<&Credential> {
        let (scheme, rest) = header.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.of(None, rest.trim().as_bytes());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(rest.trim()).ok()?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        self.of(Some(std::str::from_utf8(&decoded[..colon]).ok()?), &decoded[colon + 1..])
    }

    /// All are compared, each in constant time: how long it takes says nothing of how near a guess was.
    fn of(&self, name: Option<&str>, secret: &[u8]) -> Option<&Credential> {
        let hash = digest(&SHA256, secret);
        let mut found = None;
        for credential in &self.0 {
            let equal = bool::from(credential.hash.ct_eq(hash.as_ref()));
            if equal && name.is_none_or(|name| name == credential.name) {
                found = Some(credential);
            }
        }
        found
    }
}

impl Credential {
    fn parse(entry: Entry) -> Result<Self, String> {
        let fault = |fault: String| format!("{:?}: {fault}", entry.name);
        if entry.name.is_empty() || entry.name.contains(':') {
            return Err(fault("a credential needs a name without colons".into()));
        }
        let hash = parse_hash(&entry.secret_sha256)
            .ok_or_else(|| fault("secret_sha256 is not a SHA-256 of 64 hexadecimal digits".into()))?;
        let mut permissions = vec![];
        for name in &entry.permissions {
            let known = PERMISSIONS.iter().find(|(known, _)| known == name);
            permissions.push(known.ok_or_else(|| fault(format!("there is no permission {name:?}")))?.1);
        }
        for tenant in entry.tenants.iter().filter(|tenant| *tenant != EVERY_TENANT) {
            model::TenantId::parse(tenant).map_err(|e| fault(e.message))?;
        }
        Ok(Credential { name: entry.name, hash, tenants: entry.tenants, permissions })
    }

    pub fn permits(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }

    pub fn has_tenant(&self, tenant: &str) -> bool {
        self.tenants.iter().any(|own| own == tenant || own == EVERY_TENANT)
    }

    /// The tenant of requests that name none.
    pub fn only_tenant(&self) -> Option<&str> {
        match self.tenants.as_slice() {
            [tenant] if tenant != EVERY_TENANT => Some(tenant),
            _ => None,
        }
    }
}

fn parse_hash(text: &str) -> Option<Hash> {
    let mut hash = Hash::default();
    if text.len() != 2 * hash.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}
