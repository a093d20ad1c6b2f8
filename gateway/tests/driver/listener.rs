//! A server of somebody else's that a gateway sends requests to; the test answers each as it likes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};

/// What the server does with a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// It answers with this status; from 400 on with a body that nobody understands.
    Status(u16),
    /// With a status, and a Retry-After of so many seconds.
    Later(u16, u32),
    /// With 200 and this body.
    Body(Vec<u8>),
    /// The connection stays open and nothing comes.
    Nothing,
    /// The connection is closed.
    Cut,
}

/// A request as the server got it, and where its answer is expected.
pub(crate) struct Request {
    /// In lower case.
    pub(crate) head: String,
    /// Unpacked.
    pub(crate) body: Vec<u8>,
    answer: Sender<Reply>,
}

impl Request {
    pub(crate) fn answer(&self, reply: Reply) {
        // A gateway that was killed waits for none.
        let _ = self.answer.send(reply);
    }
}

/// Listens on loopback until the test's process ends; `take` is given each request and waits for nothing.
pub(crate) fn listen(take: impl Fn(Request) + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let take = take.clone();
            std::thread::spawn(move || serve(&mut stream.unwrap(), &take));
        }
    });
    address
}

/// One connection, kept open between requests.
fn serve(stream: &mut TcpStream, take: &impl Fn(Request)) {
    let mut bytes = Vec::new();
    while let Some((head, body)) = read(stream, &mut bytes) {
        let (answer, answered) = channel();
        take(Request { head, body, answer });
        let response = match answered.recv() {
            Ok(Reply::Status(status)) => response(status, "", if status >= 400 { b"no" } else { b"" }),
            Ok(Reply::Later(status, seconds)) => {
                response(status, &format!("Retry-After: {seconds}\r\n"), b"")
            }
            Ok(Reply::Body(body)) => response(200, "", &body),
            Ok(Reply::Nothing) => {
                // Until the gateway gives up.
                let _ = stream.read(&mut [0]);
                return;
            }
            Ok(Reply::Cut) | Err(_) => return,
        };
        if stream.write_all(&response).is_err() {
            return;
        }
    }
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A request's head, in lower case, and body; `bytes` are those that came behind the one before.
fn read(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let mut more = [0; 4096];
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut more) {
            Ok(read @ 1..) => bytes.extend_from_slice(&more[..read]),
            _ => return None,
        }
    };
    let head = String::from_utf8(bytes.drain(..head_end).collect()).unwrap().to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.trim().parse().unwrap();
    while bytes.len() < length {
        let read = stream.read(&mut more).unwrap();
        bytes.extend_from_slice(&more[..read]);
    }
    let body: Vec<u8> = bytes.drain(..length).collect();
    if !head.contains("content-encoding: gzip") {
        return Some((head, body));
    }
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&*body).read_to_end(&mut unpacked).unwrap();
    Some((head, unpacked))
}
