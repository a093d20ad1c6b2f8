//! The control's HTTP server: a thread at the edge, which no shard waits for.

use super::api;
use super::registry::Proxies;
use std::cell::RefCell;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use wire::http::{self, Request};

/// How long a client may take for its next request, or to take an answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Wait after the listener failed, such as for want of descriptors.
const RETRY: Duration = Duration::from_millis(100);
/// Longest body that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Answers on `listener`, on a thread of its own, until the process ends. Gives the address.
pub fn serve(listener: TcpListener, proxies: Proxies) -> io::Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _context = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let thread = move || {
        let proxies = Rc::new(RefCell::new(proxies));
        tokio::task::LocalSet::new().block_on(&runtime, accept(listener, proxies));
    };
    std::thread::Builder::new().name("proxy-control".into()).spawn(thread)?;
    Ok(address)
}

async fn accept(listener: tokio::net::TcpListener, proxies: Rc<RefCell<Proxies>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let proxies = Rc::clone(&proxies);
                tokio::task::spawn_local(async move {
                    // Who breaks off has what he wanted, or tells us nothing that would help.
                    let _ = connection(&stream, &proxies).await;
                });
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Answers requests until the client wants no more.
async fn connection(stream: &TcpStream, proxies: &RefCell<Proxies>) -> io::Result<()> {
    let mut input = Vec::new();
    let mut is_told_to_continue = false;
    loop {
        let mut out = Vec::new();
        let (taken, goes_on) = match Request::parse(&input) {
            Ok(Some(request)) if request.body_bytes > BODY_BYTES_MAX => {
                write(
                    &mut out,
                    413,
                    &serde_json::json!({ "error": "the body is longer than 1 MiB", "status": 413 }),
                );
                (0, false)
            }
            Ok(Some(request)) if input.len() >= request.head_bytes + request.body_bytes => {
                let body = &input[request.head_bytes..][..request.body_bytes];
                match api::answer(&mut proxies.borrow_mut(), &request, body) {
                    (status, Some(body)) => write(&mut out, status, &body),
                    (status, None) => http::write_response(&mut out, status, "application/json", b""),
                }
                is_told_to_continue = false;
                (request.head_bytes + request.body_bytes, request.keeps_alive())
            }
            Ok(request) => {
                let waits = request.is_some_and(|request| request.has_token("expect", "100-continue"));
                if waits && !std::mem::replace(&mut is_told_to_continue, true) {
                    send(stream, b"HTTP/1.1 100 Continue\r\n\r\n").await?;
                }
                if !receive(stream, &mut input).await? {
                    return Ok(());
                }
                continue;
            }
            Err(malformed) => {
                let status = malformed.status();
                write(
                    &mut out,
                    status,
                    &serde_json::json!({ "error": malformed.to_string(), "status": status }),
                );
                (0, false)
            }
        };
        timeout(PATIENCE, send(stream, &out)).await??;
        input.drain(..taken);
        if !goes_on {
            return Ok(());
        }
    }
}

fn write(out: &mut Vec<u8>, status: u16, body: &serde_json::Value) {
    http::write_response(out, status, "application/json", body.to_string().as_bytes());
}

/// Appends what comes next. False: the client has ended, or takes too long.
async fn receive(stream: &TcpStream, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut bytes = [0; 16 * 1024];
    loop {
        if timeout(PATIENCE, stream.readable()).await.is_err() {
            return Ok(false);
        }
        match stream.try_read(&mut bytes) {
            Ok(count) => {
                input.extend_from_slice(&bytes[..count]);
                return Ok(count > 0);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
