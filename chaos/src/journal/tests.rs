use super::*;

/// A folder of the test's own.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let folder = std::env::temp_dir().join(format!("loadgen-journal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("results")).unwrap();
        Place(folder)
    }

    fn create(&self, run: &str) -> Journal {
        Journal::create(&self.0, run, &self.0.join("results")).unwrap()
    }

    fn take_over(&self, run: &str) -> Result<Found, JournalError> {
        Journal::take_over(&self.0.join(format!("{run}.jsonl")))
    }

    fn left(&self, run: &str) -> Journal {
        match self.take_over(run) {
            Ok(Found::Left(journal)) => journal,
            other => panic!("{run} is not left behind: {other:?}"),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn undo(port: u16) -> Undo {
    Undo::GatewayFault { url: format!("http://127.0.0.1:{port}/test/latency"), process: None }
}

#[test]
fn stays_while_a_fault_is_open_and_goes_when_all_are_healed() {
    let place = Place::new("stays");
    let mut journal = place.create("left");
    let number = journal.asked("gateway.latency", &undo(1)).unwrap();
    journal.failed(number, "it did not answer").unwrap();
    journal.close().unwrap();
    assert_eq!(list(&place.0).unwrap().len(), 1);
    let mut journal = place.create("clean");
    for port in 1..3 {
        journal.asked("gateway.latency", &undo(port)).unwrap();
    }
    journal.healed(2, "proof").unwrap();
    journal.healed(2, "proof").unwrap();
    assert_eq!(journal.open().keys().collect::<Vec<_>>(), [&1], "each is healed for itself");
    journal.healed(1, "proof").unwrap();
    journal.close().unwrap();
    assert_eq!(list(&place.0).unwrap().len(), 1);
}

#[test]
fn says_who_did_what_when_in_the_runs_folder() {
    let place = Place::new("audit");
    let mut journal = place.create("r");
    let number = journal.asked("gateway.latency", &undo(1)).unwrap();
    journal.effective(number, Time::now()).unwrap();
    journal.healed(number, "GET: none").unwrap();
    journal.close().unwrap();
    let text = std::fs::read_to_string(place.0.join("results/audit.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let actions: Vec<_> = lines.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["asked", "effective", "healed"]);
    for line in &lines {
        assert_eq!((&line["run"], &line["by"], &line["number"]), (&"r".into(), &"run".into(), &1.into()));
        assert!(!line["user"].as_str().unwrap().is_empty() && !line["host"].as_str().unwrap().is_empty());
        assert!(line["at"].as_str().unwrap().parse::<Timestamp>().is_ok(), "{line}");
    }
    assert_eq!(lines[0]["target"], "http://127.0.0.1:1/test/latency");
    assert_eq!(lines[2]["proof"], "GET: none");
}

#[test]
fn is_taken_over_only_when_nobody_answers_for_it() {
    let place = Place::new("lock");
    let mut journal = place.create("r");
    journal.asked("one", &undo(1)).unwrap();
    journal.asked("two", &undo(2)).unwrap();
    journal.healed(1, "proof").unwrap();
    let guardian = journal.share().unwrap();
    assert!(matches!(place.take_over("r"), Ok(Found::Alive)), "held by the run");
    drop(journal);
    assert!(matches!(place.take_over("r"), Ok(Found::Alive)), "held by its guardian");
    drop(guardian);
    let mut left = place.left("r");
    let open: Vec<_> = left.open().iter().map(|(number, fault)| (*number, fault.name.as_str())).collect();
    assert_eq!(open, [(2, "two")]);
    left.healed(2, "proof").unwrap();
    left.close().unwrap();
    assert!(matches!(place.take_over("r"), Ok(Found::Ended)));
    let audit = std::fs::read_to_string(place.0.join("results/audit.jsonl")).unwrap();
    assert!(
        audit.lines().last().unwrap().contains(r#""by":"recover","action":"healed","number":2"#),
        "{audit}"
    );
}

#[test]
fn the_audit_is_whole_whenever_the_run_was_killed() {
    let place = Place::new("unkept");
    let audit = place.0.join("results/audit.jsonl");
    for is_healed in [true, false] {
        let mut journal = place.create("r");
        let number = journal.asked("one", &undo(1)).unwrap();
        if is_healed {
            journal.healed(number, "proof").unwrap();
        }
        drop(journal);
        let whole = std::fs::read_to_string(&audit).unwrap();
        for cut in [0, 1, whole.len() - 1, whole.len()] {
            std::fs::write(&audit, &whole[..cut]).unwrap();
            let mut left = place.left("r");
            left.healed(number, "later").unwrap();
            let journal = std::fs::read(left.path()).unwrap();
            left.close().unwrap();
            let kept = std::fs::read_to_string(&audit).unwrap();
            assert!(kept.starts_with(&whole), "{kept}");
            assert_eq!(kept.contains("later"), !is_healed);
            std::fs::write(place.0.join("r.jsonl"), &journal[..journal.len() - (kept.len() - whole.len())])
                .unwrap();
        }
        std::fs::remove_file(&audit).unwrap();
        std::fs::remove_file(place.0.join("r.jsonl")).unwrap();
    }
}

#[test]
fn half_a_line_at_the_end_is_cut_off_and_any_other_is_told() {
    let place = Place::new("torn");
    let mut journal = place.create("r");
    journal.asked("one", &undo(1)).unwrap();
    let path = journal.path().to_owned();
    drop(journal);
    let whole = std::fs::read(&path).unwrap();
    for cut in 0..whole.len() {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let mut left = place.left("r");
        assert!(left.open().is_empty(), "asked for only when its line is whole");
        left.asked("two", &undo(2)).unwrap();
        drop(left);
        assert_eq!(place.left("r").open().len(), 1, "what follows half a line is read");
    }
    let mut spoilt = b"{\"action\":\"fly\"}\n".to_vec();
    spoilt.extend(&whole);
    std::fs::write(&path, spoilt).unwrap();
    let error = place.take_over("r").unwrap_err().to_string();
    assert!(error.contains("r.jsonl:1: "), "{error}");
}
