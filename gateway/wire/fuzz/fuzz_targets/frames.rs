//! No bytes make an endpoint panic, and how they are cut into reads changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::ws::deflate::Inflater;
use wire::ws::endpoint::{Endpoint, Event, Role, Violation};
use wire::ws::extension::Deflate;

const MESSAGE_BYTES_MAX: usize = 4096;

/// The messages, and how it ended, when the bytes come in pieces of `piece` bytes.
fn read(role: Role, deflate: Option<Deflate>, piece: usize, bytes: &[u8]) -> (Vec<String>, Option<Violation>) {
    let mut endpoint = Endpoint::with_deflate(role, deflate);
    let mut inflater = Inflater::default();
    let (mut events, mut shown) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        shown.extend_from_slice(piece);
        let mut at = 0;
        loop {
            match endpoint.next_inflated(&mut shown[at..], MESSAGE_BYTES_MAX, &mut inflater) {
                Ok(Some((event, taken))) => {
                    at += taken;
                    let is_close = matches!(event, Event::Close(_));
                    if event != Event::Fragment {
                        events.push(format!("{event:?}"));
                    }
                    if is_close {
                        return (events, None);
                    }
                }
                Ok(None) => break,
                Err(violation) => return (events, Some(violation)),
            }
        }
        shown.drain(..at);
    }
    (events, None)
}

fuzz_target!(|input: (bool, bool, u8, &[u8])| {
    let (is_server, deflates, piece, bytes) = input;
    let role = if is_server { Role::Server } else { Role::Client };
    let deflate = deflates.then_some(Deflate::FULL);
    let whole = read(role, deflate, bytes.len().max(1), bytes);
    assert_eq!(read(role, deflate, usize::from(piece).max(1), bytes), whole);
});
