//! Names that many have in common, kept once.

use super::SeededState;
use std::sync::Arc;

/// A table of this many names; one that is not in it takes the place of another.
const PLACES: usize = 256;

/// The names of devices seen last: most clients of a gateway are `phone`, `web` or `default`.
///
/// Bounded whatever clients call themselves: a name that is not found costs what it would without this.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<Option<Arc<str>>>);

impl Names {
    /// The name, shared with others who have it where that is known.
    pub(super) fn shared(&mut self, name: &str, hasher: &SeededState) -> Arc<str> {
        self.0.resize(PLACES, None);
        let place = &mut self.0[hasher.hash_one(name) as usize % PLACES];
        match place {
            Some(known) if **known == *name => Arc::clone(known),
            _ => Arc::clone(place.insert(name.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_name_is_kept_once_and_uncommon_ones_are_bounded() {
        let (mut names, hasher) = (Names::default(), SeededState::with_seeds(1, 2, 3, 4));
        let phone = names.shared("phone", &hasher);
        assert!(Arc::ptr_eq(&phone, &names.shared("phone", &hasher)));
        let others: Vec<_> = (0..10 * PLACES).map(|n| names.shared(&n.to_string(), &hasher)).collect();
        assert!(others.iter().enumerate().all(|(n, name)| **name == *n.to_string()));
        assert!(others.iter().filter(|name| Arc::strong_count(name) > 1).count() <= PLACES);
    }
}
