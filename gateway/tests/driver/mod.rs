//! A gateway as its own process, and those who speak to it, for tests that look at it from outside.
//!
//! [`Gateway`] is the process, [`Exposition`] what it says of itself. [`Client`] behaves; [`Raw`] writes what it likes.
#![allow(dead_code, unused_imports, reason = "each test program uses another part of it")]

mod client;
mod exposition;
mod folder;
mod gateway;
mod raw;

pub(crate) use client::Client;
pub(crate) use exposition::{Exposition, wait_until};
pub(crate) use folder::Folder;
pub(crate) use gateway::{Answer, Gateway, KEY, PATIENCE, exchange, sign, token};
pub(crate) use raw::{Raw, UPGRADE, upgrade_request, write_header};
