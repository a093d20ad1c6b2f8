//! Everything that is read and checked before anything is started.

use assertions::alertmanager::Alertmanager;
use assertions::bounds::{self, Forecast, RuleFacts};
use assertions::labels::Labels;
use assertions::matcher::Matcher;
use assertions::promql::ast::Dialect;
use assertions::promql::parse::ParseOptions;
use assertions::rule::{self, AlertRule, Rule, RuleSet, doubts::doubts};
use assertions::threshold;
use scenarios::problem::{Problem, Problems};
use scenarios::scenario::{Clock, FileRef, Scenario};
use scenarios::span::{Source, Span, Spanned};
use scenarios::{Loaded, Options};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

/// A scenario with its rules and routes, ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The scenario and where its values come from.
    pub loaded: Loaded,
    /// SHA-256 of the scenario's file, lower-case hex.
    pub scenario_sha256: String,
    /// Rules, in the order of the files.
    pub rules: RuleSet,
    /// When each expected alert can come.
    pub forecasts: Vec<Forecast>,
    /// SHA-256 over the rule files, lower-case hex.
    pub rules_sha256: String,
    /// Routes; `None` where nobody is told of anything.
    pub routes: Option<Arc<Alertmanager>>,
    /// What the user should know.
    pub warnings: Vec<Problem>,
}

impl Prepared {
    /// The scenario.
    pub fn scenario(&self) -> &Scenario {
        &self.loaded.scenario
    }

    /// All alerting rules in order.
    pub fn alerts(&self) -> impl Iterator<Item = (&Rule, &AlertRule)> {
        self.rules.alerts()
    }
}

/// Reads a scenario, its rules and routes, and holds them against each other. Errors: everything found wrong, in all files.
pub fn prepare(path: &Path, options: &Options) -> Result<Prepared, Problems> {
    let loaded = scenarios::load(path, options)?;
    let mut problems: Vec<Problem> = loaded.problems.0.clone();
    let mut hash = Sha256::new();
    let mut sources = Vec::new();
    for file in &loaded.scenario.alerts.rules {
        let Some(source) = read(file, &mut problems) else { continue };
        hash.update(source.text.as_bytes());
        sources.push(source);
    }
    let mut rules = RuleSet::default();
    if !sources.is_empty() {
        match rule::load(&sources, ParseOptions { dialect: Dialect::V2, experimental: false }) {
            Ok(read) => {
                rules = read.rules;
                problems.extend(read.warnings);
            }
            Err(found) => problems.extend(found),
        }
    }
    let routes = loaded.scenario.alerts.alertmanager.as_ref().and_then(|file| {
        let source = read(file, &mut problems)?;
        match Alertmanager::parse(source) {
            Ok((routes, warnings)) => {
                problems.extend(warnings);
                Some(Arc::new(routes))
            }
            Err(found) => {
                problems.extend(found);
                None
            }
        }
    });
    let mut forecasts = Vec::new();
    // Names and bounds mean something only beside rules and routes that could be read.
    if !Problems(problems.clone()).has_errors() {
        let facts: Vec<RuleFacts> = rules.groups.iter().flat_map(rule_facts).collect();
        let is_stretched = loaded.scenario.clock.value == Clock::Stretched;
        problems.extend(doubts(&rules, loaded.scenario.alerts.scrape_interval.value, is_stretched));
        let file = sources.first().map_or("no rule file", |source| source.name.as_str());
        problems.extend(bounds::unknown_names(&loaded.scenario, &facts, file, routes.as_deref()));
        let (found, unreachable) = bounds::forecast(&loaded.scenario, &facts, routes.as_deref());
        forecasts = found;
        problems.extend(unreachable);
    }
    problems.extend(loaded.scenario.thresholds.iter().flat_map(threshold::problems));
    let file = head(&loaded, path);
    problems.extend(crate::supported::problems(&loaded.scenario, &file));
    problems.extend(silence_problems(&loaded.scenario, &file));
    let problems = Problems(problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let scenario_sha256 =
        loaded.sources.first().map_or_else(String::new, |source| sha256(source.text.as_bytes()));
    let rules_sha256 = hex(&hash.finalize());
    Ok(Prepared { loaded, scenario_sha256, rules, forecasts, rules_sha256, routes, warnings: problems.0 })
}

/// The scenario as a whole: the place of what has none of its own.
fn head(loaded: &Loaded, path: &Path) -> Span {
    let source = loaded.sources.first().cloned();
    let nameless = || Arc::new(Source { name: path.display().to_string(), text: String::new() });
    Span::new(source.unwrap_or_else(nameless), 0, 0)
}

fn read(file: &Spanned<FileRef>, problems: &mut Vec<Problem>) -> Option<Arc<Source>> {
    let name = file.value.path.display().to_string();
    let text = match file.value.embedded {
        Some(text) => Ok(text.to_owned()),
        None => scenarios::disk::read(&file.value.path),
    };
    match (text, &file.span) {
        (Ok(text), _) => Some(Arc::new(Source { name, text })),
        (Err(error), span) => {
            let mut problem = Problem {
                span: span.clone(),
                ..Problem::error(
                    format!("cannot read {name}: {error}"),
                    Span::new(Arc::new(Source { name, text: String::new() }), 0, 0),
                )
            };
            problem.hint = Some("the path is relative to the folder of the scenario".into());
            problems.push(problem);
            None
        }
    }
}

/// Matchers of silences that cannot be read.
fn silence_problems(scenario: &Scenario, file: &Span) -> Vec<Problem> {
    let matchers = scenario.alerts.silences.iter().flat_map(|silence| &silence.matchers);
    matchers
        .filter_map(|text| {
            let error = Matcher::parse_all(&text.value).err()?;
            let place = text.span.as_ref().unwrap_or(file).clone();
            Some(Problem::error(error.to_string(), place).hint("write for example 'severity=\"warning\"'"))
        })
        .collect()
}

/// What the forecast needs of each alert of a group.
fn rule_facts(group: &rule::Group) -> Vec<RuleFacts> {
    let alert = |rule: &Rule| {
        let rule::RuleKind::Alert(alert) = &rule.kind else { return None };
        let constant =
            rule.labels.iter().filter_map(|(name, value)| Some((name.as_str(), value.constant()?)));
        Some(RuleFacts {
            name: alert.name.value.clone(),
            labels: Labels::from_pairs(constant),
            hold: alert.hold,
            keep_firing_for: alert.keep_firing,
            longest_window: rule.windows().longest(),
            interval: group.interval,
        })
    };
    group.rules.iter().filter_map(alert).collect()
}

/// SHA-256 as lower-case hex.
fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
