//! Consecutive samples kept the same way: a line, a list, or a marker.

use super::extremes::Extremes;
use super::times::Times;
use super::totals::{Compensated, Totals};
use super::work::look;
use super::{Point, stale_marker};
use crate::time::Millis;
use std::cmp::Ordering;

/// Samples between two stored totals.
pub(super) const BLOCK: usize = 64;

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
    /// Every sample.
    Raw(Raw),
    /// A stale marker.
    Stale,
}

/// Every sample, and of each `BLOCK` what windows need of it.
#[derive(Debug, Clone)]
pub(super) struct Raw {
    pub(super) times: Times,
    values: Vec<f64>,
    /// The totals before each block.
    blocks: Vec<Totals>,
    extremes: Extremes,
    /// The totals through the last sample.
    through: Totals,
    /// No sample behind this index is a counter's reset, infinite or NaN.
    unbroken_from: usize,
}

impl Raw {
    /// One sample; `before` are the totals before it, `drop` what a reset just before it took away.
    pub(super) fn one(at: i64, value: f64, before: Totals, drop: f64) -> Raw {
        let mut through = before;
        through.add(value, drop);
        Raw {
            times: Times::one(at),
            values: vec![value],
            blocks: vec![before],
            extremes: Extremes::default(),
            through,
            unbroken_from: 0,
        }
    }

    /// Takes one more sample. Refuses one that comes out of turn after many evenly spaced ones: it begins a run.
    fn extend(&mut self, at: i64, value: f64) -> bool {
        if !self.times.extend(at, BLOCK) {
            return false;
        }
        let index = self.values.len();
        if index.is_multiple_of(BLOCK) {
            self.blocks.push(self.through);
        }
        let previous = self.values.last().copied().unwrap_or(value);
        let drop = if value < previous { previous } else { 0.0 };
        if drop != 0.0 || !value.is_finite() {
            self.unbroken_from = index;
        }
        self.through.add(value, drop);
        self.values.push(value);
        self.extremes.extend(&self.values);
        true
    }

    fn bytes(&self) -> usize {
        self.times.bytes()
            + self.values.capacity() * size_of::<f64>()
            + self.blocks.capacity() * size_of::<Totals>()
            + self.extremes.bytes()
    }
}

impl Run {
    /// Number of samples; a stale marker is none.
    pub(super) fn len(&self) -> usize {
        match &self.points {
            Points::Line { count, .. } => *count,
            Points::Raw(raw) => raw.values.len(),
            Points::Stale => 0,
        }
    }

    pub(super) fn time(&self, index: usize) -> i64 {
        match &self.points {
            Points::Line { step, .. } => self.first_at + step * index as i64,
            Points::Raw(raw) => raw.times.at(index),
            Points::Stale => self.first_at,
        }
    }

    pub(super) fn value(&self, index: usize) -> f64 {
        look(1);
        match &self.points {
            Points::Line { first, increment, .. } => first + increment * index as f64,
            Points::Raw(raw) => raw.values[index],
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
            Points::Raw(raw) => raw.times.first_not_before(from),
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
            Points::Raw(raw) => raw.times.first_not_before(until + 1).checked_sub(1),
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
            Points::Raw(raw) => raw.extend(at, value),
            Points::Stale => false,
        };
        if extended {
            self.last_at = at;
        }
        extended
    }

    /// Totals over all samples before `index`.
    pub(super) fn totals_before(&self, index: usize) -> Totals {
        match &self.points {
            Points::Line { first, increment, .. } => {
                let mut totals = self.before;
                totals.add_line(index, *first, *increment, self.entry_drop);
                totals
            }
            Points::Raw(raw) => {
                let block = index / BLOCK;
                let Some(start) = raw.blocks.get(block) else { return raw.through };
                let mut totals = *start;
                (block * BLOCK..index).for_each(|at| totals.add(self.value(at), self.drop_at(at)));
                totals
            }
            Points::Stale => self.before,
        }
    }

    /// Totals before the block of sample `index`, and through the end of that block.
    pub(super) fn around(&self, index: usize) -> (&Totals, &Totals) {
        match &self.points {
            Points::Raw(Raw { blocks, through, .. }) => {
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
            Points::Raw(_) if start.drops == end.drops => {}
            Points::Raw(_) => {
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

    /// Whether no sample behind `index` is a counter's reset, infinite or NaN.
    pub(super) fn is_unbroken_from(&self, index: usize) -> bool {
        match &self.points {
            Points::Raw(raw) => index >= raw.unbroken_from,
            Points::Line { .. } => true,
            Points::Stale => false,
        }
    }

    /// What a counter reset just before sample `index` took away; 0 if there was none.
    pub(super) fn drop_at(&self, index: usize) -> f64 {
        match &self.points {
            _ if index == 0 => self.entry_drop,
            Points::Raw(Raw { values, .. }) => {
                look(1);
                match values[index].partial_cmp(&values[index - 1]) {
                    Some(Ordering::Less) => values[index - 1],
                    _ => 0.0,
                }
            }
            Points::Line { .. } | Points::Stale => 0.0,
        }
    }

    /// The least and the greatest value from sample `first` through `last`; NaN only if there is nothing else.
    pub(super) fn extremes(&self, first: usize, last: usize) -> (f64, f64) {
        match &self.points {
            Points::Raw(raw) => raw.extremes.between(&raw.values, first, last + 1),
            // A line does not fall.
            Points::Line { .. } | Points::Stale => (self.value(first), self.value(last)),
        }
    }

    pub(super) fn point(&self, index: usize) -> Point {
        Point { at: Millis(self.time(index)), value: self.value(index), reset: index == 0 && self.reset }
    }

    pub(super) fn bytes(&self) -> usize {
        let points = match &self.points {
            Points::Raw(raw) => raw.bytes(),
            Points::Line { .. } | Points::Stale => 0,
        };
        points + size_of::<Run>()
    }
}
