//! `loadgen check FILE...`: what is wrong with rules, routes, tests and dashboards, told before anything runs.
//!
//! Reads files and what targets export, asks [`assertions::check`], and prints what it found. It judges nothing itself.

use super::print;
use crate::prepare::prepare;
use crate::scrape::Scraper;
use crate::terminal::{tell, wants_colour};
use assertions::check::{Finding, Input, Kind, Level, Metrics, Settings, check, lints};
use assertions::exit;
use assertions::promql::ast::Dialect;
use scenarios::Options;
use scenarios::problem::Problem;
use scenarios::span::{Source, Span};
use scenarios::units;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

mod json;
mod sarif;

/// How long a target may take to answer.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rule files, PrometheusRule objects, alertmanager.yml, scenarios, Grafana dashboards (JSON), tests of rules, hand tests, runbooks
    #[arg(required_unless_present = "list")]
    files: Vec<PathBuf>,
    /// What the targets export: a URL, or a file with a saved answer; may be given more than once
    #[arg(long, value_name = "URL|FILE")]
    metrics: Vec<String>,
    /// How often production is scraped
    #[arg(long, value_name = "TIME", value_parser = time)]
    scrape_interval: Option<Duration>,
    /// How often production evaluates rules whose group does not say
    #[arg(long, value_name = "TIME", value_parser = time)]
    evaluation_interval: Option<Duration>,
    /// How long production keeps samples [default: 15d, for alerts only]
    #[arg(long, value_name = "TIME", value_parser = time)]
    retention: Option<Duration>,
    /// Which Prometheus runs in production [default: either]
    #[arg(long, value_name = "MAJOR", value_parser = dialect)]
    prometheus: Option<Dialect>,
    /// What all files are, if their content does not tell
    #[arg(long, value_name = "KIND", value_parser = kind)]
    kind: Option<Kind>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Where the pages of docs/checks are served, for links in SARIF
    #[arg(long, value_name = "URL", default_value = "docs/checks")]
    docs_url: String,
    /// Fail for warnings too
    #[arg(long)]
    strict: bool,
    /// Show notes: what is worth knowing and often meant
    #[arg(long)]
    notes: bool,
    /// List all checks
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// For people
    Text,
    /// An object with a list of findings
    Json,
    /// SARIF 2.1.0, for code review
    Sarif,
}

fn time(text: &str) -> Result<Duration, String> {
    match units::duration(text) {
        Ok(time) if time.is_zero() => Err("write a time above 0".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{}; {}", error.summary, error.hint)),
    }
}

fn dialect(text: &str) -> Result<Dialect, String> {
    match text {
        "2" => Ok(Dialect::V2),
        "3" => Ok(Dialect::V3),
        _ => Err("write 2 or 3".into()),
    }
}

fn kind(text: &str) -> Result<Kind, String> {
    let words = || Kind::ALL.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    Kind::named(text).ok_or_else(|| format!("write one of {}", words()))
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    if arguments.list {
        return print(&list());
    }
    let metrics = match metrics(&arguments.metrics) {
        Ok(metrics) => metrics,
        Err(problem) => {
            tell(&format!("error: {problem}"));
            return exit::PREFLIGHT;
        }
    };
    let settings = Settings {
        scrape_interval: arguments.scrape_interval,
        evaluation_interval: arguments.evaluation_interval,
        retention: arguments.retention,
        dialect: arguments.prometheus,
    };
    let files = each_once(&arguments.files);
    let inputs: Vec<Input> = files.iter().map(|path| input(path, arguments.kind)).collect();
    let mut findings = check(&inputs, metrics.as_ref(), &settings);
    let all = findings.len();
    findings.retain(|finding| arguments.notes || finding.level > Level::Note);
    let hidden = all - findings.len();
    if !report(arguments, files.len(), &findings, hidden) {
        return exit::TOOL_FAILED;
    }
    let fails = if arguments.strict { Level::Warning } else { Level::Error };
    match findings.iter().any(|finding| finding.level >= fails) {
        true => exit::INVALID,
        false => exit::PASSED,
    }
}

/// Every check, its level and what it finds.
fn list() -> String {
    let width = lints::ALL.iter().map(|lint| lint.id.len()).max().unwrap_or(0);
    let line = |lint: &&assertions::check::Lint| {
        format!("{:<width$}  {:<7}  {}\n", lint.id, lint.level.word(), lint.title)
    };
    lints::ALL.iter().map(line).collect()
}

/// What the targets export; `None` if none was named. Errors: what could not be read, and why.
fn metrics(places: &[String]) -> Result<Option<Metrics>, String> {
    let mut metrics = Metrics::default();
    for place in places {
        let text = match place.starts_with("http://") || place.starts_with("https://") {
            true => fetch(place)?,
            false => scenarios::disk::read(Path::new(place))
                .map_err(|error| format!("cannot read {place}: {error}"))?,
        };
        // An empty answer would make every metric one that is not exported.
        if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            return Err(format!("{place} has no samples: save the answer of a target that runs"));
        }
        metrics.add(&text).map_err(|error| format!("{place}: {error}"))?;
    }
    Ok((!places.is_empty()).then_some(metrics))
}

fn fetch(url: &str) -> Result<String, String> {
    // Fails only if one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let said = |error: &dyn std::fmt::Display| format!("cannot read {url}: {error}");
    let client = reqwest::Client::builder().no_proxy().build().map_err(|error| said(&error))?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| said(&error))?;
    runtime
        .block_on(Scraper::new(client, url.to_owned(), SCRAPE_TIMEOUT).scrape())
        .map_err(|error| said(&error))
}

/// The files without those named twice, whose rules would be duplicates of their own.
fn each_once(files: &[PathBuf]) -> Vec<&Path> {
    let mut seen = BTreeSet::new();
    let is_first = |path: &&Path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()));
    files.iter().map(PathBuf::as_path).filter(is_first).collect()
}

/// A file, with what its own reader says of it.
fn input(path: &Path, forced: Option<Kind>) -> Input {
    let name = path.display().to_string();
    let text = match scenarios::disk::read(path) {
        Ok(text) => text,
        Err(error) => {
            let source = Arc::new(Source { name: name.clone(), text: String::new() });
            let span = Span::new(source.clone(), 0, 0);
            let problem = Problem::error(format!("cannot read {name}: {error}"), span);
            let problem = problem.hint("correct the path; a file is UTF-8 text");
            return Input { source, kind: None, problems: vec![problem] };
        }
    };
    let source = Arc::new(Source { name, text });
    let kind = forced.or_else(|| Kind::detect(&source));
    let problems = match kind {
        Some(Kind::Scenario) => match prepare(path, &Options::default()) {
            Ok(prepared) => prepared.warnings,
            Err(problems) => problems.0,
        },
        _ => Vec::new(),
    };
    Input { source, kind, problems }
}

/// Prints the findings. Returns whether that worked.
fn report(arguments: &Arguments, files: usize, findings: &[Finding], hidden: usize) -> bool {
    match arguments.format {
        Form::Text => {
            let colour = wants_colour(&std::io::stdout());
            let text: String = findings.iter().map(|finding| finding.render(colour)).collect();
            let printed = print(&text) == exit::PASSED;
            tell(&summary(files, findings, hidden));
            printed
        }
        Form::Json => print(&json::text(findings, hidden)) == exit::PASSED,
        Form::Sarif => print(&sarif::text(findings, &arguments.docs_url)) == exit::PASSED,
    }
}

fn summary(files: usize, findings: &[Finding], hidden: usize) -> String {
    let count = |level: Level| findings.iter().filter(|finding| finding.level == level).count();
    let some = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let mut text = format!(
        "{}: {}, {}",
        some(files, "file"),
        some(count(Level::Error), "error"),
        some(count(Level::Warning), "warning")
    );
    match (count(Level::Note), hidden) {
        (0, 0) => {}
        (0, hidden) => text += &format!(", {} not shown (`--notes`)", some(hidden, "note")),
        (shown, _) => text += &format!(", {}", some(shown, "note")),
    }
    text
}
