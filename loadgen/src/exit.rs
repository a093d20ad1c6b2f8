//! How a run ends, as exit codes. k6's where k6 has one.

/// All expectations held.
pub const PASSED: u8 = 0;
/// The tool itself failed.
pub const FAILED: u8 = 1;
/// Wrong command line.
pub const USAGE: u8 = 2;
/// The scenario or its rules are invalid; nothing was started.
pub const INVALID: u8 = 104;
/// Stopped by a signal; the report is complete up to then.
pub const INTERRUPTED: u8 = 105;
/// The environment does not allow the run; nothing was started, or no load was put on.
pub const REFUSED: u8 = 113;
