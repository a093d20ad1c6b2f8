//! The names of all faults, their parameters, and which of them this version can run.

/// One fault by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRow {
    /// `gateway.latency`.
    pub name: &'static str,
    /// Its keys besides `fault`, `name`, `at` and `for`.
    pub parameters: &'static [&'static str],
    /// Whether this version can run it.
    pub runs: bool,
    /// What it does.
    pub doc: &'static str,
}

const fn runs(name: &'static str, parameters: &'static [&'static str], doc: &'static str) -> FaultRow {
    FaultRow { name, parameters, runs: true, doc }
}

const fn later(name: &'static str, doc: &'static str) -> FaultRow {
    FaultRow { name, parameters: &[], runs: false, doc }
}

/// Every fault; what is not here does not exist.
pub const ALL: &[FaultRow] = &[
    runs(
        "gateway.latency",
        &["delay", "share"],
        "The gateway holds messages back by `delay` before it delivers them.",
    ),
    runs("gateway.failure_rate", &["share", "pick"], "The gateway confirms messages and then loses them."),
    runs(
        "process.kill",
        &["process", "back", "down_for"],
        "The process is killed, and started again at the fault's end or after `down_for`.",
    ),
    runs("process.pause", &["process"], "The process stands still."),
    runs(
        "process.restart",
        &["process", "down_for"],
        "The process is asked to end, and started again after `down_for`.",
    ),
    later("link.latency", "Delay on the way."),
    later("link.bandwidth", "Less bandwidth."),
    later("link.loss", "Frames vanish."),
    later("link.reset", "Connections are reset."),
    later("link.blackhole", "Nothing comes through, nothing is closed."),
    later("link.half_open", "One side believes the connection is gone."),
    later("link.slow_close", "Closing takes long."),
    later("link.close_code", "Connections are closed with a code."),
    later("link.refuse", "New connections are refused."),
    later("container.kill", "Containers are killed."),
    later("container.stop", "Containers are stopped."),
    later("container.restart", "Containers are restarted."),
    later("container.pause", "Containers stand still."),
    later("container.disconnect", "Containers lose their network."),
    later("container.cpu", "Containers get less CPU."),
    later("container.memory", "Containers get less memory."),
    later("container.latency", "Packets are delayed."),
    later("container.loss", "Packets vanish."),
    later("host.cpu", "The host's CPU is busy."),
    later("host.memory", "The host's memory is taken."),
];

/// The fault of a name.
pub fn find(name: &str) -> Option<&'static FaultRow> {
    ALL.iter().find(|fault| fault.name == name)
}
