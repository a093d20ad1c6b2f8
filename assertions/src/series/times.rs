//! When the samples of a raw run were taken.

use super::work::look;

/// Times in order. Scrapes are mostly evenly spaced: then nothing is stored, and nothing is searched.
#[derive(Debug, Clone)]
pub(super) enum Times {
    /// Sample i is at `first + step * i`; of a single one the step is 0.
    Even(Even),
    /// Each sample's own.
    Listed(Vec<i64>),
}

/// Evenly spaced times, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Even {
    first: i64,
    step: i64,
    count: usize,
}

impl Even {
    fn at(self, index: usize) -> i64 {
        self.first + self.step * index as i64
    }

    fn first_not_before(self, wanted: i64) -> usize {
        if wanted <= self.first || self.step == 0 {
            return if wanted <= self.first { 0 } else { self.count };
        }
        // Their distance may be more than half of all time.
        let distance = wanted.wrapping_sub(self.first) as u64;
        let steps = distance.div_ceil(self.step as u64);
        usize::try_from(steps).map_or(self.count, |steps| steps.min(self.count))
    }

    /// Takes one more time if it lies where the next one would.
    fn extend(&mut self, at: i64) -> bool {
        if self.count == 1 {
            self.step = at.checked_sub(self.first).unwrap_or(0);
        }
        let fits = self.step > 0 && self.at(self.count - 1).checked_add(self.step) == Some(at);
        self.count += usize::from(fits);
        fits
    }
}

/// Where the last window was found; series of one target have their samples at the same times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hint {
    /// The evenly spaced times it was found among, and its edges.
    even: Option<(Even, i64, i64)>,
    /// The first sample in it.
    first: usize,
    /// One past the last.
    end: usize,
}

impl Hint {
    /// Index of the first time not before `from`, and one past the last not after `until`.
    pub(super) fn ends(&mut self, times: &Times, from: i64, until: i64) -> (usize, usize) {
        let beyond = until.saturating_add(1);
        match times {
            Times::Even(even) if self.even == Some((*even, from, until)) => {}
            Times::Even(even) => {
                *self = Hint {
                    even: Some((*even, from, until)),
                    first: even.first_not_before(from),
                    end: even.first_not_before(beyond),
                };
            }
            Times::Listed(times) => {
                self.even = None;
                if !is_first_not_before(times, self.first, from) {
                    self.first = search(times, from);
                }
                if !is_first_not_before(times, self.end, beyond) {
                    self.end = search(times, beyond);
                }
            }
        }
        (self.first, self.end)
    }
}

impl Times {
    pub(super) fn one(at: i64) -> Times {
        Times::Even(Even { first: at, step: 0, count: 1 })
    }

    pub(super) fn at(&self, index: usize) -> i64 {
        match self {
            Times::Even(even) => even.at(index),
            Times::Listed(times) => times[index],
        }
    }

    /// Index of the first time not before `wanted`; the length if there is none.
    pub(super) fn first_not_before(&self, wanted: i64) -> usize {
        match self {
            Times::Even(even) => even.first_not_before(wanted),
            Times::Listed(times) => search(times, wanted),
        }
    }

    /// Takes one more time, later than all. Refuses to give up more than `kept_max` evenly spaced ones for it.
    pub(super) fn extend(&mut self, at: i64, kept_max: usize) -> bool {
        match self {
            Times::Even(even) => {
                if !even.extend(at) {
                    if even.count > kept_max {
                        return false;
                    }
                    let listed = (0..even.count).map(|index| even.at(index)).chain([at]).collect();
                    *self = Times::Listed(listed);
                }
            }
            Times::Listed(times) => times.push(at),
        }
        true
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Times::Even(_) => 0,
            Times::Listed(times) => times.capacity() * size_of::<i64>(),
        }
    }
}

/// Whether `index` is that of the first time not before `wanted`.
fn is_first_not_before(times: &[i64], index: usize, wanted: i64) -> bool {
    let is_after =
        index.checked_sub(1).is_none_or(|before| times.get(before).is_some_and(|time| *time < wanted));
    is_after && times.get(index).is_none_or(|time| *time >= wanted)
}

/// Index of the first time not before `wanted`. Scrapes are nearly evenly spaced, so a guess nearly always hits.
fn search(times: &[i64], wanted: i64) -> usize {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0 };
    if wanted > *first && wanted <= *last {
        let share = (wanted as f64 - *first as f64) / (*last as f64 - *first as f64);
        let guess = (share * (times.len() - 1) as f64).ceil() as usize;
        for index in guess.saturating_sub(1).max(1)..(guess + 2).min(times.len()) {
            if times[index - 1] < wanted && wanted <= times[index] {
                return index;
            }
        }
    }
    times.partition_point(|time| {
        look(1);
        *time < wanted
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn even_and_listed_times_are_found_alike(
            first in -100..100_i64,
            gaps in proptest::collection::vec(prop_oneof![8 => Just(15_i64), 1 => 1..60_i64], 0..40),
            wanted in -200..1500_i64,
        ) {
            let listed: Vec<i64> = std::iter::once(0).chain(gaps.iter().scan(0, |sum, gap| { *sum += gap; Some(*sum) }))
                .map(|at| first + at).collect();
            let mut times = Times::one(first);
            for at in &listed[1..] {
                prop_assert!(times.extend(*at, usize::MAX));
            }
            prop_assert_eq!(matches!(times, Times::Even(_)), gaps.windows(2).all(|pair| pair[0] == pair[1]));
            prop_assert!((0..listed.len()).all(|index| times.at(index) == listed[index]));
            let expected = listed.partition_point(|at| *at < wanted);
            prop_assert_eq!(times.first_not_before(wanted), expected);
            let end = listed.partition_point(|at| *at <= wanted + 100);
            let mut hint = Hint::default();
            for _ in 0..2 {
                prop_assert_eq!(hint.ends(&times, wanted, wanted + 100), (expected, end));
            }
        }
    }

    #[test]
    fn many_even_times_are_not_given_up_for_a_gap() {
        let mut times = Times::one(0);
        assert!((1..100).all(|index| times.extend(index * 15, 64)));
        assert!(!times.extend(100 * 15 + 1, 64));
        assert!(times.extend(100 * 15, 64) && times.bytes() == 0);
    }

    #[test]
    fn the_edges_of_time_are_times() {
        let mut times = Times::one(i64::MIN);
        assert!(times.extend(i64::MAX, 64));
        assert_eq!([times.at(0), times.at(1)], [i64::MIN, i64::MAX]);
        assert_eq!([times.first_not_before(0), times.first_not_before(i64::MIN)], [1, 0]);
    }
}
