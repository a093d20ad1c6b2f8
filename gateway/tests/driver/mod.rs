//! A gateway as its own process, and those who speak to it, for tests that look at it from outside.
//!
//! [`Gateway`] is the process, [`Exposition`] what it says of itself. [`Client`] behaves, [`Member`] too,
//! on a WebSocket that is not ours; [`Raw`] writes what it likes.
//! [`listen`] is a server of somebody else's, which the gateway calls.
#![allow(dead_code, unused_imports, reason = "each test program uses another part of it")]

mod client;
mod exposition;
mod folder;
mod gateway;
mod listener;
mod member;
mod raw;

pub(crate) use client::Client;
pub(crate) use exposition::{Exposition, wait_until};
pub(crate) use folder::Folder;
pub(crate) use gateway::{Answer, Gateway, KEY, PATIENCE, exchange, sign, token};
pub(crate) use listener::{Reply, Request, listen};
pub(crate) use member::{Member, send};
pub(crate) use raw::{Raw, UPGRADE, upgrade_request, write_header};
