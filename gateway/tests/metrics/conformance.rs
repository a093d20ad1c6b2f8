//! Every metric of the catalogue is exported as catalogued, moves when what it counts happens, and no other is.

use crate::driver::{Client, Gateway, Raw, token, upgrade_request};
use crate::page::{self, Families};
use crate::scenario::Scenario;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::Shutdown;

/// Series in all: the bound on cardinality, whatever clients do.
const SERIES_MAX: usize = 400;

/// Families that stay at zero in the scenario, and where they are seen to move instead.
const QUIET: [(&str, &str); 10] = [
    ("im_gateway_group_fanout_backlog", "a group's fan-out is over before a scrape: im::fanout"),
    ("im_gateway_log_records_dropped_total", "takes a reader that has stopped: tests/log.rs"),
    ("im_gateway_messages_expired_total", "takes time: tests/store.rs"),
    ("im_gateway_store_errors_total", "takes a full disk: tests/store.rs"),
    ("im_service_offline_worker_lag", "the store is too quick: tests/store.rs"),
    ("im_gateway_telemetry_export_errors_total", "nothing is pushed here: tests/telemetry"),
    ("im_gateway_telemetry_export_retries_total", "the same"),
    ("im_gateway_telemetry_items_total", "the same"),
    ("im_gateway_telemetry_queue_size", "the same"),
    ("im_gateway_store_failed", "the disk is sound here: tests/store.rs"),
];

#[test]
fn each_family_is_exported_as_documented_and_moves() {
    let mut scenario = Scenario::start();
    scenario.run();
    let (documented, left_out) = (page::documented(), page::left_out());
    assert!(documented.len() > 50 && left_out.len() > 8, "the page has been read");
    for text in &scenario.seen {
        let exported = page::exported(text);
        let all: BTreeSet<_> = documented.keys().chain(exported.keys()).collect();
        for name in all {
            assert_eq!(documented.get(name), exported.get(name), "{name}: documented, exported");
        }
        assert!(left_out.iter().all(|name| !exported.contains_key(name)));
        let series = text.lines().filter(|line| !line.starts_with('#')).count();
        assert!(series < SERIES_MAX, "{series} series");
    }
    for name in documented.keys().filter(|name| QUIET.iter().all(|(quiet, _)| quiet != name)) {
        assert!(scenario.seen.iter().any(|text| moves(name, text, &documented)), "{name} stays at zero");
    }
}

fn moves(family: &str, text: &str, documented: &Families) -> bool {
    let kinds = documented.iter().map(|(name, family)| (name.clone(), family.kind.clone())).collect();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(page::sample)
        .any(|(series, _, value)| page::family_of(series, &kinds) == family && value != 0.0)
}

/// The names that clients choose show in no label.
#[test]
fn nothing_that_clients_choose_becomes_a_label() {
    let gateway = Gateway::start(&[]);
    let before = gateway.exposition().0.lines().count();
    for k in 0..50 {
        gateway.get(&format!("/made-up-{k}"));
        gateway.ask(&format!("MADE-UP-{k}"), "/ws", "");
        gateway.ask("GET", &format!("/ws?token=made-up-{k}"), "Upgrade: made-up\r\n");
    }
    let mut client = Client::connect(&gateway, "made-up-user", "made-up-device");
    client.join("made-up-group");
    client.confirmed("made-up-id", "group:made-up-group");
    let text = gateway.exposition().0;
    assert!(!text.to_lowercase().contains("made-up"), "{text}");
    // The unexpected method on `/ws`.
    assert_eq!(text.lines().count(), before + 1, "{text}");
}

/// Clients that leave within a request, and with the last byte of one.
#[test]
fn in_flight_goes_back_to_zero() {
    let gateway = Gateway::start_alone(&[]);
    let whole = upgrade_request(&format!("/ws?token={}", token("al", "phone")), "");
    for bytes in [1, whole.len() / 2, whole.len() - 1, whole.len()].repeat(5) {
        let mut raw = Raw::connect(&gateway);
        raw.send(&whole.as_bytes()[..bytes]);
        raw.stream.shutdown(Shutdown::Write).unwrap();
    }
    let mut cut = gateway.connect();
    cut.write_all(b"GET /metrics HTTP/1.1\r\n").unwrap();
    drop(cut);
    gateway.ask("POST", "/test/latency?delay=1ms", "");
    // The scrape itself is one.
    gateway.wait_for("http_requests_in_flight", 1.0);
    gateway.wait_for("im_gateway_active_connections", 0.0);
    assert_eq!(gateway.metric("http_requests_in_flight"), 1.0);
}
