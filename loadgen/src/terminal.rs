//! What standard output and error are, and what may be written to them.

use std::io::{ErrorKind, IsTerminal, Write as _};

/// Width of reports that no terminal shows.
const COLUMNS_ELSEWHERE: usize = 140;
/// Narrower than this a report is wrapped by the terminal rather than by us.
const COLUMNS_MIN: usize = 60;

/// Whether colours are wanted: on a terminal that has them, unless NO_COLOR says otherwise.
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb
}

/// Columns of standard output, as far as a report makes use of them.
pub fn columns() -> usize {
    match rustix::termios::tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col).clamp(COLUMNS_MIN, COLUMNS_ELSEWHERE),
        _ => COLUMNS_ELSEWHERE,
    }
}

/// Text on standard output. A reader that has gone away (`| head`) has had what it wanted; any other failure is said.
pub fn print(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => true,
        Err(error) => {
            tell(&format!("error: cannot write to standard output: {error}"));
            false
        }
    }
}

/// A line on standard error. Nobody may be reading it: a drill does not end for that.
pub fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
