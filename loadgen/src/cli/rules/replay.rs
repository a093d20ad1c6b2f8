//! `loadgen rules replay --data FILE RULES...`: rules played over saved samples.

use super::data::Data;
use super::{Version, files, tell};
use crate::terminal;
use assertions::alert::State;
use assertions::alertmanager::Alertmanager;
use assertions::engine::EngineSettings;
use assertions::exit;
use assertions::labels::Labels;
use assertions::promql::parse::ParseOptions;
use assertions::replay::{Entry, Happening, Outage, Plan, Reload, Timeline};
use assertions::rule::{self, RuleKind, RuleSet};
use assertions::rule_test::run::shown_number;
use assertions::store::METRIC_NAME;
use assertions::time::Millis;
use assertions::timeline::{ResolveReason, Transition};
use scenarios::problem::{Problem, Severity};
use scenarios::units::{self, format_duration};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Most evaluations of one replay.
const EVALUATIONS_MAX: u128 = 5_000_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Rule files
    #[arg(required = true, value_name = "RULES")]
    rules: Vec<PathBuf>,
    /// Samples with times: OpenMetrics, as `promtool tsdb dump-openmetrics` writes it, or Prometheus text
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Routes, to see who is told when
    #[arg(long, value_name = "FILE")]
    alertmanager: Option<PathBuf>,
    /// First moment: seconds since 1970, 2026-01-31T12:00:00Z, or +10m after the oldest sample [default: +0s]
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Last moment [default: that of the newest sample]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Prometheus is down meanwhile, scrapes nothing, and starts anew: +20m..+21m; may be given more than once
    #[arg(long, value_name = "FROM..TO")]
    down: Vec<String>,
    /// Prometheus reads this rule file instead of those before: +20m=rules.yml; at the same time may be given for several
    #[arg(long, value_name = "TIME=FILE")]
    reload: Vec<String>,
    /// How often groups are evaluated that do not say
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = interval)]
    evaluation_interval: Duration,
    /// As Prometheus' --rules.alert.resend-delay
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = duration)]
    resend_delay: Duration,
    /// As Prometheus' --rules.alert.for-grace-period
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    for_grace_period: Duration,
    /// As Prometheus' --rules.alert.for-outage-tolerance
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    for_outage_tolerance: Duration,
    /// A label that Prometheus adds to every alert that it sends; may be given more than once
    #[arg(long = "external-label", value_name = "NAME=VALUE", value_parser = label)]
    external_labels: Vec<(String, String)>,
    /// Whose answers: Prometheus 2 or 3
    #[arg(long, default_value = "2")]
    dialect: Version,
}

fn duration(text: &str) -> Result<Duration, String> {
    units::duration(text).map_err(|error| format!("{}; {}", error.summary, error.hint))
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|every| if every.is_zero() { Err("1ms at least".into()) } else { Ok(every) })
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_string(), value.to_string())).ok_or("as in cluster=eu-1".into())
}

pub(super) fn replay(arguments: &Arguments) -> u8 {
    match played(arguments) {
        Ok((text, warnings)) => {
            tell(&warnings);
            if terminal::print(&text) { exit::PASSED } else { exit::TOOL_FAILED }
        }
        Err(problems) => {
            tell(&problems);
            exit::INVALID
        }
    }
}

/// The report, and warnings. Errors: everything that is wrong with the files and the times.
fn played(arguments: &Arguments) -> Result<(String, Vec<Problem>), Vec<Problem>> {
    let mut warnings = Vec::new();
    let (data, oldest, newest) = samples(arguments).map_err(|problem| vec![problem])?;
    let plan = plan(arguments, oldest, newest, &mut warnings)?;
    let mut sets = vec![&plan.rules];
    sets.extend(plan.reloads.iter().map(|reload| &reload.rules));
    let made: BTreeSet<String> = sets.into_iter().flat_map(made_by).collect();
    let is_made = |labels: &Labels| made.contains(labels.get(METRIC_NAME));
    let left_out: BTreeSet<&str> =
        data.series().filter(|labels| is_made(labels)).map(|labels| labels.get(METRIC_NAME)).collect();
    if !left_out.is_empty() {
        let names = left_out.into_iter().collect::<Vec<_>>().join(", ");
        let summary = format!(
            "{}: the rules make {names} anew, so what is saved of it is left out",
            arguments.data.display()
        );
        warnings.push(files::without_place(summary).warning());
    }
    let store = data.store_of(oldest, |labels, at| !is_made(labels) && !plan.is_down(at));
    let mut text = head(arguments, &plan, store.len());
    let (from, has_routes) = (plan.from, plan.routes.is_some());
    let timeline = plan.play(store);
    for entry in &timeline.entries {
        text += &line(entry, from);
    }
    text += &summary(&timeline, has_routes);
    Ok((text, warnings))
}

/// The samples, and the times of the oldest and newest.
fn samples(arguments: &Arguments) -> Result<(Data, Millis, Millis), Problem> {
    let data = Data::read(&files::read(&arguments.data)?)?;
    let (Some(oldest), Some(newest)) = (data.oldest, data.newest) else {
        let summary =
            format!("{}: no sample has a time, so there is nothing to play", arguments.data.display());
        return Err(
            files::without_place(summary).hint("`promtool tsdb dump-openmetrics` writes samples with times")
        );
    };
    Ok((data, oldest, newest))
}

/// The names of the series that rules write.
fn made_by(rules: &RuleSet) -> Vec<String> {
    let recorded = rules.rules().filter_map(|rule| match &rule.kind {
        RuleKind::Record(name) => Some(name.value.clone()),
        RuleKind::Alert(_) => None,
    });
    recorded.chain(["ALERTS".to_string(), "ALERTS_FOR_STATE".to_string()]).collect()
}

fn plan(
    arguments: &Arguments,
    oldest: Millis,
    newest: Millis,
    warnings: &mut Vec<Problem>,
) -> Result<Plan, Vec<Problem>> {
    let options = arguments.dialect.options();
    let mut problems = Vec::new();
    let rules = rules(&arguments.rules, options, &mut problems);
    let routes = arguments.alertmanager.as_deref().and_then(|path| routes(path, &mut problems));
    let times = Times { oldest };
    let mut said = |said: Result<Millis, String>| {
        said.map_err(|summary| problems.push(files::without_place(summary))).unwrap_or_default()
    };
    let from = said(arguments.from.as_deref().map_or(Ok(oldest), |text| times.moment("--from", text)));
    let until = said(arguments.until.as_deref().map_or(Ok(newest), |text| times.moment("--until", text)));
    let outages = times.outages(&arguments.down, &mut problems);
    let reloads = reloads(&arguments.reload, &times, options, &mut problems);
    let evaluations = until.since(from).as_millis() / shortest(arguments, &rules, &reloads);
    if until < from {
        problems
            .push(files::without_place("the replay ends before it begins: see --from and --until".into()));
    } else if evaluations > EVALUATIONS_MAX {
        let summary = format!("{evaluations} evaluations are more than {EVALUATIONS_MAX}");
        problems
            .push(files::without_place(summary).hint("a later --from, or a longer --evaluation-interval"));
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(problems);
    }
    warnings.extend(problems);
    let settings = EngineSettings {
        dialect: options.dialect,
        evaluation_interval: arguments.evaluation_interval,
        resend_delay: arguments.resend_delay,
        for_grace_period: arguments.for_grace_period,
        for_outage_tolerance: arguments.for_outage_tolerance,
        external_labels: Labels::from_pairs(arguments.external_labels.iter().cloned()),
        external_url: String::new(),
    };
    Ok(Plan { rules, settings, routes, from, until, outages, reloads })
}

/// The shortest interval of a group, ms.
fn shortest(arguments: &Arguments, rules: &RuleSet, reloads: &[Reload]) -> u128 {
    let sets = std::iter::once(rules).chain(reloads.iter().map(|reload| &reload.rules));
    let own = sets.flat_map(|set| &set.groups).filter_map(|group| group.interval);
    let all = own.chain([arguments.evaluation_interval]);
    all.map(|every| every.as_millis()).filter(|every| *every > 0).min().unwrap_or(1)
}

fn rules(paths: &[PathBuf], options: ParseOptions, problems: &mut Vec<Problem>) -> RuleSet {
    let mut sources = Vec::new();
    for path in paths {
        match files::read(path) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    match rule::read(&sources, options) {
        Ok(loaded) => {
            problems.extend(loaded.warnings);
            loaded.rules
        }
        Err(found) => {
            problems.extend(found);
            RuleSet::default()
        }
    }
}

fn routes(path: &Path, problems: &mut Vec<Problem>) -> Option<Arc<Alertmanager>> {
    match files::read(path).map_err(|problem| vec![problem]).and_then(Alertmanager::parse) {
        Ok((routes, warnings)) => {
            problems.extend(warnings);
            Some(Arc::new(routes))
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

/// Reads moments as users write them.
struct Times {
    oldest: Millis,
}

impl Times {
    fn moment(&self, flag: &str, text: &str) -> Result<Millis, String> {
        let found = match text.strip_prefix('+') {
            Some(after) => units::duration(after).ok().map(|after| self.oldest.after(after)),
            None => Millis::from_text(text),
        };
        found.ok_or_else(|| {
            format!("{flag}: `{text}` is no time; seconds since 1970, 2026-01-31T12:00:00Z, or +10m after the oldest sample")
        })
    }

    fn outages(&self, texts: &[String], problems: &mut Vec<Problem>) -> Vec<Outage> {
        let mut outages = Vec::new();
        for text in texts {
            match self.outage(text) {
                Ok(outage) => outages.push(outage),
                Err(summary) => problems.push(files::without_place(summary)),
            }
        }
        outages.sort_by_key(|outage| outage.from);
        if outages.windows(2).any(|pair| pair[0].until > pair[1].from) {
            let summary = "--down: a second outage begins before the first is over".to_string();
            problems.push(files::without_place(summary));
        }
        outages
    }

    fn outage(&self, text: &str) -> Result<Outage, String> {
        let Some((from, until)) = text.split_once("..") else {
            return Err(format!("--down: `{text}` is no span of time; write it as in +20m..+21m"));
        };
        let outage = Outage { from: self.moment("--down", from)?, until: self.moment("--down", until)? };
        match outage.from < outage.until {
            true => Ok(outage),
            false => Err(format!("--down: `{text}` ends before it begins")),
        }
    }
}

/// The rules read at each time, in the order of time; files of the same time belong together.
fn reloads(
    texts: &[String],
    times: &Times,
    options: ParseOptions,
    problems: &mut Vec<Problem>,
) -> Vec<Reload> {
    let mut files_at: std::collections::BTreeMap<Millis, Vec<PathBuf>> = std::collections::BTreeMap::new();
    for text in texts {
        let said = match text.split_once('=') {
            Some((time, path)) => times.moment("--reload", time).map(|at| (at, path)),
            None => Err(format!("--reload: `{text}` has no `=`; write it as in +20m=rules.yml")),
        };
        match said {
            Ok((at, path)) => files_at.entry(at).or_default().push(path.into()),
            Err(summary) => problems.push(files::without_place(summary)),
        }
    }
    files_at.into_iter().map(|(at, paths)| Reload { at, rules: rules(&paths, options, problems) }).collect()
}

fn head(arguments: &Arguments, plan: &Plan, series: usize) -> String {
    let moment = |at: Millis| {
        jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.seconds().to_string(), |at| at.to_string())
    };
    format!(
        "{} to {}, {series} series, {} rules, evaluated every {}\n",
        moment(plan.from),
        moment(plan.until),
        plan.rules.rules().count(),
        format_duration(arguments.evaluation_interval)
    )
}

/// `Name{a="b"}`, as an alert is known by people.
fn alert(labels: &Labels) -> String {
    let others = labels.filter(|name| name != "alertname");
    let name = labels.get("alertname");
    if others.is_empty() { name.to_string() } else { format!("{name}{others}") }
}

fn line(entry: &Entry, from: Millis) -> String {
    let (what, said) = match &entry.what {
        Happening::Alert(event) => {
            let (what, after) = match &event.transition {
                Transition::Pending => ("pending", format!("  value {}", shown_number(event.value))),
                Transition::Firing => ("firing", format!("  value {}", shown_number(event.value))),
                Transition::Dropped => ("dropped", "  it ended before it fired".into()),
                Transition::Resolved(ResolveReason::Condition) => ("resolved", String::new()),
                Transition::Resolved(ResolveReason::NoData) => ("resolved", "  its data vanished".into()),
            };
            (what, alert(&event.labels) + &after)
        }
        Happening::Told(told) => {
            let list = |word: &str, alerts: &[Labels]| match alerts {
                [] => String::new(),
                alerts => format!("  {word}: {}", alerts.iter().map(alert).collect::<Vec<_>>().join(", ")),
            };
            let who = format!("{}/{}", told.receiver, told.integration);
            ("told", who + &list("firing", &told.firing) + &list("resolved", &told.resolved))
        }
        Happening::Down { until, forgotten } => {
            ("down", format!("for {}{}", format_duration(until.since(entry.at)), forgets(forgotten)))
        }
        Happening::Reloaded { forgotten } => {
            ("reloaded", forgets(forgotten).trim_start_matches("; ").to_string())
        }
        Happening::Failed(error) => ("error", format!("{}: {}", error.name, error.reason)),
    };
    let after = format!("+{}", format_duration(entry.at.since(from)));
    format!("{after:>10}  {what:<9} {said}").trim_end().to_string() + "\n"
}

fn forgets(alerts: &[(Labels, State)]) -> String {
    let one = |(labels, state): &(Labels, State)| {
        let state = if *state == State::Firing { "firing" } else { "pending" };
        format!("{} ({state})", alert(labels))
    };
    match alerts {
        [] => String::new(),
        alerts => format!("; forgets {}", alerts.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn summary(timeline: &Timeline, has_routes: bool) -> String {
    let count =
        |wanted: fn(&Happening) -> bool| timeline.entries.iter().filter(|entry| wanted(&entry.what)).count();
    let fired =
        count(|what| matches!(what, Happening::Alert(event) if event.transition == Transition::Firing));
    let told = count(|what| matches!(what, Happening::Told(_)));
    let mut text = format!("{} evaluations, {fired} alerts fired", timeline.evaluations);
    if has_routes {
        // Writing to a String cannot fail.
        let _ = write!(text, ", {told} notifications");
    }
    text + "\n"
}
