//! The AWS shared credentials file: the keys of one profile, read once at start. `object_store` knows the environment, web
//! identity and the roles of containers and instances, but not this file.

use runtime::settings::Secret;
use std::path::PathBuf;

/// Keys of a profile.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Profile {
    pub access_key_id: String,
    pub secret_access_key: Secret,
    pub session_token: Secret,
}

/// The profile that the environment names, where nothing of the environment goes before it.
pub(super) fn from_env(variable: &dyn Fn(&str) -> Option<String>) -> Option<Profile> {
    if ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"].iter().any(|name| variable(name).is_some()) {
        return None;
    }
    let named = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
    let file = named.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".aws/credentials")))?;
    let name = variable("AWS_PROFILE").unwrap_or_else(|| "default".into());
    parse(&std::fs::read_to_string(file).ok()?, &name)
}

/// The section `name` of an INI text, if it holds a pair of keys.
fn parse(text: &str, name: &str) -> Option<Profile> {
    let mut inside = false;
    let (mut key, mut secret, mut token) = (None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').trim() == name;
        } else if let (true, Some((setting, value))) = (inside, line.split_once('=')) {
            let value = Some(value.trim().to_string());
            match setting.trim() {
                "aws_access_key_id" => key = value,
                "aws_secret_access_key" => secret = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    Some(Profile {
        access_key_id: key?,
        secret_access_key: Secret::new(secret?),
        session_token: Secret::new(token.unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const FILE: &str = "# keys\n[default]\naws_access_key_id = AK\naws_secret_access_key=se=cret\n\n\
        [ other ]\nregion = eu-1\naws_access_key_id=OK\naws_secret_access_key=os\naws_session_token=t\n[half]\naws_access_key_id=HK\n";

    #[test]
    fn the_named_profile_is_read_unless_the_environment_goes_before_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".aws")).unwrap();
        let file = dir.path().join(".aws/credentials").display().to_string();
        std::fs::write(&file, FILE).unwrap();
        let home = dir.path().display().to_string();
        let check = |environment: &[(&str, &str)], expected: Option<(&str, &str, &str)>| {
            let environment: HashMap<&str, &str> = environment.iter().copied().collect();
            let got = from_env(&|name| environment.get(name).map(|v| v.to_string()));
            let got = got.as_ref().map(|p| (&*p.access_key_id, p.secret_access_key.expose(), p.session_token.expose()));
            assert_eq!(got, expected, "{environment:?}");
        };
        check(&[("HOME", &home)], Some(("AK", "se=cret", "")));
        check(&[("AWS_SHARED_CREDENTIALS_FILE", &file), ("AWS_PROFILE", "other")], Some(("OK", "os", "t")));
        check(&[("HOME", &home), ("AWS_PROFILE", "half")], None);
        check(&[("HOME", &home), ("AWS_PROFILE", "none")], None);
        check(&[("HOME", "/nowhere")], None);
        check(&[("HOME", &home), ("AWS_ACCESS_KEY_ID", "EK")], None);
        check(&[("HOME", &home), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/t")], None);
    }
}
