//! Proxies by name: what the control of `loadgen proxy` does.

use super::{Effect, Proxy, ProxyError, Settings, shards_for};
use crate::link::{Toxic, ToxicError};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs as _};

/// All proxies of a process.
#[derive(Debug)]
pub struct Proxies {
    by_name: BTreeMap<String, Named>,
    limits: Limits,
}

/// What each proxy gets.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections of clients at once.
    pub connections_max: usize,
    /// Sockets that a shard may have.
    pub sockets: u64,
    /// Of everything that is left to chance.
    pub seed: u64,
}

#[derive(Debug)]
struct Named {
    proxy: Proxy,
    /// As it was given: a name stays a name.
    upstream: String,
}

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The body is not what it should be.
    #[error("bad request body: {0}")]
    Body(String),
    /// A key is missing.
    #[error("missing required field: {0}")]
    Missing(String),
    /// No such proxy.
    #[error("proxy not found")]
    NoProxy,
    /// There is one of that name.
    #[error("proxy already exists")]
    ProxyExists,
    /// No such toxic.
    #[error("toxic not found")]
    NoToxic,
    /// There is one of that name.
    #[error("toxic already exists")]
    ToxicExists,
    /// It is none.
    #[error(transparent)]
    Toxic(#[from] ToxicError),
    /// An address that is none.
    #[error("{0}")]
    Address(String),
    /// The proxy did not do as told.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

impl Refusal {
    /// The HTTP status that tells it.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::Body(_) | Refusal::Missing(_) | Refusal::Toxic(_) | Refusal::Address(_) => 400,
            Refusal::NoProxy | Refusal::NoToxic => 404,
            Refusal::ProxyExists | Refusal::ToxicExists => 409,
            Refusal::Proxy(_) => 500,
        }
    }
}

/// A proxy as JSON gives it.
#[derive(Debug, Clone, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Given {
    name: String,
    listen: Option<String>,
    upstream: Option<String>,
    enabled: Option<bool>,
    /// As in an answer, and ignored as Toxiproxy does: they are set by themselves.
    toxics: Option<serde::de::IgnoredAny>,
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::Body(error.to_string()))
}

/// An address as Toxiproxy takes it: `host:port`, or `:port` for all interfaces.
fn address(text: &str) -> Result<SocketAddr, Refusal> {
    let whole = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    let found = whole.to_socket_addrs().map(|mut found| found.next());
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(Refusal::Address(format!("`{text}` has no address"))),
        Err(error) => Err(Refusal::Address(format!("`{text}` is no address: {error}; write host:port"))),
    }
}

impl Proxies {
    /// None yet.
    pub fn new(limits: Limits) -> Proxies {
        Proxies { by_name: BTreeMap::new(), limits }
    }

    /// Adds a proxy and starts it. Gives where it listens.
    pub fn add(&mut self, name: &str, listen: &str, upstream: &str) -> Result<SocketAddr, Refusal> {
        if self.by_name.contains_key(name) {
            return Err(Refusal::ProxyExists);
        }
        let proxy = self.make(listen, upstream)?;
        let address = proxy.address();
        self.by_name.insert(name.to_owned(), Named { proxy, upstream: upstream.to_owned() });
        Ok(address)
    }

    fn make(&self, listen: &str, upstream: &str) -> Result<Proxy, Refusal> {
        let Limits { connections_max, sockets, seed } = self.limits;
        let shards = shards_for(connections_max, sockets);
        let (listen, upstream) = (address(listen)?, address(upstream)?);
        Ok(Proxy::start(Settings { listen, upstream, shards, connections_max, seed })?)
    }

    fn get(&self, name: &str) -> Result<&Named, Refusal> {
        self.by_name.get(name).ok_or(Refusal::NoProxy)
    }

    fn get_mut(&mut self, name: &str) -> Result<&mut Named, Refusal> {
        self.by_name.get_mut(name).ok_or(Refusal::NoProxy)
    }

    pub(super) fn all(&self) -> Value {
        Value::Object(self.by_name.iter().map(|(name, named)| (name.clone(), named.to_json(name))).collect())
    }

    pub(super) fn show(&self, name: &str) -> Result<Value, Refusal> {
        Ok(self.get(name)?.to_json(name))
    }

    pub(super) fn create(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let given: Given = read(body)?;
        self.add_given(&given)
    }

    fn add_given(&mut self, given: &Given) -> Result<Value, Refusal> {
        let upstream = given.required("")?;
        let listen = given.listen.as_deref().filter(|listen| !listen.is_empty()).unwrap_or("127.0.0.1:0");
        self.add(&given.name, listen, upstream)?;
        if given.enabled == Some(false) {
            self.get_mut(&given.name)?.proxy.down();
        }
        self.show(&given.name)
    }

    /// Adds these, in place of others of the same names that are different. All or none are read; one that cannot be started
    /// ends it.
    pub fn populate(&mut self, body: &[u8]) -> Result<Value, Refusal> {
        let all: Vec<Given> = read(body)?;
        for (number, given) in all.iter().enumerate() {
            given.required(&format!(" at proxy {}", number + 1))?;
            if all[..number].iter().any(|other| other.name == given.name) {
                return Err(Refusal::Body(format!("duplicate proxy name `{}`", given.name)));
            }
        }
        let mut proxies = Vec::new();
        for given in &all {
            if self.get(&given.name).is_ok_and(|named| named.is(given)) {
                self.switch(&given.name, given.enabled.unwrap_or(true))?;
                proxies.push(self.show(&given.name)?);
            } else {
                self.by_name.remove(&given.name);
                proxies.push(self.add_given(given)?);
            }
        }
        Ok(json!({ "proxies": proxies }))
    }

    pub(super) fn update(&mut self, name: &str, body: &[u8]) -> Result<Value, Refusal> {
        let given: Given = read(body)?;
        if !self.get(name)?.is(&given) {
            let named = self.get(name)?;
            let listen = given.listen.clone().unwrap_or_else(|| named.proxy.address().to_string());
            let upstream = given.upstream.clone().unwrap_or_else(|| named.upstream.clone());
            // What is wrong is found before the old one ends.
            address(&listen)?;
            address(&upstream)?;
            let (toxics, is_up) = (named.proxy.toxics().cloned().collect(), named.proxy.is_up());
            self.by_name.remove(name);
            self.add(name, &listen, &upstream)?;
            let named = self.get_mut(name)?;
            named.proxy.set(toxics)?;
            if !is_up {
                named.proxy.down();
            }
        }
        if let Some(enabled) = given.enabled {
            self.switch(name, enabled)?;
        }
        self.show(name)
    }

    fn switch(&mut self, name: &str, enabled: bool) -> Result<(), Refusal> {
        let named = self.get_mut(name)?;
        if enabled {
            named.proxy.up()?;
        } else {
            named.proxy.down();
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &str) -> Result<(), Refusal> {
        self.by_name.remove(name).map(drop).ok_or(Refusal::NoProxy)
    }

    /// All proxies up, no toxics.
    pub(super) fn reset(&mut self) -> Result<(), Refusal> {
        for named in self.by_name.values_mut() {
            named.proxy.up()?;
            named.proxy.set(Vec::new())?;
        }
        Ok(())
    }

    pub(super) fn toxics(&self, name: &str) -> Result<Value, Refusal> {
        Ok(Value::Array(self.get(name)?.proxy.toxics().map(Toxic::to_json).collect()))
    }

    pub(super) fn toxic(&self, name: &str, toxic: &str) -> Result<Value, Refusal> {
        let found = self.get(name)?.proxy.toxics().find(|other| other.name == toxic);
        found.map(Toxic::to_json).ok_or(Refusal::NoToxic)
    }

    pub(super) fn add_toxic(&mut self, name: &str, body: &[u8]) -> Result<Value, Refusal> {
        let named = self.get_mut(name)?;
        let toxic = Toxic::from_json(body)?;
        let mut toxics: Vec<Toxic> = named.proxy.toxics().cloned().collect();
        if toxics.iter().any(|other| other.name == toxic.name) {
            return Err(Refusal::ToxicExists);
        }
        toxics.push(toxic.clone());
        Ok(in_force(&toxic, named.proxy.set(toxics)?))
    }

    pub(super) fn update_toxic(&mut self, name: &str, toxic: &str, body: &[u8]) -> Result<Value, Refusal> {
        let named = self.get_mut(name)?;
        let mut toxics: Vec<Toxic> = named.proxy.toxics().cloned().collect();
        let place = toxics.iter_mut().find(|other| other.name == toxic).ok_or(Refusal::NoToxic)?;
        *place = place.updated(body)?;
        let updated = place.clone();
        Ok(in_force(&updated, named.proxy.set(toxics)?))
    }

    /// Takes out the toxics of which `is` says so. Gives how many.
    pub(super) fn remove_toxics(
        &mut self,
        name: &str,
        is: impl Fn(&Toxic) -> bool,
    ) -> Result<usize, Refusal> {
        let named = self.get_mut(name)?;
        let before = named.proxy.toxics().count();
        let left: Vec<Toxic> = named.proxy.toxics().filter(|toxic| !is(toxic)).cloned().collect();
        let removed = before - left.len();
        if removed > 0 {
            named.proxy.set(left)?;
        }
        Ok(removed)
    }
}

/// A toxic, and since when it holds on how many shards.
fn in_force(toxic: &Toxic, effect: Effect) -> Value {
    let mut value = toxic.to_json();
    value["in_force"] = json!({ "monotonic_ns": effect.at.0, "shards": effect.shards });
    value
}

impl Given {
    /// The upstream, if that and the name are there.
    fn required(&self, place: &str) -> Result<&str, Refusal> {
        if self.name.is_empty() {
            return Err(Refusal::Missing(format!("name{place}")));
        }
        let upstream = self.upstream.as_deref().filter(|upstream| !upstream.is_empty());
        upstream.ok_or_else(|| Refusal::Missing(format!("upstream{place}")))
    }
}

impl Named {
    fn to_json(&self, name: &str) -> Value {
        let mut value = Map::new();
        value.insert("name".into(), json!(name));
        value.insert("listen".into(), json!(self.proxy.address().to_string()));
        value.insert("upstream".into(), json!(self.upstream));
        value.insert("enabled".into(), json!(self.proxy.is_up()));
        value.insert("toxics".into(), self.proxy.toxics().map(Toxic::to_json).collect());
        Value::Object(value)
    }

    /// Whether it listens where, and leads where, the other is to.
    fn is(&self, given: &Given) -> bool {
        let listens = self.proxy.address().to_string();
        given.listen.as_ref().is_none_or(|listen| {
            *listen == listens || address(listen).is_ok_and(|at| at == self.proxy.address())
        }) && given.upstream.as_ref().is_none_or(|upstream| *upstream == self.upstream)
    }
}
