//! No head makes either side of the handshake panic, and what a server answers to an upgrade a client understands.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::http::Request;
use wire::ws::{extension, handshake};

fuzz_target!(|bytes: &[u8]| {
    let _ = handshake::read_answer_to_offer(bytes, [7; 16]);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = extension::read_answer([text].into_iter());
        let _ = extension::accept([text].into_iter());
    }
    let Ok(Some(request)) = Request::parse(bytes) else { return };
    let _ = (request.path(), request.query("token"), request.keeps_alive());
    let deflate = extension::accept(request.headers("sec-websocket-extensions"));
    if let (Ok(accept), Ok(deflate)) = (handshake::accept(&request), deflate) {
        let mut answer = Vec::new();
        handshake::write_accepted_with(&mut answer, &accept, None, deflate);
        // The key is not the one this client sent; everything else must be as HTTP wants it.
        assert!(wire::http::Response::parse(&answer).is_ok_and(|response| response.is_some()));
    }
});
