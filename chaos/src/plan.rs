//! What is due when, within one phase. Pure: offsets in, an ordered list out.

use std::time::Duration;

/// When a fault of a phase is put in and taken out, wall time from the phase's begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Put in.
    pub begin: Duration,
    /// Taken out; `None`: at the phase's end.
    pub end: Option<Duration>,
}

/// Something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Put this fault of the phase in.
    Inject(usize),
    /// Take it out.
    Heal(usize),
}

/// Something to do, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From the phase's begin.
    pub at: Duration,
    /// What.
    pub action: Action,
}

/// All steps of a phase that lasts `length`, in order; at the same moment healing comes before injecting, so that faults that
/// follow each other don't overlap. Every fault that is put in is taken out.
pub fn steps(windows: &[Window], length: Duration) -> Vec<Step> {
    let mut steps: Vec<Step> = windows
        .iter()
        .enumerate()
        .filter(|(_, window)| window.begin < length)
        .flat_map(|(fault, window)| {
            let end = window.end.unwrap_or(length).clamp(window.begin, length);
            [
                Step { at: window.begin, action: Action::Inject(fault) },
                Step { at: end, action: Action::Heal(fault) },
            ]
        })
        .collect();
    // An empty window would heal before it injects; there is nothing to do for it.
    steps.retain(|step| {
        let (Action::Inject(fault) | Action::Heal(fault)) = step.action;
        windows[fault].end.is_none_or(|end| end > windows[fault].begin)
    });
    steps.sort_by_key(|step| (step.at, matches!(step.action, Action::Inject(_))));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn orders_what_overlaps_and_ends_all_with_the_phase() {
        let windows = [
            Window { begin: second(5), end: None },
            Window { begin: second(0), end: Some(second(5)) },
            Window { begin: second(20), end: None },
            Window { begin: second(7), end: Some(second(99)) },
            Window { begin: second(3), end: Some(second(3)) },
        ];
        let steps: Vec<_> =
            steps(&windows, second(10)).iter().map(|step| (step.at.as_secs(), step.action)).collect();
        assert_eq!(
            steps,
            [
                (0, Action::Inject(1)),
                (5, Action::Heal(1)),
                (5, Action::Inject(0)),
                (7, Action::Inject(3)),
                (10, Action::Heal(0)),
                (10, Action::Heal(3)),
            ]
        );
    }

    proptest! {
        #[test]
        fn whatever_goes_in_comes_out(windows in prop::collection::vec((0u64..20, prop::option::of(0u64..30)), 0..10), length in 1u64..20) {
            let windows: Vec<_> = windows.iter().map(|(begin, end)| Window { begin: second(*begin), end: end.map(second) }).collect();
            let mut inside = std::collections::BTreeSet::new();
            let mut last = Duration::ZERO;
            for step in steps(&windows, second(length)) {
                prop_assert!(step.at >= last && step.at <= second(length));
                last = step.at;
                match step.action {
                    Action::Inject(fault) => prop_assert!(inside.insert(fault)),
                    Action::Heal(fault) => prop_assert!(inside.remove(&fault)),
                }
            }
            prop_assert!(inside.is_empty());
        }
    }
}
