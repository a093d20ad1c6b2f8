//! `population` and `traffic`: who is connected, and what is sent.

use super::*;

#[derive(Clone, Copy)]
enum Vus {
    Constant,
    Ramping,
}

pub(super) fn population(root: &Fields<'_>) -> Vec<Population> {
    let one = |(key, node): (&crate::yaml::Key, &Node)| {
        let name = checked_name(root, key);
        if node.get("executor").and_then(Node::text).is_some_and(|text| text.contains("arrival-rate")) {
            let place = node.get("executor").map_or(key.span.clone(), |node| node.span.clone());
            let problem = Problem::error("an arrival rate is not a number of clients", place);
            root.cx.report(
                problem.hint("it belongs in `traffic`; a population is `constant-vus` or `ramping-vus`"),
            );
            return None;
        }
        group(&Fields::new(root.cx, node, "population.*"), name)
    };
    root.named("population").into_iter().filter_map(one).collect()
}

fn checked_name(root: &Fields<'_>, key: &crate::yaml::Key) -> Spanned<String> {
    if let Err(error) = fields::word(&key.text) {
        root.cx.report(Problem::error(error.summary, key.span.clone()).hint(error.hint));
    }
    fields::spanned(key)
}

fn group(fields: &Fields<'_>, name: Spanned<String>) -> Option<Population> {
    let executor =
        fields.one_of("executor", &[("constant-vus", Vus::Constant), ("ramping-vus", Vus::Ramping)]);
    let vus = fields.read("vus", units::count);
    let start = fields.read("startVUs", units::count);
    let stages = stages(fields, units::count);
    let reconnect = fields.map("reconnect");
    let jitter = [("none", Jitter::None), ("equal", Jitter::Equal), ("full", Jitter::Full)];
    let backoff = reconnect.read("backoff", units::duration_range);
    let jitter = reconnect.one_of("jitter", &jitter);
    let connect_rate = positive(fields, "connect_rate", fields.read("connect_rate", units::rate));
    let churn = fields.read("churn", units::share_per_minute);
    let executor = match executor?.value {
        Vus::Constant => {
            surplus(fields, &["startVUs", "stages"], "ramping-vus");
            PopulationExecutor::ConstantVus { vus: somebody(fields, wanted(fields, "vus", vus)?)? }
        }
        Vus::Ramping => {
            surplus(fields, &["vus"], "constant-vus");
            let start_vus = start.map_or(0, |start| start.value);
            PopulationExecutor::RampingVus { start_vus, stages: wanted(fields, "stages", stages)? }
        }
    };
    let reconnect = Reconnect { backoff: backoff?.value, jitter: jitter?.value };
    Some(Population { name, executor, connect_rate, churn: churn?.value, reconnect })
}

/// A population of nobody would pass for having seen nothing.
fn somebody(fields: &Fields<'_>, vus: Spanned<u64>) -> Option<Spanned<u64>> {
    if vus.value > 0 {
        return Some(vus);
    }
    let place = vus.span.unwrap_or_else(|| fields.place());
    fields.cx.report(Problem::error("`vus` is zero", place).hint("write how many clients there are: `1k`"));
    None
}

/// A value that the executor needs.
fn wanted<T>(fields: &Fields<'_>, key: &str, value: Option<T>) -> Option<T> {
    if value.is_none() && fields.get(key).is_none() {
        fields.missing(key);
    }
    value
}

/// Reports keys that belong to another executor.
fn surplus(fields: &Fields<'_>, keys: &[&str], executor: &str) {
    for key in keys.iter().filter(|key| fields.get(key).is_some()) {
        let place = fields.key_span(key).unwrap_or_else(|| fields.place());
        let problem = Problem::error(format!("`{key}` belongs to another executor"), place);
        fields.cx.report(problem.hint(format!("remove it, or write `executor: {executor}`")));
    }
}

fn positive(
    fields: &Fields<'_>,
    key: &str,
    rate: Option<Spanned<units::Rate>>,
) -> Option<Spanned<units::Rate>> {
    let rate = rate?;
    if rate.value.per_second > 0.0 {
        return Some(rate);
    }
    let problem = Problem::error(format!("`{key}` is zero"), rate.span.unwrap_or_else(|| fields.place()));
    fields.cx.report(problem.hint("leave the entry out, or write a rate such as `10/s`"));
    None
}

fn stages<T>(fields: &Fields<'_>, parse: fn(&str) -> Result<T, UnitError>) -> Option<Vec<Stage<T>>> {
    let written = fields.get("stages")?;
    let items = fields.list("stages");
    if items.is_empty() && matches!(written.value, Value::Sequence(_)) {
        fields.cx.report(
            Problem::error("`stages` is empty", written.head())
                .hint("write at least one `{duration, target}`"),
        );
    }
    let count = items.len();
    let one = |item: &Fields<'_>| {
        let duration = item.read("duration", units::duration);
        let target = item.read("target", parse);
        Some(Stage { duration: duration?.value, target: target? })
    };
    let stages: Vec<_> = items.iter().filter_map(one).collect();
    (count > 0 && stages.len() == count).then_some(stages)
}

#[derive(Clone, Copy)]
enum Arrivals {
    Constant,
    Ramping,
    Poisson,
}

pub(super) fn traffic(root: &Fields<'_>, population: &[Population]) -> Vec<Traffic> {
    let groups: Vec<_> = root.named("population").into_iter().map(|(key, _)| key.text.clone()).collect();
    let one = |(key, node): (&crate::yaml::Key, &Node)| {
        let name = checked_name(root, key);
        if node.get("executor").and_then(Node::text).is_some_and(|text| text.ends_with("-vus")) {
            let place = node.get("executor").map_or(key.span.clone(), |node| node.span.clone());
            let problem = Problem::error("a number of clients is not a rate of messages", place);
            root.cx.report(problem.hint("it belongs in `population`; traffic is `constant-arrival-rate`, `ramping-arrival-rate` or `poisson`"));
            return None;
        }
        schedule(&Fields::new(root.cx, node, "traffic.*"), name, &groups, population)
    };
    root.named("traffic").into_iter().filter_map(one).collect()
}

fn schedule(
    fields: &Fields<'_>,
    name: Spanned<String>,
    groups: &[String],
    population: &[Population],
) -> Option<Traffic> {
    let executors = [
        ("constant-arrival-rate", Arrivals::Constant),
        ("ramping-arrival-rate", Arrivals::Ramping),
        ("poisson", Arrivals::Poisson),
    ];
    let executor = fields.one_of("executor", &executors);
    let from = fields.word("from");
    let written_rate = fields.read("rate", units::rate);
    let rate = positive(fields, "rate", written_rate);
    let start_rate = fields.read("startRate", units::rate);
    let stages = stages(fields, units::rate);
    let to = fields.read("to", recipient);
    let start_time = fields.read("startTime", units::duration);
    let size = fields.read("size", units::size);
    let from = from.and_then(|from| {
        let place = from.span.unwrap_or_else(|| fields.place());
        if !groups.contains(&from.value) {
            fields.cx.report(unknown("population", &from.value, groups.iter().map(String::as_str), &place));
        }
        population.iter().position(|group| group.name.value == from.value)
    });
    let executor = match executor?.value {
        Arrivals::Ramping => {
            surplus(fields, &["rate"], "constant-arrival-rate");
            let start_rate = start_rate.map_or(units::Rate::per_second(0.0), |rate| rate.value);
            TrafficExecutor::RampingArrivalRate { start_rate, stages: wanted(fields, "stages", stages)? }
        }
        steady => {
            surplus(fields, &["startRate", "stages"], "ramping-arrival-rate");
            let rate = wanted(fields, "rate", rate)?;
            match steady {
                Arrivals::Poisson => TrafficExecutor::Poisson { rate },
                _ => TrafficExecutor::ConstantArrivalRate { rate },
            }
        }
    };
    Some(Traffic { name, executor, from: from?, to: to?.value, start_time: start_time?.value, size: size? })
}

fn recipient(text: &str) -> Result<Recipient, UnitError> {
    match text.split_once(':') {
        Some(("group", name)) => fields::word(name).map(Recipient::Group),
        None if text == "random-user" => Ok(Recipient::RandomUser),
        None if text == "absent-user" => Ok(Recipient::AbsentUser),
        None if text == "self" => Ok(Recipient::Itself),
        _ => {
            let hint = match nearest(text, ["random-user", "absent-user", "self"]) {
                Some(name) => format!("did you mean `{name}`?"),
                None => "write `random-user`, `absent-user`, `group:NAME` or `self`".to_owned(),
            };
            Err(UnitError { summary: format!("unknown recipient `{text}`"), hint })
        }
    }
}

/// How long the longest ramp takes, wall time; zero without one.
pub(super) fn longest_ramp(population: &[Population], traffic: &[Traffic]) -> Duration {
    let groups = population.iter().map(|group| match &group.executor {
        PopulationExecutor::ConstantVus { .. } => Duration::ZERO,
        PopulationExecutor::RampingVus { stages, .. } => length(stages),
    });
    let schedules = traffic.iter().map(|schedule| match &schedule.executor {
        TrafficExecutor::RampingArrivalRate { stages, .. } => {
            schedule.start_time.saturating_add(length(stages))
        }
        _ => Duration::ZERO,
    });
    groups.chain(schedules).max().unwrap_or_default()
}

fn length<T>(stages: &[Stage<T>]) -> Duration {
    stages.iter().fold(Duration::ZERO, |sum, stage| sum.saturating_add(stage.duration))
}
