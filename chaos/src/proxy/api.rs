//! Toxiproxy's HTTP API: which request means what. <https://github.com/Shopify/toxiproxy#http-api>
//!
//! Ours besides: `DELETE /proxies/{proxy}/toxics?owner=RUN` takes out what a run has left, and an answer to a change says since when
//! it is in force (`in_force`), by the clock that all processes of the machine share.

use super::registry::{Proxies, Refusal};
use serde_json::{Value, json};
use wire::http::Request;

/// The version of the API that this is compatible with.
const VERSION: &str = "2.12.0";

/// Status and, unless there is nothing to say, body.
pub(super) type Answer = (u16, Option<Value>);

/// Does what is asked for.
pub(super) fn answer(proxies: &mut Proxies, request: &Request<'_>, body: &[u8]) -> Answer {
    // Whoever can reach the port may do anything; pages in somebody's browser may not.
    let is_browser = request.header("user-agent").is_some_and(|agent| agent.starts_with("Mozilla/"));
    if is_browser || request.header("origin").is_some() {
        return error(403, "this is not for browsers");
    }
    let path: Vec<String> = request.path().split('/').skip(1).map(decoded).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let asked = match (request.method, &path[..]) {
        ("GET", ["version"]) => Ok((
            200,
            Some(
                json!({ "version": VERSION, "implementation": concat!("loadgen ", env!("CARGO_PKG_VERSION")) }),
            ),
        )),
        ("POST", ["reset"]) => proxies.reset().map(|()| (204, None)),
        ("POST", ["populate"]) => proxies.populate(body).map(|made| (201, Some(made))),
        ("GET", ["proxies"]) => Ok((200, Some(proxies.all()))),
        ("POST", ["proxies"]) => proxies.create(body).map(|made| (201, Some(made))),
        ("GET", ["proxies", proxy]) => proxies.show(proxy).map(found),
        ("POST" | "PATCH", ["proxies", proxy]) => proxies.update(proxy, body).map(found),
        ("DELETE", ["proxies", proxy]) => proxies.remove(proxy).map(|()| (204, None)),
        ("GET", ["proxies", proxy, "toxics"]) => proxies.toxics(proxy).map(found),
        ("POST", ["proxies", proxy, "toxics"]) => proxies.add_toxic(proxy, body).map(found),
        ("DELETE", ["proxies", proxy, "toxics"]) => match request.query("owner") {
            Some(owner) => {
                let is_theirs = |toxic: &crate::link::Toxic| toxic.owner.as_deref() == Some(&owner);
                proxies.remove_toxics(proxy, is_theirs).map(|count| (200, Some(json!({ "removed": count }))))
            }
            None => Err(Refusal::Missing("owner, as in ?owner=RUN".into())),
        },
        ("GET", ["proxies", proxy, "toxics", toxic]) => proxies.toxic(proxy, toxic).map(found),
        ("POST" | "PATCH", ["proxies", proxy, "toxics", toxic]) => {
            proxies.update_toxic(proxy, toxic, body).map(found)
        }
        ("DELETE", ["proxies", proxy, "toxics", toxic]) => {
            match proxies.remove_toxics(proxy, |other| other.name == *toxic) {
                Ok(0) => Err(Refusal::NoToxic),
                Ok(_) => Ok((204, None)),
                Err(refusal) => Err(refusal),
            }
        }
        (_, ["version" | "reset" | "populate" | "proxies", ..]) if path.len() <= 4 => {
            return error(405, "method not allowed");
        }
        _ => return error(404, "there are /proxies, /populate, /reset and /version"),
    };
    asked.unwrap_or_else(|refusal| error(refusal.status(), &refusal.to_string()))
}

fn found(value: Value) -> Answer {
    (200, Some(value))
}

fn error(status: u16, reason: &str) -> Answer {
    (status, Some(json!({ "error": reason, "status": status })))
}

/// A part of the path without its percent signs. What is no UTF-8 then is the name of nothing.
fn decoded(part: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), part.as_bytes());
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| part.to_owned())
}
