//! How many samples and totals were looked at: in tests only, so that they can tell a window that is looked up from one that is
//! walked over on any machine, however busy.

#[cfg(test)]
thread_local! {
    static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Notes that `count` samples or totals are looked at; nothing outside of tests.
#[inline(always)]
pub(super) fn look(count: usize) {
    #[cfg(test)]
    LOOKED_AT.with(|looked_at| looked_at.set(looked_at.get() + count));
    #[cfg(not(test))]
    let _ = count;
}

/// How many this thread looked at while `body` ran.
#[cfg(test)]
pub(crate) fn looked_at(body: impl FnOnce()) -> usize {
    let before = LOOKED_AT.with(std::cell::Cell::get);
    body();
    LOOKED_AT.with(std::cell::Cell::get) - before
}
