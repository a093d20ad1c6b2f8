//! `result.json` reads back as it was written, and its schema is the published one.

use crate::fixtures;
use reports::json;

fn round_trip(record: &reports::record::RunRecord) {
    let mut out = Vec::new();
    json::write(record, &mut out).unwrap();
    let same = &json::read(std::str::from_utf8(&out).unwrap()).unwrap() == record;
    assert!(same, "{} differs after reading it back", record.run_id);
}

#[test]
fn every_record_reads_back_as_written() {
    for record in [
        fixtures::peak(),
        fixtures::failed(),
        fixtures::void(),
        fixtures::plain_echo(),
        fixtures::crowded(),
        fixtures::hostile(),
        fixtures::long_virtual(),
    ] {
        round_trip(&record);
    }
}

#[test]
fn a_foreign_text_is_refused_with_the_reason() {
    let check = |text: &str, expected: &str| assert_eq!(json::read(text).unwrap_err().to_string(), expected);
    check("", "not a record of a run");
    check("{}", "not a record of a run");
    check(r#"{"schema": 1}"#, "not a record of a run");
    check(r#"{"schema": 2, "anything": []}"#, "the record has schema 2; this loadgen reads schema 1");
}

/// `UPDATE_SCHEMA=1` writes the file anew.
#[test]
fn the_published_schema_is_that_of_the_record() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/result.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, json::schema()).unwrap();
    }
    let published = std::fs::read_to_string(path).unwrap();
    assert_eq!(published, json::schema(), "run the test with UPDATE_SCHEMA=1");
}

#[test]
fn the_fixtures_classes_add_up() {
    for record in [fixtures::peak(), fixtures::void()] {
        assert!(record.total.messages.is_conserved());
    }
    let mut record = fixtures::peak();
    record.total.messages.lost += 1;
    assert!(!record.total.messages.is_conserved());
}
