//! The bare protocol of the runs against peers, small enough to be written for each library alike.
//!
//! Binary messages. `echo`: each is answered with itself. `route`: a message of 4 bytes registers its connection under that
//! number (little endian) and is answered with itself; a longer one goes to the connection whose number it begins with, and
//! its sender gets these 4 bytes back as confirmation. `fanout`: connections register in the same way, one of them as
//! [`SENDER`]; a longer message goes to all that are registered and not to the sender, and is not confirmed.

/// Registers as one who sends to all and receives nothing.
pub const SENDER: u32 = u32::MAX;

/// What a server does with messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Back to where it came from.
    Echo,
    /// To one connection, and a confirmation back.
    Route,
    /// To all.
    Fanout,
}

impl Mode {
    /// As it is written on command lines.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Echo => "echo",
            Mode::Route => "route",
            Mode::Fanout => "fanout",
        }
    }
}

/// A server's command line: mode, port on 127.0.0.1, and whether each message is flushed, for those that can be told so. `None`: it
/// is another, and was complained about.
pub fn arguments() -> Option<(Mode, u16, bool)> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let parsed = match arguments.as_slice() {
        [mode, port, ..] => [Mode::Echo, Mode::Route, Mode::Fanout]
            .into_iter()
            .find(|known| known.name() == mode)
            .zip(port.parse().ok()),
        _ => None,
    };
    if parsed.is_none() {
        eprintln!("usage: (echo | route | fanout) PORT [each]");
    }
    parsed.map(|(mode, port)| (mode, port, arguments.get(2).is_some_and(|how| how == "each")))
}
