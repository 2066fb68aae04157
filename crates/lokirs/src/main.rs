//! The process: what the flags ask for, then the node, then its exit code.

use lokirs::commands::Command;
use lokirs::config::{self, Config, Keys};
use lokirs::flags::{self, Flags};
use lokirs::node::Node;
use lokirs::otlp::{self, Collector, Exporter};
use lokirs::{admin, health, log, targets};
use runtime::clock::SystemClock;
use runtime::settings::Setting;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

#[cfg(not(feature = "profile"))]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The allocator that keeps a profile of the heap.
#[cfg(feature = "profile")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What jemalloc reads when it starts: of half a megabyte that is allocated, one stack is kept.
#[cfg(feature = "profile")]
#[allow(unsafe_code, reason = "the name by which jemalloc finds its settings, and no other symbol's")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub static JEMALLOC_SETTINGS: &[u8] = b"prof:true,prof_active:true,lg_prof_sample:19\0";

/// What Go's flag package exits with.
const WRONG_FLAGS: u8 = 2;

fn main() -> ExitCode {
    let keys = Arc::new(Keys::of_loki());
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(command) = Command::of(&arguments, &keys) {
        return match command {
            Ok(command) => look(command, &keys),
            Err(fault) => {
                complain(&fault);
                ExitCode::from(WRONG_FLAGS)
            }
        };
    }
    let flags = match Flags::parse(&arguments, &keys) {
        Ok(flags) => flags,
        Err(fault) => {
            complain(&fault);
            complain("Run with -help to get a list of available parameters");
            return ExitCode::from(WRONG_FLAGS);
        }
    };
    if flags.help {
        complain(&flags::help(&keys));
        return ExitCode::from(WRONG_FLAGS);
    }
    if flags.version {
        return say(&format!("lokirs, version {}\n", admin::VERSION));
    }
    if flags.list_targets {
        return say(&targets::list());
    }
    if flags.health {
        return exit(health::ask(flags.health_url.as_deref().unwrap_or(health::DEFAULT_URL)));
    }
    let config = match config::load(&flags, &|name| std::env::var(name).ok(), &keys) {
        Ok(config) => config,
        Err(fault) => return exit(Err(fault)),
    };
    start(&flags, config, keys)
}

/// Runs a command on the bucket: 0 when all is well, 1 when something was found, 2 when it could not run.
fn look(command: Command, keys: &Keys) -> ExitCode {
    let threads = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(threads) => threads,
        Err(error) => return exit(Err(format!("cannot start threads: {error}"))),
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let ran = threads.block_on(command.run(&|name| std::env::var(name).ok(), keys, &mut out));
    let told = out.flush();
    match ran.and_then(|sound| told.map(|()| sound).map_err(|error| error.to_string())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(fault) => {
            complain(&fault);
            ExitCode::from(WRONG_FLAGS)
        }
    }
}

fn start(flags: &Flags, config: Config, keys: Arc<Keys>) -> ExitCode {
    let server = &config.settings.server;
    let format = if server.log_format == "json" { log::Format::Json } else { log::Format::Logfmt };
    let enabled = config.settings.tracing.enabled;
    let collector = match Collector::of_environment(&|name| std::env::var(name).ok()) {
        Ok(collector) => collector.filter(|_| enabled),
        Err(fault) => return exit(Err(fault)),
    };
    let (spans, exporter) = otlp::traces(collector, Arc::new(SystemClock));
    let log_level = log::start(&server.log_level, format, Arc::new(SystemClock), spans);
    if flags.print_config {
        complain(&config.settings.write().print());
    }
    if flags.log_config_reversed {
        config.settings.write().print().lines().rev().for_each(|line| tracing::info!("{line}"));
    }
    if !config.ignored.is_empty() {
        let keys = config.ignored.join(" ");
        tracing::warn!(keys, "these keys of the configuration have no meaning in lokirs and are ignored");
    }
    if flags.verify_config {
        tracing::info!("config is valid");
        return ExitCode::SUCCESS;
    }
    // It fails only when a provider is installed, and then that one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let threads = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(threads) => threads,
        Err(error) => return exit(Err(format!("cannot start threads: {error}"))),
    };
    let code = threads.block_on(run(config, keys, log_level, exporter));
    // What was cut off may hold a thread: it must not hold the process.
    threads.shutdown_background();
    code
}

async fn run(config: Config, keys: Arc<Keys>, log_level: log::LogLevel, exporter: Option<Exporter>) -> ExitCode {
    let (mut terminate, mut interrupt) = match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
        (Err(error), _) | (_, Err(error)) => return exit(Err(format!("cannot listen for signals: {error}"))),
    };
    let node = match Node::assemble(config, keys, log_level, exporter).await {
        Ok(node) => node,
        Err(fault) => return exit(Err(fault)),
    };
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    if node.run(told).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn exit(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&fault);
            ExitCode::FAILURE
        }
    }
}

/// To stderr. A process that cannot complain still ends with its code.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

/// To stdout: what was asked for.
fn say(text: &str) -> ExitCode {
    exit(std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string()))
}
