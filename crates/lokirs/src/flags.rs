//! The command line as Go's flag package reads it: `-x v`, `-x=v`, `--x`, booleans without a value. A flag either says
//! what to do or sets a key of the configuration.

use crate::config::Keys;
use runtime::settings::Tree;

/// Keys whose flag may be repeated, each time with one more item.
const REPEATABLE: [&str; 2] = ["memberlist.join_members", "memberlist.bind_addr"];

/// Flags that set no key of the file. `true`: stands alone.
const ACTIONS: [(&str, bool, &str); 12] = [
    ("config.file", false, "files with the configuration, comma-separated: the first that exists is read"),
    ("config.expand-env", true, "expand ${VAR} in the configuration file"),
    ("data.dir", false, "where everything local lives (common.path_prefix)"),
    ("verify-config", true, "check the configuration and exit"),
    ("print-config-stderr", true, "print the whole configuration in use to stderr"),
    ("log-config-reverse-order", true, "log the whole configuration in use, last line first"),
    ("list-targets", true, "list the targets and exit"),
    ("version", true, "print the version and exit"),
    ("health", true, "ask a running process whether it is ready, and exit"),
    ("health.url", false, "what -health asks"),
    ("legacy-read-mode", true, "accepted for Loki's sake"),
    ("help", true, "print this and exit"),
];

#[derive(Debug, Default)]
pub struct Flags {
    /// Empty: the default places.
    pub config_files: Vec<String>,
    pub expand_env: bool,
    pub data_dir: Option<String>,
    pub verify_config: bool,
    pub print_config: bool,
    pub log_config_reversed: bool,
    pub list_targets: bool,
    pub version: bool,
    pub help: bool,
    pub health: bool,
    pub health_url: Option<String>,
    /// The keys that flags set.
    pub settings: Tree,
}

impl Flags {
    /// The arguments after the program's name. The error is what Go would print.
    pub fn parse(arguments: &[String], keys: &Keys) -> Result<Flags, String> {
        let mut flags = Flags::default();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix('-').filter(|name| !name.is_empty()) else { break };
            let name = name.strip_prefix('-').unwrap_or(name);
            if name.is_empty() {
                break;
            }
            if name.starts_with(['-', '=']) {
                return Err(format!("bad flag syntax: {argument}"));
            }
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (name, None),
            };
            let stands_alone = stands_alone(name, keys)
                .ok_or_else(|| format!("flag provided but not defined: -{}", name.escape_default()))?;
            let value = match value {
                Some(value) => value,
                None if stands_alone => "true".to_string(),
                None => arguments.next().cloned().ok_or_else(|| format!("flag needs an argument: -{name}"))?,
            };
            flags.set(name, value, keys)?;
        }
        Ok(flags)
    }

    fn set(&mut self, name: &str, value: String, keys: &Keys) -> Result<(), String> {
        if let Some((path, _)) = keys.of_flag(name) {
            let path: Vec<&str> = path.split('.').collect();
            let value = match self.settings.at(&path) {
                Some(before) if REPEATABLE.contains(&path.join(".").as_str()) => before.with(value),
                _ => Tree::scalar(value),
            };
            self.settings.set(&path, value);
            return Ok(());
        }
        let yes = || match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err(format!("invalid boolean value {value:?} for -{name}: parse error")),
        };
        match name {
            "config.file" => {
                self.config_files =
                    value.split(',').map(str::trim).filter(|f| !f.is_empty()).map(str::to_string).collect();
            }
            "config.expand-env" => self.expand_env = yes()?,
            "data.dir" => self.data_dir = Some(value),
            "verify-config" => self.verify_config = yes()?,
            "print-config-stderr" => self.print_config = yes()?,
            "log-config-reverse-order" => self.log_config_reversed = yes()?,
            "list-targets" => self.list_targets = yes()?,
            "version" => self.version = yes()?,
            "health" => self.health = yes()?,
            "health.url" => self.health_url = Some(value),
            "help" | "h" => self.help = yes()?,
            _ => {}
        }
        Ok(())
    }
}

fn stands_alone(name: &str, keys: &Keys) -> Option<bool> {
    let action = ACTIONS.iter().find(|(action, ..)| *action == name).map(|(_, alone, _)| *alone);
    action.or_else(|| (name == "h").then_some(true)).or_else(|| keys.of_flag(name).map(|(_, boolean)| boolean))
}

/// The flags that set no key, and what they do.
pub fn actions() -> impl Iterator<Item = (&'static str, &'static str)> {
    ACTIONS.iter().map(|(name, _, what)| (*name, *what))
}

/// What `-help` prints.
pub fn help(keys: &Keys) -> String {
    let mut out = format!("Usage of lokirs:\n{}", crate::commands::USAGE);
    for (name, _, text) in ACTIONS {
        out.push_str(&format!("  -{name}\n    \t{text}\n"));
    }
    let mut names: Vec<(&str, &str)> = keys.flags().filter_map(|flag| Some((flag, keys.of_flag(flag)?.0))).collect();
    names.sort_unstable();
    for (flag, path) in names {
        out.push_str(&format!("  -{flag}\n    \tsets {path}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Flags::parse(&arguments, &Keys::of_loki())
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let flags = parse(
            "-config.file=a.yaml,b.yaml --target write -auth.enabled=false -server.http-listen-port 80 \
             -memberlist.join=a --memberlist.join b -config.expand-env -log.level=debug -- -x",
        )
        .unwrap();
        assert_eq!(flags.config_files, ["a.yaml", "b.yaml"]);
        assert!(flags.expand_env);
        let expected = "target: write\nauth_enabled: false\nserver:\n  http_listen_port: 80\n  log_level: debug\n\
                        memberlist:\n  join_members:\n    - a\n    - b\n";
        assert_eq!(flags.settings.difference(&Tree::parse(expected).unwrap()), None);
        assert_eq!(Tree::parse(expected).unwrap().difference(&flags.settings), None);
    }

    #[test]
    fn wrong_flags_are_refused_in_gos_words() {
        for (line, error) in [
            ("-nope", "flag provided but not defined: -nope"),
            ("-nope=1", "flag provided but not defined: -nope"),
            ("-config.file", "flag needs an argument: -config.file"),
            ("---x", "bad flag syntax: ---x"),
            ("-verify-config=maybe", "invalid boolean value \"maybe\" for -verify-config: parse error"),
        ] {
            assert_eq!(parse(line).map(|_| ()), Err(error.to_string()), "{line}");
        }
    }
}
