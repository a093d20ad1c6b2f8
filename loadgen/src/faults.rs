//! From a fault as the scenario says it to one that chaos can put in.

use chaos::active::Fault;
use chaos::faults::gateway::GatewayFault;
use scenarios::scenario::{self, Back, FaultKind};
use scenarios::units::format_duration;
use std::time::Duration;

/// The fault that chaos puts in.
pub fn runnable(kind: &FaultKind) -> Fault {
    match kind {
        FaultKind::GatewayLatency { delay, share } => {
            Fault::Gateway(GatewayFault::Latency { delay: delay.value, share: share.value.0 })
        }
        FaultKind::GatewayFailureRate { share, pick } => {
            Fault::Gateway(GatewayFault::FailureRate { share: share.value.0, pick: *pick })
        }
        FaultKind::ProcessKill { .. } | FaultKind::ProcessRestart { .. } => Fault::Kill,
        FaultKind::ProcessPause { .. } => Fault::Pause,
    }
}

/// How long it is in force, rule time.
pub fn length(fault: &scenario::Fault) -> Duration {
    match &fault.kind {
        FaultKind::ProcessKill { back: Back::After(after), .. } => after.value.min(fault.duration.value),
        FaultKind::ProcessRestart { down_for, .. } => down_for.value,
        _ => fault.duration.value,
    }
}

/// Its parameters as one reads them.
pub fn parameters(kind: &FaultKind) -> String {
    match kind {
        FaultKind::GatewayLatency { delay, share } if share.value.0 < 1.0 => {
            format!("{} for {}", format_duration(delay.value), share.value)
        }
        FaultKind::GatewayLatency { delay, .. } => format_duration(delay.value),
        FaultKind::GatewayFailureRate { share, pick: scenario::Pick::Even } => {
            format!("{}, even", share.value)
        }
        FaultKind::GatewayFailureRate { share, .. } => share.value.to_string(),
        FaultKind::ProcessKill { process, .. } | FaultKind::ProcessPause { process } => process.value.clone(),
        FaultKind::ProcessRestart { process, down_for } => {
            format!("{}, down for {}", process.value, format_duration(down_for.value))
        }
    }
}

/// By how much it holds messages back on the socket, wall time.
pub fn socket_delay(kind: &FaultKind) -> Duration {
    match kind {
        FaultKind::GatewayLatency { delay, .. } => delay.value,
        _ => Duration::ZERO,
    }
}
