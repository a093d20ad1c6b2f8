//! Every form of the report against the same few runs.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod fixtures;

mod html;
mod json;
mod junit;
mod markdown;
mod terminal;
