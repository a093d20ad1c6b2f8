//! `loadgen check` as a program: exit codes, and the shapes of its JSON and SARIF.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CLEAN: &str = "groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: up == 0\n";
const WARNS: &str = "groups:\n  - name: g\n    rules:\n      - alert: A\n        expr: sum(queue_length)\n";
const FAILS: &str = "groups:\n  - name: größe\n    rules:\n      - alert: A\n        expr: rate(jobs_active[5m]) > 1\n      - alert: A\n        expr: rate(jobs_active[5m]) > 1\n";

/// A folder of its own for a test, gone at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("loadgen-check-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that stays harms nobody.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn loadgen(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_loadgen")).arg("check").args(arguments).output().unwrap()
}

#[track_caller]
fn exits(arguments: &[&str], expected: i32, text: &str) {
    let output = loadgen(arguments);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {said}");
    assert!(said.contains(text), "{arguments:?}: {said}");
}

#[test]
fn the_exit_code_says_whether_anything_is_wrong() {
    let folder = Folder::new("exit");
    let (clean, warns, fails) =
        (folder.file("clean.yml", CLEAN), folder.file("warns.yml", WARNS), folder.file("fails.yml", FAILS));
    exits(&[&clean], 0, "1 file: 0 errors, 0 warnings");
    exits(&[&warns], 0, "[alert/no-comparison]");
    exits(&["--strict", &warns], 104, "0 errors, 1 warning");
    exits(&[&clean, &fails], 104, "[promql/rate-of-gauge]");
    exits(&[&folder.file("what.yml", "a: 1\n")], 104, "[file/unreadable]");
    exits(&["--kind", "notes", &folder.file("what.yml", "a: 1\n")], 0, "0 errors");
    exits(&["no-such-file.yml"], 104, "cannot read no-such-file.yml");
    exits(&["--kind", "prometheus", &folder.file("what.yml", "a: 1\n")], 0, "[file/unchecked]");
    exits(&[&clean, &clean], 0, "1 file: 0 errors, 0 warnings");
    exits(&["--metrics", "no-such-file", &clean], 113, "no-such-file");
    exits(&["--metrics", &folder.file("empty.txt", "# EOF\n"), &clean], 113, "no samples");
    exits(&[], 2, "FILES");
    exits(&["--scrape-interval", "10 seconds", &clean], 2, "10s");
    exits(&["--list"], 0, "promql/rate-of-gauge");
}

#[test]
fn a_scenario_is_told_of_as_before_a_run() {
    let folder = Folder::new("scenario");
    let broken = folder
        .file("broken.yaml", "version: 1\ntarget: {gateway: {}}\nphases: [{name: a, for: 10s, fault: []}]\n");
    exits(&[&broken], 104, "[scenario/invalid]");
    let text = std::fs::read_to_string(&broken).unwrap();
    let text = format!("# loadgen: disable=scenario/invalid it is made to be refused\n{text}");
    exits(&[&folder.file("excused.yaml", &text)], 0, "0 errors, 0 warnings");
}

#[test]
fn metrics_come_from_a_file_or_a_target() {
    let folder = Folder::new("metrics");
    let rules = folder.file("rules.yml", &CLEAN.replace("up == 0", "sum(queue_lenght) > 3"));
    let text = "# TYPE queue_length gauge\nqueue_length 3\n";
    exits(&["--metrics", &folder.file("metrics.txt", text), &rules], 0, "did you mean `queue_length`?");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let target = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", text.len());
        peer.write_all((head + text).as_bytes()).unwrap();
    });
    exits(&["--metrics", &url, &rules], 0, "did you mean `queue_length`?");
    target.join().unwrap();
}

fn document(arguments: &[&str]) -> Value {
    let output = loadgen(arguments);
    assert_eq!(output.status.code(), Some(104));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn json_has_each_finding_with_its_place() {
    let folder = Folder::new("json");
    let document = document(&["--format", "json", &folder.file("fails.yml", FAILS)]);
    assert_eq!(document["version"], 1);
    let findings = document["findings"].as_array().unwrap();
    let duplicate = findings.iter().find(|finding| finding["id"] == "alert/duplicate").unwrap();
    assert_eq!(duplicate["level"], "error");
    assert_eq!(
        (duplicate["place"]["line"].as_u64(), duplicate["place"]["column"].as_u64()),
        (Some(6), Some(16))
    );
    assert_eq!(duplicate["related"][0]["line"], 4);
    assert!(Path::new(duplicate["place"]["file"].as_str().unwrap()).ends_with("fails.yml"));
    let told = |kind: &str| document["summary"][kind].as_u64().unwrap();
    assert_eq!(told("errors") + told("warnings"), findings.len() as u64);
}

#[test]
fn a_file_that_is_not_there_has_its_place() {
    let json = document(&["--format", "json", "no such file.yml"]);
    let finding = &json["findings"][0];
    assert_eq!(
        (&finding["place"]["file"], &finding["place"]["line"]),
        (&"no such file.yml".into(), &1.into())
    );
    assert!(finding["summary"].as_str().unwrap().contains("No such file"), "{finding}");
    let sarif = document(&["--format", "sarif", "no such file.yml"]);
    let location = &sarif["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(location["artifactLocation"]["uri"], "no%20such%20file.yml");
}

/// The parts of the SARIF 2.1.0 schema that this program writes: required properties, types and ranges.
#[test]
fn sarif_has_the_shape_of_2_1_0() {
    let folder = Folder::new("sarif");
    let name = folder.file("fails with blanks.yml", FAILS);
    let document = document(&["--format", "sarif", "--docs-url", "https://example.com/checks/", &name]);
    assert_eq!(document["version"], "2.1.0");
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 1);
    let driver = &runs[0]["tool"]["driver"];
    assert_eq!(driver["name"], "loadgen");
    assert!(["utf16CodeUnits", "unicodeCodePoints"].contains(&runs[0]["columnKind"].as_str().unwrap()));
    let rules = driver["rules"].as_array().unwrap();
    let mut ids: Vec<&str> = rules.iter().map(|rule| rule["id"].as_str().unwrap()).collect();
    for rule in rules {
        assert!(!rule["shortDescription"]["text"].as_str().unwrap().is_empty());
        assert!(is_level(&rule["defaultConfiguration"]["level"]));
        let page = format!("https://example.com/checks/{}.md", rule["id"].as_str().unwrap());
        assert_eq!(rule["helpUri"], page);
    }
    let results = runs[0]["results"].as_array().unwrap();
    assert!(!results.is_empty());
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], rules[index]["id"]);
        assert!(is_level(&result["level"]));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        for location in result["locations"].as_array().unwrap() {
            is_location(location);
        }
        for (id, location) in result["relatedLocations"].as_array().unwrap().iter().enumerate() {
            assert_eq!(location["id"].as_u64(), Some(id as u64));
            is_location(location);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len(), "rule ids are unique");
}

fn is_level(level: &Value) -> bool {
    ["none", "note", "warning", "error"].contains(&level.as_str().unwrap())
}

fn is_location(location: &Value) {
    let physical = &location["physicalLocation"];
    let uri = physical["artifactLocation"]["uri"].as_str().unwrap();
    assert!(uri.starts_with("file:///") && uri.ends_with("fails%20with%20blanks.yml"), "{uri}");
    let region = |key: &str| physical["region"][key].as_u64().unwrap();
    let (start, end) =
        ((region("startLine"), region("startColumn")), (region("endLine"), region("endColumn")));
    assert!(start.0 >= 1 && start.1 >= 1 && start <= end, "{physical}");
}
