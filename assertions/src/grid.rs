//! Scrapes to samples on the grid of rule time: one path for real and stretched runs.
//!
//! A scrape is stamped with its slot of rule time. Between two scrapes rule time passed `stretch` times faster than the
//! wall clock, so counters grow by that factor; everything else passes unchanged. What Prometheus adds by itself
//! (`up`, `scrape_*`, job and instance, stale markers) is added here. One grid is one target.

use crate::exposition::{FamilyType, Sample};
use crate::labels::Labels;
use crate::series::stale_marker;
use crate::store::{METRIC_NAME, SeriesId, Store};
use crate::time::Millis;
use rustc_hash::FxHashMap;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

mod history;

pub use history::{HistoryError, HistoryPlan};

/// A scrape, as it ended.
#[derive(Debug, Clone, Copy)]
pub struct Scrape<'t> {
    /// Its slot in rule time.
    pub at: Millis,
    /// How much faster than the wall clock rule time passed since the scrape before; 1 in a real run.
    pub stretch: f64,
    /// How long it took, on the wall.
    pub duration: Duration,
    /// What came back.
    pub outcome: Outcome<'t>,
}

/// What came back from a scrape.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'t> {
    /// The exposition's samples.
    Answered(&'t [Sample<'t>]),
    /// Nothing, an error, or text that cannot be read.
    Failed,
}

/// What recording a scrape did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Slots since the scrape before in which none was recorded: gaps in every series.
    pub missed_slots: u64,
    /// Series seen for the first time.
    pub newborn: usize,
    /// Samples of a series that the scrape had named already; the first counts.
    pub repeated: usize,
}

/// A scrape that is not after the one before, or has an impossible stretch.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum GridError {
    #[error("the scrape at {} ms is not after the one at {} ms", at.0, newest.0)]
    OutOfOrder { at: Millis, newest: Millis },
    #[error("rule time cannot pass {0} times as fast as the wall clock")]
    Stretch(f64),
}

/// One target's series on the grid; it writes to one store only.
#[derive(Debug, Clone)]
pub struct Grid {
    job: String,
    instance: String,
    interval: Duration,
    /// In the order of their birth.
    tracked: Vec<Tracked>,
    by_labels: FxHashMap<Labels, usize>,
    /// The samples of the last scrape, in its order: the next one hardly ever differs.
    recent: Vec<Recent>,
    /// The series Prometheus adds, once they are born.
    own: Option<[SeriesId; 5]>,
    /// Scrapes recorded, failed ones too; 0 is the history.
    scrapes: u64,
    newest: Option<Millis>,
    /// Rule and wall time since the last scrape that succeeded, seconds.
    rule_passed: f64,
    wall_passed: f64,
    missed_slots: u64,
}

/// A series of the target.
#[derive(Debug, Clone, Copy)]
struct Tracked {
    id: SeriesId,
    /// The target's own last number.
    raw: f64,
    /// The last value stored.
    stored: f64,
    /// No stretch or history ever moved it off the target's own numbers.
    plain: bool,
    /// The last scrape that had it.
    seen: u64,
}

/// A sample's names as scraped, and the series that they mean.
#[derive(Debug, Clone)]
struct Recent {
    name: String,
    labels: Vec<(String, String)>,
    tracked: usize,
}

/// Where a sample belongs.
enum Place {
    /// An index of the tracked series.
    Known(usize),
    /// A series that is not tracked yet.
    New(Labels),
}

impl Recent {
    fn is_of(&self, sample: &Sample<'_>) -> bool {
        let same = self
            .labels
            .iter()
            .zip(&sample.labels)
            .all(|(ours, theirs)| ours.0 == theirs.0 && ours.1 == theirs.1);
        self.name == sample.name && self.labels.len() == sample.labels.len() && same
    }
}

/// The histogram or summary a counter-like sample is part of.
type FamilyKey = (String, Labels);

impl Grid {
    /// A grid of one target, without samples. `interval` is the scrape interval in rule time.
    pub fn new(job: &str, instance: &str, interval: Duration) -> Grid {
        Grid {
            job: job.to_string(),
            instance: instance.to_string(),
            interval,
            tracked: Vec::new(),
            by_labels: FxHashMap::default(),
            recent: Vec::new(),
            own: None,
            scrapes: 0,
            newest: None,
            rule_passed: 0.0,
            wall_passed: 0.0,
            missed_slots: 0,
        }
    }

    /// Slots without a scrape so far.
    pub fn missed_slots(&self) -> u64 {
        self.missed_slots
    }

    /// Records a scrape. Errors: it is not after the one before, or the stretch is no positive number.
    pub fn record(&mut self, store: &mut Store, scrape: &Scrape<'_>) -> Result<Recorded, GridError> {
        if !(scrape.stretch.is_finite() && scrape.stretch > 0.0) {
            return Err(GridError::Stretch(scrape.stretch));
        }
        let mut recorded = Recorded { missed_slots: self.pass(scrape)?, ..Recorded::default() };
        self.missed_slots += recorded.missed_slots;
        let samples = match scrape.outcome {
            Outcome::Answered(samples) => samples,
            Outcome::Failed => &[],
        };
        self.scrapes += 1;
        self.samples(store, scrape.at, samples, &mut recorded);
        self.end_missing(store, scrape.at);
        let up = matches!(scrape.outcome, Outcome::Answered(_));
        self.own_series(store, scrape, up, samples.len() - recorded.repeated, recorded.newborn);
        if up {
            (self.rule_passed, self.wall_passed) = (0.0, 0.0);
        }
        Ok(recorded)
    }

    /// Lets time pass up to a scrape; the number of slots missed on the way.
    fn pass(&mut self, scrape: &Scrape<'_>) -> Result<u64, GridError> {
        let Some(newest) = self.newest.replace(scrape.at) else { return Ok(0) };
        if scrape.at <= newest {
            self.newest = Some(newest);
            return Err(GridError::OutOfOrder { at: scrape.at, newest });
        }
        let passed = scrape.at.since(newest);
        self.rule_passed += passed.as_secs_f64();
        self.wall_passed += passed.as_secs_f64() / scrape.stretch;
        let slots = passed.as_millis() / self.interval.as_millis().max(1);
        Ok(u64::try_from(slots).unwrap_or(u64::MAX).saturating_sub(1))
    }

    /// The stretch since the last successful scrape: where failed scrapes lie in between and it changed, the mean.
    fn stretch(&self) -> f64 {
        if self.wall_passed > 0.0 { self.rule_passed / self.wall_passed } else { 1.0 }
    }

    /// Where the sample at `index` of a scrape belongs: targets tell the same series in the same order, so a comparison
    /// with the scrape before nearly always replaces making and looking up a label set.
    fn place(&mut self, index: usize, sample: &Sample<'_>) -> Place {
        if let Some(recent) = self.recent.get(index).filter(|recent| recent.is_of(sample)) {
            return Place::Known(recent.tracked);
        }
        let labels = self.labels_of(sample);
        match self.by_labels.get(&labels) {
            Some(tracked) => {
                let tracked = *tracked;
                self.remember(index, sample, tracked);
                Place::Known(tracked)
            }
            None => Place::New(labels),
        }
    }

    fn remember(&mut self, index: usize, sample: &Sample<'_>, tracked: usize) {
        let labels =
            sample.labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let recent = Recent { name: sample.name.to_string(), labels, tracked };
        match index.cmp(&self.recent.len()) {
            Ordering::Less => self.recent[index] = recent,
            Ordering::Equal => self.recent.push(recent),
            // One before it in this scrape has no place yet; the next scrape will have one for both.
            Ordering::Greater => {}
        }
    }

    fn samples(&mut self, store: &mut Store, at: Millis, samples: &[Sample<'_>], recorded: &mut Recorded) {
        let placed: Vec<Place> =
            samples.iter().enumerate().map(|(index, sample)| self.place(index, sample)).collect();
        let resets = self.family_resets(&placed, samples);
        let stretch = self.stretch();
        for (index, (place, sample)) in placed.into_iter().zip(samples).enumerate() {
            let family_reset = !resets.is_empty()
                && sample.is_counter_like()
                && family_key(sample).is_some_and(|key| resets.contains(&key));
            let known = match place {
                Place::Known(tracked) => Some(tracked),
                // A sample before it in this scrape may be of the same series.
                Place::New(ref labels) => self.by_labels.get(labels).copied(),
            };
            match (known, place) {
                (Some(known), _) => {
                    let tracked = &mut self.tracked[known];
                    if tracked.seen == self.scrapes {
                        recorded.repeated += 1;
                    } else {
                        tracked.seen = self.scrapes;
                        tracked.advance(store, at, sample, stretch, family_reset);
                    }
                }
                (None, Place::New(labels)) => {
                    recorded.newborn += 1;
                    let born = self.birth(store, at, labels, sample.value);
                    self.remember(index, sample, born);
                }
                (None, Place::Known(_)) => {}
            }
        }
    }

    fn birth(&mut self, store: &mut Store, at: Millis, labels: Labels, raw: f64) -> usize {
        let id = store.series_id(&labels);
        // Refused only if the caller wrote to the target's series; what is there counts.
        store.samples_mut(id).push(at, raw).ok();
        let born = self.tracked.len();
        self.by_labels.insert(labels, born);
        self.tracked.push(Tracked { id, raw, stored: raw, plain: true, seen: self.scrapes });
        born
    }

    /// The labels of a sample as stored; the target's own job and instance give way, as with `honor_labels: false`.
    fn labels_of(&self, sample: &Sample<'_>) -> Labels {
        let clashes = |name: &str| name == "job" || name == "instance";
        let own = sample.labels.iter().map(|(name, value)| match clashes(name) {
            true => (format!("exported_{name}"), value.to_string()),
            false => (name.to_string(), value.to_string()),
        });
        let added = [
            ("job".to_string(), self.job.clone()),
            ("instance".to_string(), self.instance.clone()),
            (METRIC_NAME.to_string(), sample.name.to_string()),
        ];
        Labels::from_pairs(own.chain(added))
    }

    /// Histograms and summaries whose `_count` fell: all of their series were reset together.
    fn family_resets(&self, placed: &[Place], samples: &[Sample<'_>]) -> BTreeSet<FamilyKey> {
        let fell = |(place, sample): &(&Place, &Sample<'_>)| match place {
            Place::Known(tracked) => {
                sample.value < self.tracked[*tracked].raw && sample.name.ends_with("_count")
            }
            Place::New(_) => false,
        };
        placed.iter().zip(samples).filter(fell).filter_map(|(_, sample)| family_key(sample)).collect()
    }

    /// Stale markers for series that were in the scrape before and are not in this one.
    fn end_missing(&mut self, store: &mut Store, at: Millis) {
        let before = self.scrapes - 1;
        for tracked in self.tracked.iter().filter(|tracked| tracked.seen == before) {
            store.samples_mut(tracked.id).push(at, stale_marker()).ok();
        }
    }

    /// The series that Prometheus adds to every scrape, failed ones too.
    fn own_series(
        &mut self,
        store: &mut Store,
        scrape: &Scrape<'_>,
        up: bool,
        samples: usize,
        newborn: usize,
    ) {
        let values = own_values(up, scrape.duration, samples, newborn);
        let ids = self.own_ids(store);
        for (id, (_, value)) in ids.into_iter().zip(values) {
            store.samples_mut(id).push(scrape.at, value).ok();
        }
    }

    fn own_ids(&mut self, store: &mut Store) -> [SeriesId; 5] {
        if let Some(ids) = self.own {
            return ids;
        }
        let ids =
            own_values(true, Duration::ZERO, 0, 0).map(|(name, _)| store.series_id(&self.own_labels(name)));
        self.own = Some(ids);
        ids
    }

    fn own_labels(&self, name: &str) -> Labels {
        Labels::from_pairs([(METRIC_NAME, name), ("job", &self.job), ("instance", &self.instance)])
    }
}

/// `up` and its kin, as Prometheus names them.
fn own_values(up: bool, duration: Duration, samples: usize, newborn: usize) -> [(&'static str, f64); 5] {
    [
        ("up", f64::from(u8::from(up))),
        ("scrape_duration_seconds", duration.as_secs_f64()),
        ("scrape_samples_scraped", samples as f64),
        ("scrape_samples_post_metric_relabeling", samples as f64),
        ("scrape_series_added", newborn as f64),
    ]
}

fn family_key(sample: &Sample<'_>) -> Option<FamilyKey> {
    if !matches!(sample.family, FamilyType::Histogram | FamilyType::Summary) {
        return None;
    }
    let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| sample.name.strip_suffix(suffix))?;
    let shared = sample.labels.iter().filter(|(name, _)| name != "le" && name != "quantile");
    Some((base.to_string(), Labels::from_pairs(shared.map(|(name, value)| (&**name, &**value)))))
}

impl Tracked {
    /// Stores the next sample of a known series.
    fn advance(
        &mut self,
        store: &mut Store,
        at: Millis,
        sample: &Sample<'_>,
        stretch: f64,
        family_reset: bool,
    ) {
        let raw = sample.value;
        let series = store.samples_mut(self.id);
        let moved = sample.is_counter_like() && !(self.plain && stretch == 1.0);
        let pushed = if !moved {
            // As Prometheus has it: the target's own numbers, resets to be seen in them.
            self.stored = raw;
            series.push(at, raw)
        } else if family_reset || raw < self.raw {
            // Counted from zero since the restart; marked, since the stretched number need not be lower.
            self.plain = false;
            self.stored = stretch * raw;
            series.push_reset(at, self.stored)
        } else {
            self.plain = false;
            self.stored += stretch * (raw - self.raw);
            series.push(at, self.stored)
        };
        self.raw = raw;
        // Refused only if the caller wrote to the target's series; what is there counts.
        pushed.ok();
    }
}

#[cfg(test)]
mod tests;
