//! All series of a run, found by metric name.

use crate::labels::Labels;
use crate::series::{OutOfOrder, Series};
use crate::time::Millis;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The label that holds the metric's name.
pub const METRIC_NAME: &str = "__name__";

/// A series of a [`Store`]; valid for the store that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeriesId(usize);

/// A series and its names.
#[derive(Debug, Clone)]
pub struct Named {
    /// All labels, [`METRIC_NAME`] included.
    pub labels: Labels,
    /// All labels but [`METRIC_NAME`]: what most functions answer with.
    pub unnamed: Labels,
    /// The samples.
    pub samples: Series,
}

/// Series in the order in which they were born.
///
/// The maps hash with a fixed key (rustc-hash): the same input gives the same run, and label sets come from
/// the operators' own target, not from strangers.
#[derive(Debug, Clone, Default)]
pub struct Store {
    series: Vec<Named>,
    by_labels: FxHashMap<Labels, SeriesId>,
    by_name: FxHashMap<Arc<str>, Vec<SeriesId>>,
}

impl Store {
    /// A store without series.
    pub fn new() -> Store {
        Store::default()
    }

    /// The series with these labels ([`METRIC_NAME`] among them), born now if need be.
    pub fn series_id(&mut self, labels: &Labels) -> SeriesId {
        if let Some(id) = self.by_labels.get(labels) {
            return *id;
        }
        let id = SeriesId(self.series.len());
        self.by_labels.insert(labels.clone(), id);
        self.by_name.entry(Arc::from(labels.get(METRIC_NAME))).or_default().push(id);
        self.series.push(Named {
            labels: labels.clone(),
            unnamed: labels.filter(|name| name != METRIC_NAME),
            samples: Series::default(),
        });
        id
    }

    /// The series with these labels, if it was ever born.
    pub fn find(&self, labels: &Labels) -> Option<SeriesId> {
        self.by_labels.get(labels).copied()
    }

    /// Adds a sample to the series with these labels. Errors: not newer than its newest.
    pub fn append(&mut self, labels: &Labels, at: Millis, value: f64) -> Result<(), OutOfOrder> {
        let id = self.series_id(labels);
        self.samples_mut(id).push(at, value)
    }

    /// A series and its names.
    pub fn get(&self, id: SeriesId) -> &Named {
        &self.series[id.0]
    }

    /// The samples of a series, to add to.
    pub fn samples_mut(&mut self, id: SeriesId) -> &mut Series {
        &mut self.series[id.0].samples
    }

    /// The series of one metric, in the order of their birth.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &Named> {
        self.by_name.get(name).map(Vec::as_slice).unwrap_or_default().iter().map(|id| &self.series[id.0])
    }

    /// All series, in the order of their birth.
    pub fn all(&self) -> impl Iterator<Item = &Named> {
        self.series.iter()
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether no series was ever born.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Bytes held by samples.
    pub fn bytes(&self) -> usize {
        self.series.iter().map(|named| named.samples.bytes()).sum()
    }
}
