//! Consecutive samples kept the same way: a line, a list, or a marker.

use super::totals::{Compensated, Totals};
use super::{Point, stale_marker};
use crate::time::Millis;
use std::cmp::Ordering;

/// Samples between two stored totals.
const BLOCK: usize = 64;

/// Consecutive samples kept the same way.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) first_at: i64,
    pub(super) last_at: i64,
    pub(super) points: Points,
    /// Totals over all samples of earlier runs.
    pub(super) before: Totals,
    /// The counter was reset before the first sample, whatever the values say.
    pub(super) reset: bool,
    /// What the reset before the first sample took away; 0 if there was none.
    pub(super) entry_drop: f64,
}

#[derive(Debug, Clone)]
pub(super) enum Points {
    /// A straight line: sample i is `first + increment * i`, at `first_at + step * i`.
    Line { step: i64, count: usize, first: f64, increment: f64 },
    /// Every sample; of each `BLOCK` the totals before it, and its least and greatest value; the totals through the last.
    Raw { times: Vec<i64>, values: Vec<f64>, blocks: Vec<Totals>, extremes: Vec<(f64, f64)>, through: Totals },
    /// A stale marker.
    Stale,
}

impl Run {
    /// Number of samples; a stale marker is none.
    pub(super) fn len(&self) -> usize {
        match &self.points {
            Points::Line { count, .. } => *count,
            Points::Raw { values, .. } => values.len(),
            Points::Stale => 0,
        }
    }

    pub(super) fn time(&self, index: usize) -> i64 {
        match &self.points {
            Points::Line { step, .. } => self.first_at + step * index as i64,
            Points::Raw { times, .. } => times[index],
            Points::Stale => self.first_at,
        }
    }

    pub(super) fn value(&self, index: usize) -> f64 {
        match &self.points {
            Points::Line { first, increment, .. } => first + increment * index as f64,
            Points::Raw { values, .. } => values[index],
            Points::Stale => stale_marker(),
        }
    }

    /// Index of the first sample at or after `from`; the length if there is none.
    pub(super) fn index_from(&self, from: i64) -> usize {
        if from <= self.first_at {
            return 0;
        }
        match &self.points {
            Points::Line { step, count, .. } => {
                let steps = (from - self.first_at).div_euclid(*step);
                let whole = self.first_at + steps * step == from;
                usize::try_from(steps + i64::from(!whole)).unwrap_or(*count).min(*count)
            }
            Points::Raw { times, .. } => first_not_before(times, from),
            Points::Stale => 0,
        }
    }

    /// Index of the last sample (or marker) at or before `until`.
    pub(super) fn index_through(&self, until: i64) -> Option<usize> {
        if until < self.first_at {
            return None;
        }
        if until >= self.last_at {
            return Some(self.len().saturating_sub(1));
        }
        match &self.points {
            Points::Line { step, .. } => usize::try_from((until - self.first_at) / step).ok(),
            Points::Raw { times, .. } => first_not_before(times, until + 1).checked_sub(1),
            Points::Stale => Some(0),
        }
    }

    /// Takes one more sample if it belongs to this run: any for a raw run, the next on the line for a line.
    pub(super) fn extend(&mut self, at: i64, value: f64) -> bool {
        let extended = match &mut self.points {
            Points::Line { step, count, first, increment } => {
                let next = *first + *increment * *count as f64;
                let fits = at == self.last_at + *step && value.to_bits() == next.to_bits();
                *count += usize::from(fits);
                fits
            }
            Points::Raw { .. } => {
                self.extend_raw(at, value);
                true
            }
            Points::Stale => false,
        };
        if extended {
            self.last_at = at;
        }
        extended
    }

    pub(super) fn extend_raw(&mut self, at: i64, value: f64) {
        if let Points::Raw { times, values, blocks, extremes, through } = &mut self.points {
            match extremes.last_mut().filter(|_| !values.len().is_multiple_of(BLOCK)) {
                Some((least, greatest)) => (*least, *greatest) = (least.min(value), greatest.max(value)),
                None => {
                    blocks.push(*through);
                    extremes.push((value, value));
                }
            }
            let previous = values.last().copied().unwrap_or(value);
            through.add(value, if value < previous { previous } else { 0.0 });
            times.push(at);
            values.push(value);
        }
    }

    /// Totals over all samples before `index`.
    pub(super) fn totals_before(&self, index: usize) -> Totals {
        match &self.points {
            Points::Line { first, increment, .. } => {
                let mut totals = self.before;
                totals.add_line(index, *first, *increment, self.entry_drop);
                totals
            }
            Points::Raw { values, blocks, through, .. } => {
                let block = index / BLOCK;
                let Some(start) = blocks.get(block) else { return *through };
                let mut totals = *start;
                for (at, value) in values.iter().enumerate().take(index).skip(block * BLOCK) {
                    totals.add(*value, self.drop_at(at));
                }
                totals
            }
            Points::Stale => self.before,
        }
    }

    /// Totals before the block of sample `index`, and through the end of that block.
    pub(super) fn around(&self, index: usize) -> (&Totals, &Totals) {
        match &self.points {
            Points::Raw { blocks, through, .. } => {
                let block = index / BLOCK;
                (blocks.get(block).unwrap_or(through), blocks.get(block + 1).unwrap_or(through))
            }
            Points::Line { .. } | Points::Stale => (&self.before, &self.before),
        }
    }

    /// What resets took away up to and including sample `index`. Nearly always no reset lies in its block, and then
    /// nothing is walked over.
    pub(super) fn drops_through(&self, index: usize) -> Compensated {
        let (start, end) = self.around(index);
        let mut drops = start.drops;
        match &self.points {
            Points::Raw { .. } if start.drops == end.drops => {}
            Points::Raw { .. } => {
                let walked = index / BLOCK * BLOCK..=index;
                walked
                    .map(|at| self.drop_at(at))
                    .filter(|drop| drop.is_finite())
                    .for_each(|drop| drops.add(drop));
            }
            Points::Line { .. } if self.entry_drop.is_finite() => drops.add(self.entry_drop),
            Points::Line { .. } | Points::Stale => {}
        }
        drops
    }

    /// Totals over all samples up to and including `index`.
    pub(super) fn totals_through(&self, index: usize) -> Totals {
        let mut totals = self.totals_before(index);
        totals.add(self.value(index), self.drop_at(index));
        totals
    }

    /// What a counter reset just before sample `index` took away; 0 if there was none.
    pub(super) fn drop_at(&self, index: usize) -> f64 {
        match &self.points {
            _ if index == 0 => self.entry_drop,
            Points::Raw { values, .. } => match values[index].partial_cmp(&values[index - 1]) {
                Some(Ordering::Less) => values[index - 1],
                _ => 0.0,
            },
            Points::Line { .. } | Points::Stale => 0.0,
        }
    }

    /// The least and the greatest value from sample `first` through `last`; NaN only if there is nothing else.
    pub(super) fn extremes(&self, first: usize, last: usize) -> (f64, f64) {
        let Points::Raw { values, extremes, .. } = &self.points else {
            // A line does not fall.
            return (self.value(first), self.value(last));
        };
        let widen =
            |(least, greatest): (f64, f64), (a, b): (f64, f64)| (f64::min(least, a), f64::max(greatest, b));
        let of_values = |from: usize, until: usize| {
            values[from..until]
                .iter()
                .fold((f64::NAN, f64::NAN), |found, value| widen(found, (*value, *value)))
        };
        let (first_block, end_block) = (first.div_ceil(BLOCK), (last + 1) / BLOCK);
        if first_block >= end_block {
            return of_values(first, last + 1);
        }
        let ends = widen(of_values(first, first_block * BLOCK), of_values(end_block * BLOCK, last + 1));
        extremes[first_block..end_block].iter().fold(ends, |found, block| widen(found, *block))
    }

    pub(super) fn point(&self, index: usize) -> Point {
        Point { at: Millis(self.time(index)), value: self.value(index), reset: index == 0 && self.reset }
    }

    pub(super) fn bytes(&self) -> usize {
        let points = match &self.points {
            Points::Raw { times, values, blocks, extremes, .. } => {
                times.capacity() * 8
                    + values.capacity() * 8
                    + blocks.capacity() * size_of::<Totals>()
                    + extremes.capacity() * 16
            }
            Points::Line { .. } | Points::Stale => 0,
        };
        points + size_of::<Run>()
    }
}

/// Index of the first time not before `wanted`. Scrapes are evenly spaced, so a guess nearly always hits.
pub(super) fn first_not_before(times: &[i64], wanted: i64) -> usize {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0 };
    if wanted > *first && wanted <= *last {
        let share = (wanted - first) as f64 / (last - first) as f64;
        let guess = (share * (times.len() - 1) as f64).ceil() as usize;
        for index in guess.saturating_sub(1).max(1)..(guess + 2).min(times.len()) {
            if times[index - 1] < wanted && wanted <= times[index] {
                return index;
            }
        }
    }
    times.partition_point(|time| *time < wanted)
}
