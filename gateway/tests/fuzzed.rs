//! The fuzz targets without a fuzzer: mutations of good inputs, from fixed and from fresh seeds. cargo-fuzz needs nightly; this does not.

#[path = "../../ci/mutations.rs"]
mod mutations;
#[path = "../fuzz/targets.rs"]
mod targets;

/// Inputs of each kind with each seed; FUZZ_INPUTS asks for more.
const INPUTS: u64 = 3000;

const FRAMES: [&str; 10] = [
    r#"{"type":"send","id":"m-1","to":"user:u0","body":{"a":[1,2.5e3,null]}}"#,
    r#"{"type":"send","id":"m-2","to":"user:u1","body":"text \u00e9"}"#,
    r#"{"type":"send","id":"m-3","to":"group:dev","body":1}"#,
    r#"{"type":"send","id":"\"","to":"group:d\u0065v","body":"x","more":true}"#,
    r#"{"type":"ack","seq":1}"#,
    r#"{"type":"ack","seq":18446744073709551615}"#,
    r#"{"type":"join","group":"dev"}"#,
    r#"{"type":"leave","group":"dev"}"#,
    r#"{"type":"shout","id":"a"}"#,
    r#"{"id":null}"#,
];

const HEADS: [&str; 5] = [
    "GET /ws?token=a%20b&resume=7&epoch=7f HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "POST /test/latency?delay=600ms&for=30s HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
    "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n",
];

fn survives(name: &str, inputs: u64, corpus: &[Vec<u8>], target: fn(&[u8])) {
    mutations::survives("gateway", name, inputs, corpus, target);
}

fn frames() -> Vec<Vec<u8>> {
    FRAMES.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn heads() -> Vec<Vec<u8>> {
    HEADS.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Scripts for the session target: steps of who and what, length, bytes.
fn scripts() -> Vec<Vec<u8>> {
    let step = |what: u8, bytes: &[u8]| [&[what, bytes.len() as u8], bytes].concat();
    let frames = frames();
    let all = |who: u8| frames.iter().flat_map(|frame| step(who, frame)).collect::<Vec<u8>>();
    vec![
        [all(0), all(1), all(2), all(3)].concat(),
        [all(0), step(5 * 4, &[30]), all(2), step(6 * 4, &[0]), all(2), step(6 * 4 + 2, &[1]), all(3)]
            .concat(),
        [
            step(7 * 4, HEADS[0].as_bytes()),
            step(7 * 4, HEADS[1].as_bytes()),
            step(7 * 4 + 1, HEADS[2].as_bytes()),
        ]
        .concat(),
        [all(1), step(7 * 4 + 1, &[0x81, 0x85, 1, 2, 3, 4, b'h']), step(5 * 4, &[255])].concat(),
    ]
}

#[test]
fn protocol() {
    survives("protocol", INPUTS, &frames(), targets::protocol);
}

#[test]
fn http() {
    survives("http", INPUTS, &heads(), targets::http);
}

#[test]
fn session() {
    survives("session", INPUTS / 20, &scripts(), targets::session);
}
