//! Figures to Markdown: medians, ranges, ratios, and the bars of the design they are held against.

use crate::cell::Figures;
use crate::rows::{Figure, Row, Server};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(&'static str, Server), Vec<Figures>>);

impl Results {
    pub(crate) fn add(&mut self, row: &'static str, server: Server, figures: Figures) {
        self.0.entry((row, server)).or_default().push(figures);
    }

    fn values(&self, row: &'static str, server: Server, of: impl Fn(&Figures) -> f64) -> Option<Vec<f64>> {
        let mut values: Vec<f64> = self.0.get(&(row, server))?.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        Some(values)
    }

    /// The middle one; of an even number the lower of the two.
    fn median(&self, row: &'static str, server: Server, of: impl Fn(&Figures) -> f64) -> Option<f64> {
        let values = self.values(row, server, of)?;
        values.get((values.len() - 1) / 2).copied()
    }

    fn value(&self, row: &'static str, server: Server) -> Option<f64> {
        self.median(row, server, |figures| figures.value)
    }

    fn ratio(&self, row: &'static str, ours: Server, theirs: Server) -> Option<f64> {
        Some(self.value(row, ours)? / self.value(row, theirs)?)
    }
}

/// What the table says of itself.
pub(crate) struct Head {
    pub(crate) commit: String,
    pub(crate) repeat: usize,
    pub(crate) seconds: f64,
}

/// The whole table.
pub(crate) fn write(head: &Head, rows: &[Row], results: &Results) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "# The gateway and its peers, {}\n", date())?;
    writeln!(text, "{}.", machine())?;
    writeln!(
        text,
        "Commit {}. Medians of {} runs of {} s each, interleaved, in a network namespace of their own; range in brackets.",
        head.commit, head.repeat, head.seconds
    )?;
    writeln!(text, "{LIMITS}")?;
    bars(&mut text, results)?;
    writeln!(text, "## All figures\n")?;
    for row in rows {
        figures(&mut text, row, results)?;
    }
    Ok(text)
}

const LIMITS: &str = "
Limits: loopback, so the sender's CPU runs part of the receiver's TCP: ratios within this run are sound, absolute figures are
this machine's. Server CPU is utime + stime of /proc/PID/stat. One generator thread on CPU 1 drives servers of one thread on
CPU 0; where a row says all cores, the server may use all and each has a thread of the generator. A message is 100 bytes, masked (with zeros, which the server cannot know).
tungstenite and tokio-websockets run on tokio's current_thread, a task and a channel for each connection; what has gathered on
the socket or in the channel leaves with one flush, except where a row says that each is flushed. tungstenite has a read buffer of 1 KiB.
";

/// A line of DESIGN.md section 10.
struct Bar {
    what: &'static str,
    value: Option<f64>,
    must: f64,
    aim: f64,
    /// A lower figure is better.
    is_cost: bool,
    unit: &'static str,
}

fn bars(text: &mut String, results: &Results) -> std::fmt::Result {
    writeln!(text, "## Against DESIGN.md section 10\n")?;
    writeln!(text, "| figure | measured | must | aim | |\n| --- | --- | --- | --- | --- |")?;
    for bar in all_bars(results) {
        let Some(value) = bar.value else {
            writeln!(
                text,
                "| {} | not run | {}{} | {}{} | |",
                bar.what, bar.must, bar.unit, bar.aim, bar.unit
            )?;
            continue;
        };
        let holds = |bound: f64| if bar.is_cost { value <= bound } else { value >= bound };
        let verdict = match (holds(bar.must), holds(bar.aim)) {
            (_, true) => "aim reached",
            (true, false) => "holds",
            (false, false) => "**missed**",
        };
        let value = if bar.unit == "×" { format!("{value:.2}") } else { format!("{value:.0}") };
        let Bar { what, must, aim, unit, .. } = bar;
        writeln!(text, "| {what} | {value}{unit} | {must}{unit} | {aim}{unit} | {verdict} |")?;
    }
    writeln!(text)
}

fn all_bars(results: &Results) -> Vec<Bar> {
    use Server::{Gateway, GatewayEcho, Tungstenite, TungsteniteEager, Uws, Wire};
    let ratio = |what, row, ours, theirs, must, aim| {
        let value = results.ratio(row, ours, theirs);
        Bar { what, value, must, aim, is_cost: false, unit: "×" }
    };
    let us = |row, server| results.median(row, server, |figures| figures.cpu_us);
    // An echo is two frames, a message four: sent, confirmed, delivered, acknowledged.
    let im = us("route", Gateway).zip(us("echo", GatewayEcho)).map(|(message, echo)| message / (2.0 * echo));
    vec![
        ratio("echo against uWebSockets", "echo", GatewayEcho, Uws, 0.97, 1.05),
        ratio("A→B with confirmation, bare, against uWebSockets", "route", Wire, Uws, 1.0, 1.15),
        ratio("fan-out, one in flight, bare, against uWebSockets", "fanout-1", Wire, Uws, 1.05, 1.15),
        ratio("fan-out, eight in flight, bare, against uWebSockets", "fanout-8", Wire, Uws, 1.0, 1.2),
        ratio("echo against tungstenite", "echo", GatewayEcho, Tungstenite, 1.15, 1.25),
        ratio("A→B with confirmation, bare, against tungstenite", "route", Wire, Tungstenite, 1.15, 1.25),
        // The bar was set against one that flushes each message; the better one stands in the table of the row.
        ratio(
            "fan-out, eight in flight, bare, against tungstenite, each flushed",
            "fanout-8",
            Wire,
            TungsteniteEager,
            5.0,
            7.0,
        ),
        Bar {
            what: "an im.v1 message, CPU against four echo frames",
            value: im,
            must: 1.5,
            aim: 1.1,
            is_cost: true,
            unit: "×",
        },
        Bar {
            what: "an idle authenticated session",
            value: results.value("idle", Gateway),
            must: 512.0,
            aim: 256.0,
            is_cost: true,
            unit: " B",
        },
        Bar {
            what: "connects with handshake and token, to 100,000 held",
            value: results.value("connect-100k", Gateway),
            must: 25_000.0,
            aim: 45_000.0,
            is_cost: false,
            unit: "/s",
        },
    ]
}

fn figures(text: &mut String, row: &Row, results: &Results) -> std::fmt::Result {
    let cores = if row.is_pinned { "one core each" } else { "all cores" };
    let unit = match row.figure {
        Figure::PerCpuSecond => "messages per server CPU second",
        Figure::ConnectsPerSecond => "connects per second",
        Figure::BytesPerConnection => "server bytes per connection (growth of Private_Dirty)",
        Figure::PerSecond => "messages per second",
    };
    writeln!(text, "### {}: {unit}, {} connections, {cores}\n", row.name, row.connections)?;
    writeln!(text, "| server | median | | server CPU each | per second | against uWebSockets |")?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- |")?;
    for &server in row.servers {
        let Some(values) = results.values(row.name, server, |figures| figures.value) else { continue };
        let (Some(low), Some(high)) = (values.first(), values.last()) else { continue };
        let median = results.value(row.name, server).unwrap_or_default();
        let us = results.median(row.name, server, |figures| figures.cpu_us).unwrap_or_default();
        let rate = results.median(row.name, server, |figures| figures.per_second).unwrap_or_default();
        let against = results.ratio(row.name, server, Server::Uws);
        let against = against.map_or_else(String::new, |ratio| format!("{ratio:.2}×"));
        let measured = if row.figure == Figure::BytesPerConnection {
            String::from("| |")
        } else {
            format!("{us:.2} µs | {rate:.0} |")
        };
        writeln!(text, "| {} | {median:.0} | ({low:.0}–{high:.0}) | {measured} {against} |", server.name())?;
    }
    writeln!(text)
}

fn date() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]).output();
    output
        .map_or_else(|_| "undated".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} × {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_ratios_and_verdicts() {
        let mut results = Results::default();
        for value in [90.0, 300.0, 110.0] {
            let figures = Figures { value, cpu_us: 1e6 / value, per_second: 1.0 };
            results.add("echo", Server::GatewayEcho, figures);
        }
        results.add("echo", Server::Uws, Figures { value: 100.0, cpu_us: 1.0, per_second: 1.0 });
        results.add("echo", Server::Tungstenite, Figures { value: 100.0, cpu_us: 1.0, per_second: 1.0 });
        let head = Head { commit: "c0ffee".into(), repeat: 3, seconds: 1.0 };
        let text = write(&head, &crate::rows::all()[..1], &results).unwrap();
        assert!(
            text.contains("| echo against uWebSockets | 1.10× | 0.97× | 1.05× | aim reached |"),
            "{text}"
        );
        assert!(text.contains("| echo against tungstenite | 1.10× | 1.15× | 1.25× | **missed** |"), "{text}");
        assert!(text.contains("| gateway --echo | 110 | (90–300) |"), "{text}");
        assert!(text.contains("| an idle authenticated session | not run |"), "{text}");
    }
}
