//! `--data-dir`: what survives a restart, and what happens where the store cannot be used.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod driver;

use driver::{Client, Folder, Gateway};
use serde_json::json;
use std::time::Duration;

fn start(folder: &Folder) -> Gateway {
    Gateway::start(&["--data-dir", folder.path()])
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|k| format!("m-{k}")).collect()
}

#[test]
fn each_device_gets_after_a_crash_what_it_was_owed() {
    let folder = Folder::new("devices");
    let gateway = start(&folder);
    let mut al = Client::connect(&gateway, "al", "d");
    let (mut phone, laptop) =
        (Client::connect(&gateway, "bob", "phone"), Client::connect(&gateway, "bob", "laptop"));
    for id in ids(0..3) {
        al.confirmed(&id, "user:bob");
        al.confirmed(&format!("c{id}"), "user:cy");
    }
    assert_eq!(phone.take(3), ids(0..3));
    drop(laptop);
    gateway.kill();
    let gateway = start(&folder);
    gateway.wait_for("im_service_offline_queue_size", 3.0);
    gateway.check_conservation();
    assert_eq!(Client::connect(&gateway, "bob", "laptop").take(3), ids(0..3));
    assert_eq!(Client::connect(&gateway, "cy", "any").take(3), ["cm-0", "cm-1", "cm-2"]);
    gateway.check_conservation();
}

#[test]
fn numbers_ids_and_members_outlive_the_process() {
    let folder = Folder::new("outlive");
    let gateway = start(&folder);
    let (mut al, mut bob) = (Client::connect(&gateway, "al", "d"), Client::connect(&gateway, "bob", "d"));
    al.join("all");
    bob.join("all");
    al.confirmed("m-0", "group:all");
    assert_eq!(bob.next_where(|_| true)["seq"], 1);
    gateway.kill();
    let gateway = start(&folder);
    let mut bob = Client::resume(&gateway, "bob", "d", &bob.epoch, 1);
    assert!(bob.seq >= 1, "a number that was given is not given again: {}", bob.seq);
    let again = bob.next_where(|_| true);
    assert_eq!(again["id"], "m-0", "its end was not kept, so it comes again");
    assert!(again["seq"].as_u64().unwrap() > bob.seq);
    bob.ack(again["seq"].as_u64().unwrap());
    let mut al = Client::connect(&gateway, "al", "d");
    al.confirmed("m-0", "group:all");
    al.confirmed("m-1", "group:all");
    assert_eq!(bob.take(1), ["m-1"], "m-0 is known, and both are still members");
    gateway.stop();
    let gateway = start(&folder);
    assert_eq!(gateway.metric("im_gateway_messages_recovered_total"), 0.0);
}

#[test]
fn a_group_message_is_kept_for_each_member_who_has_not_had_it() {
    const MEMBERS: usize = 60;
    let folder = Folder::new("group");
    let gateway = start(&folder);
    let name = |k: usize| format!("member-{k}");
    let mut clients: Vec<_> = (0..MEMBERS).map(|k| Client::connect(&gateway, &name(k), "d")).collect();
    clients.iter_mut().for_each(|client| client.join("all"));
    for id in ids(0..3) {
        clients[0].confirmed(&id, "group:all");
    }
    // The first half has had it, and a commit after that has kept so much.
    for client in &mut clients[1..MEMBERS / 2] {
        assert_eq!(client.take(3), ids(0..3));
    }
    gateway.wait_for("im_gateway_messages_delivered_total", ((MEMBERS / 2 - 1) * 3) as f64);
    gateway.wait_for("im_service_offline_worker_lag", 0.0);
    gateway.kill();
    let gateway = start(&folder);
    assert_eq!(gateway.metric("im_gateway_messages_recovered_total"), (MEMBERS / 2 * 3) as f64);
    gateway.check_conservation();
    for k in MEMBERS / 2..MEMBERS {
        assert_eq!(Client::connect(&gateway, &name(k), "d").take(3), ids(0..3));
    }
    gateway.wait_for("im_gateway_store_messages", 0.0);
}

#[test]
fn what_expires_while_nobody_runs_is_counted() {
    let folder = Folder::new("expires");
    let flags = ["--data-dir", folder.path(), "--message-ttl", "200ms"];
    let gateway = Gateway::start(&flags);
    let mut al = Client::connect(&gateway, "al", "d");
    al.confirmed("m-0", "user:bob");
    gateway.kill();
    // The connection is cut at once, so this waits for the message to grow old.
    std::thread::sleep(Duration::from_millis(250));
    let gateway = Gateway::start(&flags);
    gateway.wait_for("im_gateway_messages_expired_total", 1.0);
    gateway.check_conservation();
    gateway.wait_for("im_gateway_store_messages", 0.0);
}

#[test]
fn a_second_gateway_and_a_foreign_file_are_refused() {
    let folder = Folder::new("refused");
    let gateway = start(&folder);
    let complaint = Gateway::try_start(&["--data-dir", folder.path()]).unwrap_err();
    assert!(complaint.contains("is in use by another gateway"), "{complaint}");
    gateway.stop();
    let file = std::path::Path::new(folder.path()).join("gateway.redb");
    let set_format = |format: u64| {
        let database = redb::Database::create(&file).unwrap();
        let write = database.begin_write().unwrap();
        let meta = redb::TableDefinition::<&str, u64>::new("meta");
        write.open_table(meta).unwrap().insert("format", format).unwrap();
        write.commit().unwrap();
    };
    set_format(2);
    let complaint = Gateway::try_start(&["--data-dir", folder.path()]).unwrap_err();
    assert!(complaint.contains("has format 2, this gateway reads and writes format 1"), "{complaint}");
    set_format(1);
    start(&folder).stop();
    std::fs::write(&file, "something else, and long enough to be a file of somebody's".repeat(1000)).unwrap();
    let complaint = Gateway::try_start(&["--data-dir", folder.path()]).unwrap_err();
    assert!(complaint.contains("is no store of this gateway, or is damaged"), "{complaint}");
}

#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    const BLOCKS: u64 = 12_000; // of 512 bytes
    let folder = Folder::new("full");
    let gateway = Gateway::with_file_limit(BLOCKS, &["--data-dir", folder.path(), "--admin", "127.0.0.1:0"]);
    let mut al = Client::connect(&gateway, "al", "d");
    let body = "x".repeat(50_000);
    let mut confirmed = Vec::new();
    let refusal = loop {
        let id = format!("m-{}", confirmed.len());
        assert!(confirmed.len() < 500, "the limit was never met");
        al.write(&json!({ "type": "send", "id": id, "to": "user:bob", "body": body }));
        let answer = al.next_where(|_| true);
        if answer["type"] != "sent" {
            break answer;
        }
        confirmed.push(id);
    };
    assert_eq!(refusal["code"], "unavailable", "{refusal}");
    assert_eq!(al.ask("other", "user:cy")["code"], "unavailable");
    assert_eq!(gateway.get("/ready"), (503, "the store has failed\n".into()));
    assert_eq!(gateway.metric("im_gateway_store_errors_total"), 1.0);
    assert_eq!(gateway.metric("im_gateway_store_failed"), 1.0);
    assert_eq!(gateway.ask_admin("GET", "/ready", "").1, "the store has failed\n");
    assert_eq!((gateway.get("/health").0, gateway.ask_admin("GET", "/health", "").0), (200, 200));
    assert!(!confirmed.is_empty());
    let mut cy = Client::connect(&gateway, "cy", "d");
    cy.write(&json!({ "type": "join", "group": "all" }));
    assert_eq!(cy.next_where(|_| true)["code"], "unavailable");
    let mut bob = Client::connect(&gateway, "bob", "d");
    assert_eq!(bob.take(confirmed.len()), confirmed, "what was confirmed is delivered all the same");
    let log = gateway.killed();
    assert_eq!(log.matches("\"event\":\"database_error\"").count(), 1, "{log}");
    let gateway = start(&folder);
    assert_eq!(Client::connect(&gateway, "bob", "d").take(confirmed.len()), confirmed);
    assert_eq!((gateway.get("/ready").0, gateway.metric("im_gateway_store_failed")), (200, 0.0));
}
