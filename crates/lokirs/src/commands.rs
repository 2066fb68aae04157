//! `lokirs fsck` and `lokirs rebuild-index`: the bucket of a configuration checked, and its index made anew. They take the
//! server's flags, so that they open what it opens. It must not know how a bucket is looked at.

use crate::config::{self, Backend, Environment, Keys, Settings};
use crate::flags::Flags;
use crate::roles::stores::places;
use async_trait::async_trait;
use format::ChunkRef;
use model::{Result, TenantId};
use runtime::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use storage::index::Places;
use storage::maintenance::{self, CheckSettings, Expiring, Finding, RebuildSettings, Rebuilt, Report};
use storage::objects::Objects;

/// What `-help` says of the commands.
pub const USAGE: &str = "  lokirs [flags]
    \tthe server
  lokirs fsck [-output=text|json] [-index-only] [flags]
    \tcheck every chunk and index file of the configuration's bucket; it only reads
    \t-output: json is an object a line; -index-only: chunks are not read, their names are held against the index
    \texit code 0: sound, 1: something was found, 2: the check could not run
  lokirs rebuild-index [-write] [-all] [-replace] [-output=text|json] [flags]
    \tmake the index anew from the chunks, for each day and tenant whose chunks are not all listed
    \t-write: put the files; without, what would be done is told; -all: make what is intact anew as well;
    \t-replace: delete index files that cannot be read, and with -all those that new ones take the place of
    \texit code 0: done, 1: chunks that cannot be listed, 2: it could not run
Flags:
";

/// Chunks on their way at a time.
const PARALLEL_READS: usize = 16;

#[derive(Debug, Default, PartialEq)]
struct Options {
    json: bool,
    index_only: bool,
    write: bool,
    all: bool,
    replace: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Fsck,
    RebuildIndex,
}

#[derive(Debug)]
pub struct Command {
    action: Action,
    options: Options,
    flags: Flags,
}

impl Command {
    /// The command that the first argument names; `None` when it names none.
    pub fn of(arguments: &[String], keys: &Keys) -> Option<std::result::Result<Command, String>> {
        let (name, rest) = arguments.split_first()?;
        let action = match name.as_str() {
            "fsck" => Action::Fsck,
            "rebuild-index" => Action::RebuildIndex,
            _ => return None,
        };
        Some(Self::parse(action, rest, keys))
    }

    fn parse(action: Action, arguments: &[String], keys: &Keys) -> std::result::Result<Command, String> {
        let (mut options, mut flags) = (Options::default(), Vec::new());
        for argument in arguments {
            let name = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-')).unwrap_or_default();
            match (action, name) {
                (_, "output=text") => options.json = false,
                (_, "output=json") => options.json = true,
                (Action::Fsck, "index-only") => options.index_only = true,
                (Action::RebuildIndex, "write") => options.write = true,
                (Action::RebuildIndex, "all") => options.all = true,
                (Action::RebuildIndex, "replace") => options.replace = true,
                _ => flags.push(argument.clone()),
            }
        }
        Ok(Command { action, options, flags: Flags::parse(&flags, keys)? })
    }

    /// Whether all is well; what was found goes to `out`. The error says why it could not run.
    pub async fn run(
        &self,
        environment: Environment<'_>,
        keys: &Keys,
        out: &mut impl Write,
    ) -> std::result::Result<bool, String> {
        if self.flags.help {
            return out.write_all(USAGE.as_bytes()).map(|()| true).map_err(|e| e.to_string());
        }
        let settings = config::load(&self.flags, environment, keys)?.settings;
        let places = bucket(&settings)?;
        let newest = places.schema().periods().last().ok_or("schema_config: there is no period")?;
        let marks = Marks(places.objects(newest).clone());
        let (sound, text) = match self.action {
            Action::Fsck => self.fsck(&places, &marks).await,
            Action::RebuildIndex => self.rebuild_index(&places, &marks).await,
        }
        .map_err(|e| e.message)?;
        out.write_all(text.as_bytes()).map(|()| sound).map_err(|e| e.to_string())
    }

    async fn fsck(&self, places: &Places, marks: &Marks) -> Result<(bool, String)> {
        let settings = CheckSettings { reads_chunks: !self.options.index_only, parallel_reads: PARALLEL_READS };
        let report = maintenance::check(places, marks, &settings).await?;
        let text = if self.options.json { report_json(&report) } else { report_text(&report) };
        Ok((report.findings.is_empty(), text))
    }

    async fn rebuild_index(&self, places: &Places, marks: &Marks) -> Result<(bool, String)> {
        let Options { write: writes, replace: replaces, all, .. } = self.options;
        let settings = RebuildSettings { writes, replaces, all, parallel_reads: PARALLEL_READS };
        let rebuilt = maintenance::rebuild(places, marks, SystemClock.now_ns(), &settings).await?;
        let text = if self.options.json { rebuilt_json(&rebuilt) } else { rebuilt_text(&rebuilt, writes) };
        Ok((rebuilt.findings.is_empty(), text))
    }
}

/// The buckets of the schema. A directory that is not there is a mistake, not an empty bucket.
fn bucket(settings: &Settings) -> std::result::Result<Places, String> {
    for period in &settings.schema_config.configs {
        if let Backend::Filesystem { directory } = settings.store(&period.object_store)?.backend
            && !Path::new(&directory).is_dir()
        {
            return Err(format!("{directory}: there is no such directory"));
        }
    }
    places(settings)
}

/// What the compactor has marked in the bucket of the newest period.
struct Marks(Objects);

#[async_trait]
impl Expiring for Marks {
    async fn chunks(&self) -> Result<Vec<(TenantId, ChunkRef)>> {
        compactor::marked(&self.0).await
    }
}

fn lines(lines: impl Iterator<Item = Value>) -> String {
    lines.map(|line| format!("{line}\n")).collect()
}

fn finding_json(finding: &Finding) -> Value {
    json!({ "finding": { "kind": finding.kind.name(), "object": finding.object, "detail": finding.detail } })
}

fn report_json(report: &Report) -> String {
    let counts = &report.counts;
    let summary = json!({ "summary": {
        "findings": report.findings.len(),
        "cut": report.is_cut,
        "tables": counts.tables,
        "index_files": counts.index_files,
        "rows": counts.rows,
        "duplicate_rows": counts.duplicate_rows,
        "chunks": counts.chunks,
        "chunk_bytes": counts.chunk_bytes,
        "expiring_chunks": counts.expiring_chunks,
        "other_objects": counts.other_objects,
        "unknown_objects": counts.unknown_objects,
    }});
    let unknown = report.unknown.iter().map(|object| json!({ "unknown": object }));
    lines(report.findings.iter().map(finding_json).chain(unknown).chain([summary]))
}

fn report_text(report: &Report) -> String {
    let mut out = findings_text(&report.findings);
    for object in &report.unknown {
        out.push_str(&format!("unknown: {object}\n"));
    }
    let counts = &report.counts;
    out.push_str(&format!(
        "{} chunks ({} bytes), {} rows ({} of them twice) in {} index files of {} tables; {} chunks wait to be deleted, {} \
         other objects, {} of unknown make\n",
        counts.chunks,
        counts.chunk_bytes,
        counts.rows,
        counts.duplicate_rows,
        counts.index_files,
        counts.tables,
        counts.expiring_chunks,
        counts.other_objects,
        counts.unknown_objects,
    ));
    let more = if report.is_cut { ", and more that are not listed" } else { "" };
    out.push_str(&format!("{} findings{more}\n", report.findings.len()));
    out
}

fn findings_text(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("{}: {}: {}\n", f.kind.name(), f.object, f.detail)).collect()
}

fn rebuilt_json(rebuilt: &Rebuilt) -> String {
    let built = rebuilt.built.iter().map(|b| {
        json!({ "built": {
            "table": b.table, "tenant": b.tenant.as_str(), "series": b.series, "chunks": b.chunks, "bytes": b.bytes,
            "object": b.key,
        }})
    });
    let superseded = rebuilt.superseded.iter().map(|object| json!({ "superseded": object }));
    let summary = json!({ "summary": {
        "built": rebuilt.built.len(), "kept": rebuilt.kept, "superseded": rebuilt.superseded.len(),
        "findings": rebuilt.findings.len(),
    }});
    lines(rebuilt.findings.iter().map(finding_json).chain(built).chain(superseded).chain([summary]))
}

fn rebuilt_text(rebuilt: &Rebuilt, writes: bool) -> String {
    let mut out = findings_text(&rebuilt.findings);
    for b in &rebuilt.built {
        let what = b.key.clone().unwrap_or_else(|| format!("{}/{} (not written)", b.table, b.tenant));
        out.push_str(&format!("{what}: {} series, {} chunks, {} bytes\n", b.series, b.chunks, b.bytes));
    }
    for key in &rebuilt.superseded {
        out.push_str(&format!("{} {key}\n", if writes { "deleted" } else { "would be deleted:" }));
    }
    let verb = if writes { "written" } else { "would be written (-write writes them)" };
    out.push_str(&format!("{} files {verb}, {} intact\n", rebuilt.built.len(), rebuilt.kept));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<std::result::Result<Command, String>> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_string).collect();
        Command::of(&arguments, &Keys::of_loki())
    }

    #[test]
    fn commands_have_options_of_their_own_beside_the_servers_flags() {
        for (line, action, options) in [
            ("fsck -config.file=a.yaml", Action::Fsck, Options::default()),
            (
                "fsck -output=json --index-only -config.file=a.yaml",
                Action::Fsck,
                Options { json: true, index_only: true, ..Options::default() },
            ),
            (
                "rebuild-index -config.file a.yaml -write -all -replace",
                Action::RebuildIndex,
                Options { write: true, all: true, replace: true, ..Options::default() },
            ),
        ] {
            let command = of(line).expect(line).expect(line);
            assert_eq!((command.action, &command.options), (action, &options), "{line}");
            assert_eq!(command.flags.config_files, ["a.yaml"], "{line}");
        }
        for (line, error) in [
            ("fsck -write", "flag provided but not defined: -write"),
            ("rebuild-index -index-only", "flag provided but not defined: -index-only"),
            ("fsck -output=xml", "flag provided but not defined: -output"),
        ] {
            assert_eq!(of(line).expect(line).err().as_deref(), Some(error), "{line}");
        }
        assert!(of("").is_none() && of("-config.file=fsck").is_none() && of("scrub").is_none());
    }
}
