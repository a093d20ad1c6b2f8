//! The least and the greatest value between two samples, without walking over what lies between.

use super::run::BLOCK;
use super::work::look;

/// A least and a greatest value; NaN where there is no number.
type Extent = (f64, f64);

/// Of each whole block of samples its extent, of each whole block of those theirs, and so on: a tree, by levels.
#[derive(Debug, Clone, Default)]
pub(super) struct Extremes {
    levels: Vec<Vec<Extent>>,
}

impl Extremes {
    /// To be called after each new value.
    pub(super) fn extend(&mut self, values: &[f64]) {
        if !values.len().is_multiple_of(BLOCK) {
            return;
        }
        let mut whole = of_values(&values[values.len() - BLOCK..]);
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let extents = &mut self.levels[level];
            extents.push(whole);
            if !extents.len().is_multiple_of(BLOCK) {
                return;
            }
            whole = of_extents(&extents[extents.len() - BLOCK..]);
        }
    }

    /// The extent of `values[first..end]`.
    pub(super) fn between(&self, values: &[f64], first: usize, end: usize) -> Extent {
        let (mut first, mut end) = (first, end);
        let mut found = (f64::NAN, f64::NAN);
        for level in 0..=self.levels.len() {
            let of = |from: usize, until: usize| match level.checked_sub(1) {
                None => of_values(&values[from..until]),
                Some(below) => of_extents(&self.levels[below][from..until]),
            };
            let (first_whole, end_whole) = (first.div_ceil(BLOCK), end / BLOCK);
            if first_whole >= end_whole {
                return widened(found, of(first, end));
            }
            found = widened(found, of(first, first_whole * BLOCK));
            found = widened(found, of(end_whole * BLOCK, end));
            (first, end) = (first_whole, end_whole);
        }
        found
    }

    pub(super) fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.capacity() * size_of::<Extent>()).sum()
    }
}

fn widened(a: Extent, b: Extent) -> Extent {
    (a.0.min(b.0), a.1.max(b.1))
}

fn of_values(values: &[f64]) -> Extent {
    look(values.len());
    values.iter().fold((f64::NAN, f64::NAN), |found, value| widened(found, (*value, *value)))
}

fn of_extents(extents: &[Extent]) -> Extent {
    look(extents.len());
    extents.iter().fold((f64::NAN, f64::NAN), |found, extent| widened(found, *extent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn extents_are_those_of_a_scan(
            values in proptest::collection::vec(prop_oneof![9 => (0..1000_u32).prop_map(f64::from), 1 => Just(f64::NAN)], 1..12_000),
            a in 0..12_000_usize,
            b in 0..12_000_usize,
        ) {
            let mut extremes = Extremes::default();
            for count in 1..=values.len() {
                extremes.extend(&values[..count]);
            }
            let (a, b) = (a % values.len(), b % values.len());
            let (first, end) = (a.min(b), a.max(b) + 1);
            let scanned = of_values(&values[first..end]);
            let found = extremes.between(&values, first, end);
            prop_assert!(found == scanned || found.0.is_nan() && scanned.0.is_nan());
        }
    }
}
