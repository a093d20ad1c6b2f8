//! What the fuzz targets check. Here, so that cargo-fuzz (`fuzz_targets/`) and a plain test (`assertions/tests/fuzzed.rs`) run the same.
//!
//! Each takes any bytes and panics on what must not be. What takes long because it asks for much (a subquery of a million steps, a
//! year of evaluations) is read but not run.

use assertions::alertmanager::Alertmanager;
use assertions::check::{Input, Kind, Metrics, Settings as CheckSettings, check};
use assertions::engine::{Engine, EngineSettings};
use assertions::exposition::{self, Format};
use assertions::labels::Labels;
use assertions::promql::ast::{Dialect, Expr, MatchOp, Selector};
use assertions::promql::eval::{Query, Settings};
use assertions::promql::parse::parse;
use assertions::promql::selection;
use assertions::route;
use assertions::rule::{self, RuleSet};
use assertions::rule_test::run::run;
use assertions::rule_test::{Filter, TestFile};
use assertions::script::{Action, Runner, Script, Times};
use assertions::store::{METRIC_NAME, Store};
use assertions::template::{Facts, Template};
use assertions::time::Millis;
use scenarios::problem::{Problem, Problems};
use scenarios::span::Source;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

const DIALECTS: [Dialect; 2] = [Dialect::V2, Dialect::V3];
/// Steps of nested subqueries, evaluations and points that are run.
const STEPS_MAX: i64 = 500;
const POINTS_MAX: usize = 20_000;
const MINUTE_MS: i64 = 60_000;

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn source(name: &str, bytes: &[u8]) -> Arc<Source> {
    Arc::new(Source { name: name.into(), text: text(bytes).into_owned() })
}

/// Refusals say something, each at a place that can be shown.
fn refused(problems: Vec<Problem>) {
    assert!(!problems.is_empty(), "a refusal without a word");
    assert!(!Problems(problems).render(false).is_empty());
}

/// How many times the innermost expression is evaluated.
fn steps(expr: &Expr) -> i64 {
    let inside = expr.children().into_iter().map(steps).fold(1, i64::saturating_add);
    match expr {
        Expr::Subquery(subquery) => {
            inside.saturating_mul(subquery.range / subquery.step.unwrap_or(MINUTE_MS).max(1) + 1)
        }
        _ => inside,
    }
}

/// Two series of an hour for each selector.
fn fill(store: &mut Store, selectors: &[Selector]) {
    for selector in selectors.iter().take(20) {
        let named = selector.name.iter().map(|name| (METRIC_NAME, name.to_string()));
        let matched = selector.matchers.iter().filter_map(|matcher| match &matcher.op {
            MatchOp::Equal(value) => Some((&*matcher.name, value.clone())),
            _ => None,
        });
        let pairs: Vec<(&str, String)> = named.chain(matched).collect();
        for (number, le) in ["0.1", "+Inf"].into_iter().enumerate() {
            let own = [("le", le.to_string()), ("instance", format!("a:{number}"))];
            let labels = Labels::from_pairs(pairs.iter().cloned().chain(own));
            for minute in 0..60 {
                let value = (minute * (number as i64 + 1) % 17) as f64;
                // Refused: another selector has made the same series.
                let _ = store.append(&labels, Millis(minute * MINUTE_MS), value);
            }
        }
    }
}

/// An expression: what is read can be shown, read again and evaluated.
pub(crate) fn promql(bytes: &[u8]) {
    for dialect in DIALECTS {
        let Ok(expr) = parse(&text(bytes), dialect.into()) else { continue };
        assert!(parse(&expr.to_string(), dialect.into()).is_ok(), "{expr} is not read again");
        let mut store = Store::new();
        fill(&mut store, &selection::windows(&expr).selectors);
        if steps(&expr) > STEPS_MAX {
            continue;
        }
        let settings = Settings { dialect, ..Settings::default() };
        let at = Millis(59 * MINUTE_MS);
        let _ = Query::instant(&store, settings, at).evaluate(&expr, at);
    }
}

/// A rule file: read, checked, and evaluated over what it selects.
pub(crate) fn rules(bytes: &[u8]) {
    let source = source("rules.yml", bytes);
    for dialect in DIALECTS {
        match rule::load(std::slice::from_ref(&source), dialect.into()) {
            Ok(loaded) => evaluate(loaded.rules, dialect),
            Err(problems) => refused(problems),
        }
    }
    checked(source, Some(Kind::Rules));
}

fn evaluate(rules: RuleSet, dialect: Dialect) {
    let cost = rules.rules().map(|rule| steps(&rule.expr)).fold(0, i64::saturating_add);
    if cost > STEPS_MAX {
        return;
    }
    let selectors: Vec<Selector> = rules.rules().flat_map(|rule| rule.windows().selectors).collect();
    let mut store = Store::new();
    fill(&mut store, &selectors);
    let mut engine = Engine::new(rules, EngineSettings { dialect, ..EngineSettings::default() });
    for minute in 57..61 {
        engine.evaluate_all(&mut store, Millis(minute * MINUTE_MS));
    }
}

/// Checks a file with nothing known of production, and with all known.
fn checked(source: Arc<Source>, kind: Option<Kind>) {
    let mut metrics = Metrics::default();
    metrics
        .add("# TYPE up gauge\nup 1\n# TYPE a_total counter\na_total{b=\"c\"} 2\n")
        .expect("an exposition");
    let known = CheckSettings {
        scrape_interval: Some(Duration::from_secs(15)),
        evaluation_interval: Some(Duration::from_secs(30)),
        retention: Some(Duration::from_secs(15 * 86_400)),
        dialect: Some(Dialect::V3),
    };
    let inputs = [Input { source, kind, problems: Vec::new() }];
    for (metrics, settings) in [(None, CheckSettings::default()), (Some(&metrics), known)] {
        for finding in check(&inputs, metrics, &settings) {
            assert!(!finding.render(false).is_empty());
        }
    }
}

/// Any file that `loadgen check` takes. The first byte says as what it is read, the rest is the file.
pub(crate) fn checks(bytes: &[u8]) {
    let [first, rest @ ..] = bytes else { return };
    let source = source("file.yml", rest);
    let named = Kind::ALL.get(usize::from(*first) % (Kind::ALL.len() + 1)).map(|(_, kind)| *kind);
    // A scenario is read elsewhere.
    let kind = named.filter(|kind| *kind != Kind::Scenario).or_else(|| Kind::detect(&source));
    checked(source, kind);
}

/// A unit test file of rules, run on rules of its metrics.
pub(crate) fn rule_tests(bytes: &[u8]) {
    let file = match TestFile::read(source("rules.test.yml", bytes), Dialect::V2.into()) {
        Ok(read) => read.file,
        Err(problems) => return refused(problems),
    };
    let interval = file.evaluation_interval.as_millis().max(1);
    let length: u128 = file.tests.iter().map(|test| test.length().as_millis() / interval + 1).sum();
    let series = file.tests.iter().flat_map(|test| &test.series);
    let points: usize = series.map(|series| series.points.as_ref().map_or(0, Vec::len)).sum();
    let queries = file.tests.iter().flat_map(|test| &test.queries);
    let cost = queries.map(|query| steps(&query.expr)).fold(0, i64::saturating_add);
    if length > STEPS_MAX as u128 || points > POINTS_MAX || cost > STEPS_MAX {
        return;
    }
    let text = "groups: [{name: g, rules: [{record: r, expr: 'up + 1'}, {alert: A, expr: 'up == 0', for: 2m, annotations: {a: '{{ $value }}'}}]}]";
    let rules = rule::load(&[source("rules.yml", text.as_bytes())], Dialect::V2.into());
    let rules = rules.expect("the rules of this target load").rules;
    for outcome in run(&file, &rules, Dialect::V2, &Filter::default()) {
        assert!(outcome.failures.iter().all(|failure| !failure.title.is_empty()));
    }
}

/// An alertmanager.yml, and alerts on their way through it.
pub(crate) fn alertmanager(bytes: &[u8]) {
    let config = match Alertmanager::parse(source("alertmanager.yml", bytes)) {
        Ok((config, _)) => config,
        Err(problems) => return refused(problems),
    };
    for pairs in [&[][..], &[("severity", "critical"), ("service", "im"), ("alertname", "Down")]] {
        let labels = Labels::from_pairs(pairs.iter().copied());
        let decision = route::decide(&config, &labels);
        assert!(!decision.takers.is_empty(), "an alert that nobody takes");
        assert!(
            decision.takers.len() == decision.takers.iter().collect::<std::collections::BTreeSet<_>>().len()
        );
        for taker in &decision.takers {
            let _ = route::group_labels(&config.routes[*taker], &labels);
        }
    }
    for interval in &config.intervals {
        for day in 0..400 {
            let _ = interval.contains(Millis(day * 86_400_000));
        }
    }
}

/// A template of an annotation, filled in.
pub(crate) fn templates(bytes: &[u8]) {
    let labels = Labels::from_pairs([("instance", "a:1"), ("job", "x")]);
    let answer = |query: &str| match query.len() % 3 {
        0 => Err("no".to_string()),
        count => Ok(vec![(labels.clone(), 1.5); count]),
    };
    for dialect in DIALECTS {
        match Template::parse(&text(bytes), dialect) {
            Ok(template) => drop(template.fill(&Facts {
                alert: "A",
                value: 0.25,
                labels: &labels,
                external_labels: &labels,
                external_url: "http://prometheus",
                now: Millis(MINUTE_MS),
                query: &answer,
            })),
            Err(fault) => {
                assert!(fault.range.start <= fault.range.end && fault.range.end <= text(bytes).len());
            }
        }
    }
}

/// A target's answer to a scrape: every error points into the text.
pub(crate) fn exposition(bytes: &[u8]) {
    let text = text(bytes);
    for format in [Format::Text, Format::OpenMetrics] {
        if let Err(error) = exposition::parse(&text, format) {
            assert!(error.line <= text.split('\n').count() && error.column >= 1);
        }
    }
}

/// A promqltest script.
pub(crate) fn script(bytes: &[u8]) {
    let text = text(bytes);
    let (script, errors) = Script::read_what_can_be(&text);
    assert!(errors.iter().all(|error| error.line >= 1 && error.line <= text.split('\n').count()));
    let (mut points, mut evaluations) = (0, 0_i64);
    for command in &script.commands {
        match &command.action {
            Action::Clear => {}
            Action::Load(load) => {
                points += load.series.iter().map(|series| series.points.len()).sum::<usize>()
            }
            Action::Eval(eval) => {
                let times = match eval.times {
                    Times::Instant(_) => 1,
                    Times::Range(grid) => grid.end.saturating_sub(grid.start) / grid.step.max(1) + 1,
                };
                let cost = parse(&eval.query, Dialect::V3.into()).map_or(1, |expr| steps(&expr));
                evaluations = evaluations.saturating_add(times.saturating_mul(cost));
            }
        }
    }
    if points <= POINTS_MAX && evaluations <= STEPS_MAX {
        for dialect in DIALECTS {
            Runner::new(dialect).run(&script);
        }
    }
}
