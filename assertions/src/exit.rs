//! Exit codes of a run, and which one wins when several apply. k6's numbers where k6 has one.

/// Everything held.
pub const PASSED: u8 = 0;
/// The tool itself failed, or a backend that it started (`--alerts prometheus`).
pub const TOOL_FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// An SLO or a threshold failed, or had no data.
pub const SLO_FAILED: u8 = 99;
/// Scenario, rules or alertmanager.yml are invalid; nothing was started.
pub const INVALID: u8 = 104;
/// A signal ended the run; the report is complete as far as the run went.
pub const INTERRUPTED: u8 = 105;
/// An alert expectation failed, or had no data.
pub const ALERTS_FAILED: u8 = 111;
/// The generator or the scrapes fell behind: the run proves nothing.
pub const VOID: u8 = 112;
/// The environment cannot carry the run, or permission for it is missing.
pub const PREFLIGHT: u8 = 113;
/// Worse than the saved run it was compared with.
pub const REGRESSION: u8 = 114;
/// A fault is not proven healed. Wins over everything: somebody has to look at the target.
pub const NOT_HEALED: u8 = 115;

/// What a run came to; any number may apply at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Finding {
    /// [`NOT_HEALED`]
    NotHealed,
    /// [`TOOL_FAILED`]
    ToolFailed,
    /// [`INVALID`]
    Invalid,
    /// [`PREFLIGHT`]
    Preflight,
    /// [`INTERRUPTED`]
    Interrupted,
    /// [`VOID`]
    Void,
    /// [`SLO_FAILED`]
    SloFailed,
    /// [`ALERTS_FAILED`]
    AlertsFailed,
    /// [`REGRESSION`]
    Regression,
}

/// All findings; the first that applies decides.
pub const PRECEDENCE: [Finding; 9] = [
    Finding::NotHealed,
    Finding::ToolFailed,
    Finding::Invalid,
    Finding::Preflight,
    Finding::Interrupted,
    Finding::Void,
    Finding::SloFailed,
    Finding::AlertsFailed,
    Finding::Regression,
];

impl Finding {
    /// Its exit code.
    pub fn code(self) -> u8 {
        match self {
            Finding::NotHealed => NOT_HEALED,
            Finding::ToolFailed => TOOL_FAILED,
            Finding::Invalid => INVALID,
            Finding::Preflight => PREFLIGHT,
            Finding::Interrupted => INTERRUPTED,
            Finding::Void => VOID,
            Finding::SloFailed => SLO_FAILED,
            Finding::AlertsFailed => ALERTS_FAILED,
            Finding::Regression => REGRESSION,
        }
    }
}

/// The finding that decides; `None` if there is none.
pub fn deciding(findings: &[Finding]) -> Option<Finding> {
    PRECEDENCE.into_iter().find(|finding| findings.contains(finding))
}

/// The exit code of a run with these findings; [`PASSED`] without any.
pub fn exit_code(findings: &[Finding]) -> u8 {
    deciding(findings).map_or(PASSED, Finding::code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn codes_win_in_the_documented_order() {
        assert_eq!(PRECEDENCE.map(Finding::code), [115, 1, 104, 113, 105, 112, 99, 111, 114]);
        assert_eq!(exit_code(&[]), 0);
        assert_eq!(exit_code(&[Finding::Regression, Finding::AlertsFailed]), 111);
        assert_eq!(exit_code(&[Finding::AlertsFailed, Finding::SloFailed]), 99);
        assert_eq!(exit_code(&[Finding::SloFailed, Finding::Void]), 112);
    }

    fn findings() -> impl Strategy<Value = Vec<Finding>> {
        prop::collection::vec(prop::sample::select(PRECEDENCE.to_vec()), 0..12)
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(findings in findings(), rotate in 0_usize..12) {
            let mut other = findings.clone();
            other.rotate_left(rotate % findings.len().max(1));
            other.extend(findings.clone());
            prop_assert_eq!(exit_code(&findings), exit_code(&other));
        }

        #[test]
        fn only_a_run_without_findings_passes(findings in findings()) {
            prop_assert_eq!(exit_code(&findings) == PASSED, findings.is_empty());
        }

        #[test]
        fn one_more_finding_never_weakens_the_result(findings in findings(), more in prop::sample::select(PRECEDENCE.to_vec())) {
            let rank = |found: &[Finding]| PRECEDENCE.iter().position(|p| Some(*p) == deciding(found)).unwrap_or(9);
            let mut all = findings.clone();
            all.push(more);
            prop_assert_eq!(rank(&all), rank(&findings).min(rank(&[more])));
        }
    }
}
