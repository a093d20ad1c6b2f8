//! What a connection speaks: WebSocket once both sides have said so, else bytes.

use super::Way;
use wire::http::{Request, Response};

/// What is known of it.
#[derive(Debug)]
pub(super) enum Protocol {
    /// The client has not said all of its request, or the server of its answer.
    Unknown(Box<Heads>),
    /// Frames follow, in both ways.
    WebSocket,
    /// Bytes of which nothing is known.
    Plain,
}

/// The heads as far as they have come. They have passed; this is a copy to look at.
#[derive(Debug, Default)]
pub(super) struct Heads {
    is_asked: bool,
    head: Vec<u8>,
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol::Unknown(Box::default())
    }
}

/// What bytes turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// So many at their front are no frames.
    pub(super) plain: usize,
    /// An upgrade was agreed with this; compressed messages may depend on those before.
    pub(super) upgraded: Option<bool>,
}

impl Protocol {
    /// Whether the client is still asking: these are the first bytes that it sends.
    pub(super) fn is_asking(&self) -> bool {
        matches!(self, Protocol::Unknown(heads) if !heads.is_asked)
    }

    pub(super) fn is_websocket(&self) -> bool {
        matches!(self, Protocol::WebSocket)
    }

    /// Bytes have come.
    pub(super) fn see(&mut self, way: Way, bytes: &[u8]) -> Seen {
        let Protocol::Unknown(heads) = self else {
            return Seen { plain: if self.is_websocket() { 0 } else { bytes.len() }, upgraded: None };
        };
        let (mut plain, mut upgraded) = (bytes.len(), None);
        match heads.see(way, bytes) {
            Next::Unknown => {}
            Next::Plain => *self = Protocol::Plain,
            Next::Frames { from, has_context } => {
                (plain, upgraded) = (from, Some(has_context));
                *self = Protocol::WebSocket;
            }
        }
        Seen { plain, upgraded }
    }
}

enum Next {
    Unknown,
    Plain,
    /// Frames begin at this byte of what has come.
    Frames {
        from: usize,
        has_context: bool,
    },
}

impl Heads {
    fn see(&mut self, way: Way, bytes: &[u8]) -> Next {
        // Who speaks out of turn, or sends a body, speaks no WebSocket.
        if (way == Way::Up) == self.is_asked {
            return Next::Plain;
        }
        let had = self.head.len();
        self.head.extend_from_slice(bytes);
        match way {
            Way::Up => self.request(),
            Way::Down => self.answer(had),
        }
    }

    fn request(&mut self) -> Next {
        let is_upgrade = match Request::parse(&self.head) {
            Ok(Some(request)) => {
                request.head_bytes == self.head.len() && request.has_token("upgrade", "websocket")
            }
            Ok(None) => return Next::Unknown,
            Err(_) => false,
        };
        self.head = Vec::new();
        self.is_asked = is_upgrade;
        if is_upgrade { Next::Unknown } else { Next::Plain }
    }

    fn answer(&mut self, had: usize) -> Next {
        match Response::parse(&self.head) {
            Ok(Some(answer)) if answer.status == 101 => {
                let extensions: Vec<&str> = answer.headers("sec-websocket-extensions").collect();
                let says = |word: &str| extensions.iter().any(|list| list.contains(word));
                let keeps_none = says("server_no_context_takeover") && says("client_no_context_takeover");
                let has_context = !extensions.is_empty() && !keeps_none;
                Next::Frames { from: answer.head_bytes - had, has_context }
            }
            Ok(Some(_)) | Err(_) => Next::Plain,
            Ok(None) => Next::Unknown,
        }
    }
}
