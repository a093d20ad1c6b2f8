//! `clock` and `phases`: what happens in which order, how its time is stretched, and what is broken.

use super::*;
use crate::faults;
use crate::units::format_duration;

/// Most times that a fault is repeated in a phase.
const REPEATS_MAX: usize = 1000;
/// Smallest real time between two scrapes.
const SCRAPE_MIN: Duration = Duration::from_millis(100);

/// The clock: as written, else stretched if a phase says what it stands for.
pub(super) fn clock(root: &Fields<'_>) -> Option<Spanned<Clock>> {
    let phases = root.get("phases").map(Node::items).unwrap_or_default();
    let stands = phases.iter().any(|phase| phase.get("stands_for").is_some_and(|node| !node.is_null()));
    let Some(node) = root.get("clock") else {
        return Some(Spanned::default_value(if stands { Clock::Stretched } else { Clock::Real }));
    };
    if node.text() == Some("virtual") {
        let problem = Problem::error("the virtual clock is not yet runnable", node.span.clone());
        root.cx.report(problem.hint("write `real` or `stretched`"));
        return None;
    }
    let clock = root.one_of("clock", &[("real", Clock::Real), ("stretched", Clock::Stretched)])?;
    if clock.value == Clock::Stretched && !stands {
        let problem =
            Problem::error("the clock is stretched but no phase has a `stands_for`", node.span.clone());
        root.cx.report(problem.hint("say what each phase stands for, or remove `clock`"));
    }
    Some(clock)
}

/// The phases that could be read, and the names of all.
pub(super) fn lower(
    root: &Fields<'_>,
    clock: Option<Clock>,
    interval: Option<Duration>,
    ramp: Duration,
) -> (Vec<Phase>, Names) {
    let items = root.list("phases");
    let mut names = Names { phases: Vec::new(), faults: Vec::new() };
    let mut spans: Vec<Option<Span>> = Vec::new();
    let mut phases = Vec::new();
    for item in &items {
        let name = item.word("name");
        let text = name.as_ref().map(|name| name.value.clone()).unwrap_or_default();
        if let (Some(first), Some(again)) = (
            names.phases.iter().position(|known| *known == text),
            name.as_ref().and_then(|name| name.span.clone()),
        ) {
            let problem = Problem::error(format!("two phases are called `{text}`"), again).hint("rename one");
            root.cx.report(match spans[first].clone() {
                Some(place) => problem.related(place, "the other one"),
                None => problem,
            });
        }
        spans.push(name.as_ref().and_then(|name| name.span.clone()));
        names.phases.push(text);
        names.faults.push(fault_names(item));
        phases.extend(phase(item, name, clock, interval));
    }
    if items.is_empty()
        && root
            .get("phases")
            .is_none_or(|node| matches!(&node.value, Value::Sequence(items) if items.is_empty()))
    {
        names = Names { phases: vec!["run".to_owned()], faults: vec![Vec::new()] };
        phases.extend(only_phase(root, ramp));
    }
    (phases, names)
}

/// Without phases there is one, as long as the longest ramp.
fn only_phase(root: &Fields<'_>, ramp: Duration) -> Option<Phase> {
    if ramp.is_zero() {
        let problem = Problem::error("nothing says how long the run takes", root.place());
        root.cx.report(problem.hint("write `phases: [{name: steady, for: 30s}]`"));
        return None;
    }
    Some(Phase {
        name: Spanned::default_value("run".to_owned()),
        real: ramp,
        stands_for: ramp,
        factor: 1.0,
        ignore_first: Duration::ZERO,
        load: 1.0,
        faults: Vec::new(),
    })
}

fn phase(
    item: &Fields<'_>,
    name: Option<Spanned<String>>,
    clock: Option<Clock>,
    interval: Option<Duration>,
) -> Option<Phase> {
    let wall = item.read("for", units::duration).and_then(|time| not_zero(item, "for", time));
    let stands = item.read("stands_for", units::duration).and_then(|time| not_zero(item, "stands_for", time));
    let ignore_first = item.read("ignore_first", units::duration);
    let load = item.read("load", units::factor);
    let length = stands.as_ref().or(wall.as_ref()).map(|time| time.value);
    let faults = faults(item, length);
    let (wall, stands_for) = (wall?, length?);
    let real = if clock == Some(Clock::Real) { stands_for } else { wall.value };
    let factor = factor(stands_for, real);
    let place = stands.and_then(|stands| stands.span).or(wall.span).unwrap_or_else(|| item.place());
    check_factor(item.cx, stands_for, factor, interval, &place);
    let ignore_first = ignore_first?;
    if ignore_first.value >= stands_for {
        let place = ignore_first.span.unwrap_or_else(|| item.place());
        let problem = Problem::error("nothing of the phase is left to judge", place);
        item.cx.report(problem.hint(format!("it stands for {}", format_duration(stands_for))));
    }
    let load = load?.value;
    Some(Phase { name: name?, real, stands_for, factor, ignore_first: ignore_first.value, load, faults })
}

fn not_zero(item: &Fields<'_>, key: &str, time: Spanned<Duration>) -> Option<Spanned<Duration>> {
    if !time.value.is_zero() {
        return Some(time);
    }
    let problem = Problem::error(format!("`{key}` is zero"), time.span.unwrap_or_else(|| item.place()));
    let example = if key == "delay" { "600ms" } else { "20s" };
    item.cx.report(problem.hint(format!("write, for example, `{example}`")));
    None
}

/// A stretched phase is a whole number of scrapes, and scrapes keep their distance.
fn check_factor(cx: &Context, stands_for: Duration, factor: f64, interval: Option<Duration>, place: &Span) {
    let Some(interval) = interval.filter(|_| factor != 1.0) else { return };
    let intervals = stands_for.as_nanos() / interval.as_nanos();
    if !stands_for.as_nanos().is_multiple_of(interval.as_nanos()) {
        let every = format_duration(interval);
        let summary =
            format!("{} is not a whole number of scrape intervals of {every}", format_duration(stands_for));
        let fits = interval.saturating_mul(u32::try_from(intervals.max(1)).unwrap_or(u32::MAX));
        cx.report(
            Problem::error(summary, place.clone())
                .hint(format!("write, for example, `{}`", format_duration(fits))),
        );
    }
    let distance = interval.as_secs_f64() / factor;
    if distance < SCRAPE_MIN.as_secs_f64() {
        let summary =
            format!("stretched x{factor:.0}, scrapes are {:.0} ms apart, under 100 ms", distance * 1e3);
        let most = interval.as_secs_f64() / SCRAPE_MIN.as_secs_f64();
        let hint =
            format!("stretch by x{most:.0} at most: a longer `for`, or a longer `alerts.scrape_interval`");
        cx.report(Problem::error(summary, place.clone()).hint(hint));
    }
}

/// Names of a phase's faults, those that cannot be read included.
fn fault_names(item: &Fields<'_>) -> Vec<String> {
    let faults = item.get("faults").map(Node::items).unwrap_or_default();
    let name = |fault: &Node| {
        fault.get("name").or_else(|| fault.get("fault")).and_then(Node::text).unwrap_or_default().to_owned()
    };
    faults.iter().map(name).collect()
}

fn faults(item: &Fields<'_>, length: Option<Duration>) -> Vec<Fault> {
    let items = item.list("faults");
    let (mut faults, mut repeats) = (Vec::new(), Vec::new());
    for (fault, every) in items.iter().filter_map(|fields| fault(fields, length)) {
        if let (Some(every), Some(length)) = (every, length) {
            repeats.extend(repeated(item.cx, &fault, &every, length));
        }
        faults.push(fault);
    }
    for (at, fault) in faults.iter().enumerate() {
        let twin = faults[..at].iter().find(|other| other.name.value == fault.name.value);
        if let Some(other) = twin {
            let summary = format!("two faults of one phase are called `{}`", fault.name.value);
            let problem = Problem::error(summary, fault.span.clone()).hint("give each its `name`");
            item.cx.report(problem.related(other.span.clone(), "the other one"));
        } else if let Some(other) = faults[..at].iter().find(|other| contradict(other, fault)) {
            let summary =
                format!("`{}` and `{}` are in force at the same time", other.name.value, fault.name.value);
            let problem = Problem::error(summary, fault.span.clone())
                .hint("one would heal the other: let the second begin `at` the end of the first");
            item.cx.report(problem.related(other.span.clone(), "the other one"));
        } else if let Some(other) = repeats.iter().find(|other| overlaps_again(other, fault, &repeats)) {
            let summary = format!(
                "`{}`, repeated, is in force at the same time as `{}`",
                other.name.value, fault.name.value
            );
            let problem = Problem::error(summary, other.span.clone()).hint("one would heal the other");
            item.cx.report(problem.related(fault.span.clone(), "the other one"));
        }
    }
    // Behind all that are written, so that a cause finds its fault by its place.
    faults.extend(repeats);
    faults
}

/// Whether a repetition of another fault contradicts this one, or one of its own repetitions.
fn overlaps_again(other: &Fault, fault: &Fault, repeats: &[Fault]) -> bool {
    let own = repeats.iter().filter(|own| own.name.value == fault.name.value);
    let mut times = std::iter::once(fault).chain(own);
    other.name.value != fault.name.value && times.any(|fault| contradict(other, fault))
}

/// The further times that a fault with `every` is put in, in a phase of this length.
fn repeated(cx: &Context, fault: &Fault, every: &Spanned<Duration>, length: Duration) -> Vec<Fault> {
    let place = every.span.clone().unwrap_or_else(|| fault.span.clone());
    let (in_force, written) = (fault.duration.value, format_duration(every.value));
    if every.value <= in_force {
        let summary = format!("every {written} it would be put in while it is still in force");
        let hint = format!("write more than `{}`, for which it is in force", format_duration(in_force));
        cx.report(Problem::error(summary, place).hint(hint));
        return Vec::new();
    }
    let begins =
        std::iter::successors(fault.at.value.checked_add(every.value), |at| at.checked_add(every.value));
    let begins = begins.take_while(|at| at.saturating_add(in_force) <= length);
    let begins: Vec<Duration> = begins.take(REPEATS_MAX + 1).collect();
    if begins.is_empty() || begins.len() > REPEATS_MAX {
        let summary = match begins.len() {
            0 => format!("every {written} it is put in once only"),
            _ => format!("every {written} it is put in more than {REPEATS_MAX} times"),
        };
        let hint = format!("the phase takes {} of rule time", format_duration(length));
        cx.report(Problem::error(summary, place).hint(hint));
        return Vec::new();
    }
    begins.into_iter().map(|at| Fault { at: Spanned::default_value(at), ..fault.clone() }).collect()
}

/// Whether two faults act on the same thing at the same time, so that the heal of one ends the other.
fn contradict(one: &Fault, other: &Fault) -> bool {
    let same = match (process(&one.kind), process(&other.kind)) {
        (Some(one), Some(other)) => one.value == other.value,
        _ => std::mem::discriminant(&one.kind) == std::mem::discriminant(&other.kind),
    };
    let end = |fault: &Fault| fault.at.value.saturating_add(fault.duration.value);
    same && one.at.value < end(other) && other.at.value < end(one)
}

/// The process that a fault acts on.
fn process(kind: &FaultKind) -> Option<&Spanned<String>> {
    match kind {
        FaultKind::ProcessKill { process, .. }
        | FaultKind::ProcessPause { process }
        | FaultKind::ProcessRestart { process, .. } => Some(process),
        FaultKind::GatewayLatency { .. } | FaultKind::GatewayFailureRate { .. } => None,
    }
}

/// A fault as it is written, and how often it is put in again.
fn fault(fields: &Fields<'_>, length: Option<Duration>) -> Option<(Fault, Option<Spanned<Duration>>)> {
    let written = fields.text("fault")?;
    let span = written.span.clone()?;
    let Some(row) = faults::find(&written.value) else {
        let problem = Problem::error(format!("unknown fault `{}`", written.value), span);
        fields.cx.report(match nearest(&written.value, faults::ALL.iter().map(|fault| fault.name)) {
            Some(name) => {
                problem.hint(format!("did you mean `{name}`? the reference lists all {}", faults::ALL.len()))
            }
            None => problem.hint(runnable_faults()),
        });
        return None;
    };
    if !row.runs {
        let problem = Problem::error(format!("`{}` is not supported by this version", row.name), span);
        fields.cx.report(problem.hint(runnable_faults()));
        return None;
    }
    check_parameters(fields, row);
    let name = fields.word("name");
    let at = fields.read("at", units::duration);
    let every = fields.read("every", units::duration);
    let kind = kind(fields, row.name);
    let duration =
        fields.read("for", units::duration).or_else(|| down_for(kind.as_ref()?).filter(|_| every.is_some()));
    if let (Some(every), None) = (&every, &duration) {
        let place = every.span.clone().unwrap_or_else(|| fields.place());
        let problem =
            Problem::error("`every` without `for`: it would never be out to be put in again", place);
        fields.cx.report(problem.hint("say how long it is in force each time, as in `for: 10s`"));
        return None;
    }
    let (at, duration) = placed(fields, at?, duration, length?)?;
    Some((Fault { name: name.unwrap_or(written), kind: kind?, at, duration, span }, every))
}

/// How long the process is down, where the fault says so.
fn down_for(kind: &FaultKind) -> Option<Spanned<Duration>> {
    match kind {
        FaultKind::ProcessRestart { down_for: time, .. }
        | FaultKind::ProcessKill { back: Back::After(time), .. } => Some(time.clone()),
        _ => None,
    }
}

fn runnable_faults() -> String {
    let names: Vec<_> = faults::ALL.iter().filter(|row| row.runs).map(|row| row.name).collect();
    format!("this version runs {}", names.join(", "))
}

/// Reports keys of other faults.
fn check_parameters(fields: &Fields<'_>, row: &faults::FaultRow) {
    for key in ["delay", "share", "pick", "process", "back", "down_for"] {
        if row.parameters.contains(&key) || fields.get(key).is_none() {
            continue;
        }
        let owners: Vec<_> =
            faults::ALL.iter().filter(|row| row.parameters.contains(&key)).map(|row| row.name).collect();
        let place = fields.key_span(key).unwrap_or_else(|| fields.place());
        let problem = Problem::error(format!("`{}` takes no `{key}`", row.name), place);
        fields.cx.report(problem.hint(format!("it belongs to {}", owners.join(", "))));
    }
}

/// Start and length in the phase; `None` and a problem if it reaches beyond.
fn placed(
    fields: &Fields<'_>,
    at: Spanned<Duration>,
    duration: Option<Spanned<Duration>>,
    length: Duration,
) -> Option<(Spanned<Duration>, Spanned<Duration>)> {
    let left = length.checked_sub(at.value).filter(|left| !left.is_zero());
    let late = match (&duration, left) {
        (_, None) => Some(&at),
        (Some(duration), Some(left)) if duration.value > left => Some(duration),
        _ => None,
    };
    if let Some(late) = late {
        let place = late.span.clone().unwrap_or_else(|| fields.place());
        let problem = Problem::error("the fault reaches beyond its phase", place);
        fields.cx.report(problem.hint(format!("the phase takes {} of rule time", format_duration(length))));
        return None;
    }
    let rest = Spanned::default_value(left.unwrap_or_default());
    Some((at, duration.unwrap_or(rest)))
}

fn kind(fields: &Fields<'_>, name: &str) -> Option<FaultKind> {
    let needed = |key: &str| {
        if fields.get(key).is_none() {
            fields.missing(key);
        }
    };
    let process = || fields.word("process").unwrap_or(Spanned::default_value("gateway".to_owned()));
    Some(match name {
        "gateway.latency" => {
            needed("delay");
            let share = acting_share(fields).unwrap_or(Spanned::default_value(units::Share(1.0)));
            let delay = fields.read("delay", units::duration)?;
            FaultKind::GatewayLatency { delay: not_zero(fields, "delay", delay)?, share }
        }
        "gateway.failure_rate" => {
            needed("share");
            let pick = fields.one_of("pick", &[("random", Pick::Random), ("even", Pick::Even)]);
            let share = acting_share(fields)?;
            FaultKind::GatewayFailureRate { share, pick: pick.map_or(Pick::Random, |pick| pick.value) }
        }
        "process.kill" => FaultKind::ProcessKill { process: process(), back: back(fields) },
        "process.pause" => FaultKind::ProcessPause { process: process() },
        _ => {
            needed("down_for");
            FaultKind::ProcessRestart {
                process: process(),
                down_for: fields.read("down_for", units::duration)?,
            }
        }
    })
}

/// `share` of a fault, which does something.
fn acting_share(fields: &Fields<'_>) -> Option<Spanned<units::Share>> {
    let share = fields.read("share", units::share)?;
    if share.value.0 > 0.0 {
        return Some(share);
    }
    let place = share.span.unwrap_or_else(|| fields.place());
    let problem = Problem::error("`share` is zero, so the fault would do nothing", place);
    fields.cx.report(problem.hint("leave the fault out, or write a share such as `2%`"));
    None
}

fn back(fields: &Fields<'_>) -> Back {
    let back = fields.one_of("back", &[("at-end", ())]);
    let down_for = fields.read("down_for", units::duration);
    if let (Some(back), Some(down_for)) = (back, &down_for) {
        let problem = Problem::error(
            "`back` and `down_for` contradict each other",
            back.span.unwrap_or_else(|| fields.place()),
        );
        let problem = problem.hint("keep one");
        fields.cx.report(match &down_for.span {
            Some(place) => problem.related(place.clone(), "the other one"),
            None => problem,
        });
    }
    down_for.map_or(Back::AtEnd, Back::After)
}

/// Faults that cannot act on this target.
pub(super) fn check_target(cx: &Context, phases: &[Phase], target: Option<&Target>) {
    let faults = phases.iter().flat_map(|phase| &phase.faults);
    let Some(Target::Url(url)) = target else {
        return faults.for_each(|fault| check_process(cx, fault));
    };
    for fault in faults {
        let (what, hint) = match fault.kind {
            FaultKind::ProcessKill { .. }
            | FaultKind::ProcessPause { .. }
            | FaultKind::ProcessRestart { .. } => {
                ("a process of a target that the run did not start", "use `target: {gateway: {}}`")
            }
            _ if url.admin.is_none() => (
                "a gateway whose `target.admin` is not given",
                "write `admin: \"http://...\"` under `target`",
            ),
            _ => continue,
        };
        cx.report(Problem::error(format!("the fault cannot act on {what}"), fault.span.clone()).hint(hint));
    }
}

/// The run starts one process, the gateway.
fn check_process(cx: &Context, fault: &Fault) {
    let Some(process) = process(&fault.kind) else { return };
    if process.value != "gateway" {
        let place = process.span.as_ref().unwrap_or(&fault.span);
        cx.report(unknown("process", &process.value, ["gateway"].into_iter(), place));
    }
}
