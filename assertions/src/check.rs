//! What is wrong with rules, routes, tests and dashboards, told before anything runs.
//!
//! Start at [`check`]. A file is read as what it is ([`Kind`]) into a form in which everything keeps its place; each family
//! of checks (`promql`, `alerts`, `burn`, `recordings`, `routes`, `dashboards`, `tests`) goes over it and adds [`Finding`]s; at the
//! end those that the file itself switches off are taken out (`disable`). [`lints::ALL`] is the list of checks; docs/checks has
//! a page for each. What the production is like comes in [`Settings`], what it exports in [`Metrics`].
//!
//! A check that a careful maintainer would dispute is a note, which is only shown on request, or none at all.

use crate::promql::ast::Dialect;
use scenarios::problem::{Problem, Severity};
use scenarios::span::{Source, Span};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

mod alerts;
mod burn;
mod dashboards;
mod disable;
mod file;
mod inline;
mod labels;
mod language;
pub mod lints;
mod matching;
mod metrics;
mod naming;
mod pairs;
mod promql;
mod quantiles;
mod recordings;
mod routes;
mod rules;
mod share;
mod tests;
mod tree;

pub use file::Kind;
pub use lints::{Level, Lint};
pub use metrics::Metrics;

/// A file to check.
#[derive(Debug, Clone)]
pub struct Input {
    /// Its text.
    pub source: Arc<Source>,
    /// What it is; `None` if that cannot be told.
    pub kind: Option<Kind>,
    /// What was found by who read it: of a scenario, everything; of a file that cannot be read, why.
    pub problems: Vec<Problem>,
}

/// What production is like. `None`: nothing is known, and what depends on it is not said.
#[derive(Debug, Clone, Copy, Default)]
pub struct Settings {
    /// How often targets are scraped.
    pub scrape_interval: Option<Duration>,
    /// How often rules are evaluated whose group does not say.
    pub evaluation_interval: Option<Duration>,
    /// How long samples are kept; `None`: Prometheus' own 15 days, and only alerts are held against it.
    pub retention: Option<Duration>,
    /// Which Prometheus runs; `None`: an expression of either is right.
    pub dialect: Option<Dialect>,
}

/// One thing found.
#[derive(Debug, Clone)]
pub struct Finding {
    /// By which check.
    pub lint: &'static Lint,
    /// How grave it is here; a check may find graver and lighter cases.
    pub level: Level,
    /// What, where, and what to write instead. Its severity follows the level.
    pub problem: Problem,
    /// Bytes of the rule, route, test or panel that it is about: where it can be switched off.
    item: Option<Range<usize>>,
}

impl Finding {
    /// The text form: as any problem of this program, with the check's id behind the summary.
    pub fn render(&self, colour: bool) -> String {
        let mut problem = self.problem.clone();
        problem.summary = format!("{} [{}]", problem.summary, self.lint.id);
        // Of a file without text there is nothing to show; the summary names it.
        problem.span = problem.span.filter(|span| !span.source.text.is_empty());
        let text = problem.render(colour);
        match self.level {
            Level::Note => text.replacen("warning", "note", 1),
            _ => text,
        }
    }
}

/// Findings of one item: a rule, a route, a test, a panel.
struct Report<'f> {
    findings: &'f mut Vec<Finding>,
    item: Option<Range<usize>>,
}

impl Report<'_> {
    /// Adds a finding at the check's own level. Gives it back for other places that matter.
    fn add(
        &mut self,
        lint: &'static Lint,
        span: Span,
        summary: impl Into<String>,
        fix: impl Into<String>,
    ) -> &mut Problem {
        self.add_as(lint.level, lint, span, summary, fix)
    }

    /// Adds a finding that is graver or lighter than its check's others.
    fn add_as(
        &mut self,
        level: Level,
        lint: &'static Lint,
        span: Span,
        summary: impl Into<String>,
        fix: impl Into<String>,
    ) -> &mut Problem {
        let mut problem = Problem::error(summary, span).hint(fix);
        if level != Level::Error {
            problem = problem.warning();
        }
        self.push(level, lint, problem)
    }

    fn push(&mut self, level: Level, lint: &'static Lint, problem: Problem) -> &mut Problem {
        self.findings.push(Finding { lint, level, problem, item: self.item.clone() });
        let last = self.findings.len() - 1;
        &mut self.findings[last].problem
    }

    /// Adds a problem that a reader of this crate found.
    fn adopt(&mut self, lint: &'static Lint, problem: Problem) {
        let level = match problem.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        };
        self.push(level, lint, problem);
    }
}

/// Everything that the families go over.
struct Context<'a> {
    settings: &'a Settings,
    metrics: Option<&'a Metrics>,
    rules: Vec<rules::RuleFile>,
}

impl Context<'_> {
    /// The rules of all files.
    fn all_rules(&self) -> impl Iterator<Item = &rules::RuleView> {
        self.rules.iter().flat_map(|file| file.groups.iter().flat_map(|group| &group.rules))
    }
}

/// Checks files, each by itself and against the others.
///
/// Findings come in the order of the files and of their lines. `metrics` is what the targets export, where that is known.
pub fn check(inputs: &[Input], metrics: Option<&Metrics>, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let read = |input: &&Input| input.kind == Some(Kind::Rules);
    let rules = inputs.iter().filter(read).map(|input| rules::read(&input.source, settings, &mut findings));
    let mut rules: Vec<_> = rules.collect();
    inline::spell_out(&mut rules);
    let context = Context { settings, metrics, rules };
    promql::check(&context, &mut findings);
    quantiles::check(&context, &mut findings);
    matching::check(&context, &mut findings);
    naming::check(&context, &mut findings);
    alerts::check(&context, &mut findings);
    pairs::check(&context, &mut findings);
    pairs::of_one_name(&context, &mut findings);
    burn::check(&context, &mut findings);
    recordings::check(&context, &mut findings);
    for input in inputs {
        tests::posts(&input.source, &mut findings);
        match input.kind {
            None | Some(Kind::Prometheus | Kind::Kubernetes) => file::not_checked(input, &mut findings),
            Some(Kind::Rules) => {}
            Some(Kind::Alertmanager) => routes::check(&context, &input.source, &mut findings),
            Some(Kind::Dashboard) => dashboards::check(&context, &input.source, &mut findings),
            Some(Kind::RuleTests) => tests::rule_tests(&context, &input.source, &mut findings),
            Some(Kind::HandTests) => tests::hand_tests(&context, &input.source, &mut findings),
            Some(Kind::Notes) => tests::loops(&context, &input.source, &mut findings),
            Some(Kind::Objectives) => {
                let mut report = Report { findings: &mut findings, item: None };
                let problems = scenarios::yaml::parse(input.source.clone()).err().unwrap_or_default();
                if problems.is_empty() {
                    let summary = "of objectives nothing is checked but that they can be read";
                    let fix = "check the rules that test them";
                    let start = Span::new(input.source.clone(), 0, 0);
                    report.add_as(Level::Note, &lints::FILE_UNCHECKED, start, summary, fix);
                }
                problems.into_iter().for_each(|problem| report.adopt(&lints::FILE_UNREADABLE, problem));
            }
            Some(Kind::Scenario) => {
                let mut report = Report { findings: &mut findings, item: None };
                input.problems.iter().for_each(|problem| report.adopt(&lints::SCENARIO, problem.clone()));
            }
        }
    }
    for input in inputs {
        disable::apply(&context, &input.source, &mut findings);
    }
    sorted(inputs, findings)
}

/// In the order of the files, their places and the checks.
fn sorted(inputs: &[Input], mut findings: Vec<Finding>) -> Vec<Finding> {
    let file = |finding: &Finding| {
        let span = finding.problem.span.as_ref()?;
        inputs.iter().position(|input| input.source.name == span.source.name)
    };
    let key = |finding: &Finding| {
        let start = finding.problem.span.as_ref().map_or(0, |span| span.start);
        (file(finding), start, finding.lint.id)
    };
    findings.sort_by(|left, right| key(left).cmp(&key(right)));
    findings
}
