//! A part of something numerous that few of them need at a time: of sessions, users, connections.

use std::ops::{Deref, DerefMut};
use wire::time::Time;

/// What a [`Rare`] holds.
pub(crate) trait Part: Sized + 'static {
    /// What it is while nobody needs it.
    const NEW: Self;

    /// The same, to be read.
    const IDLE: &'static Self;

    /// Whether it may be given up.
    fn is_idle(&self, now: Time) -> bool;
}

/// A part that takes a pointer's room until it is first written to, and again after [`Rare::rest`].
///
/// Borrowing it mutably counts as writing to it.
#[derive(Debug)]
pub(crate) struct Rare<T>(Option<Box<T>>);

impl<T> Default for Rare<T> {
    fn default() -> Rare<T> {
        Rare(None)
    }
}

impl<T: Part> Rare<T> {
    /// Whether it has been written to.
    pub(crate) fn is_held(&self) -> bool {
        self.0.is_some()
    }

    /// Gives its memory up if it is idle.
    pub(crate) fn rest(&mut self, now: Time) {
        if self.0.as_ref().is_some_and(|part| part.is_idle(now)) {
            self.0 = None;
        }
    }

    /// Takes it out and leaves it idle.
    pub(crate) fn take(&mut self) -> T {
        self.0.take().map_or(T::NEW, |part| *part)
    }
}

impl<T: Part> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::IDLE)
    }
}

impl<T: Part> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_with(|| Box::new(T::NEW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Part for Vec<u8> {
        const NEW: Vec<u8> = Vec::new();
        const IDLE: &'static Vec<u8> = &Self::NEW;

        fn is_idle(&self, _: Time) -> bool {
            self.is_empty()
        }
    }

    #[test]
    fn holds_memory_only_while_it_is_needed() {
        let mut part = Rare::<Vec<u8>>::default();
        assert!(part.is_empty() && !part.is_held(), "reading takes nothing");
        part.push(7);
        part.rest(Time(0));
        assert_eq!((&**part, part.is_held()), (&[7][..], true));
        assert_eq!((part.take(), part.is_held()), (vec![7], false));
        part.push(8);
        part.clear();
        part.rest(Time(0));
        assert!(!part.is_held());
    }
}
