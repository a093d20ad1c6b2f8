//! Every diagnostic, as its user sees it: `broken.test` holds input and exact output.
//!
//! A case is `=== title`, perhaps lines `$ --set ...`, the file, `--- output`, and the output.
//! `UPDATE_GOLDEN=1` writes what is printed now; read the difference before it is committed.

use std::path::Path;

use scenarios::{Options, load_with};

fn files<'a>(text: &'a str) -> impl Fn(&Path) -> std::io::Result<String> + 'a {
    move |path| match path.to_str() {
        Some("broken.yaml") => Ok(text.to_owned()),
        Some("nested.yaml") => Ok("include: [base.yaml]\n".to_owned()),
        _ => std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(path)),
    }
}

fn output(input: &str) -> String {
    let mut options = Options::default();
    let mut text = String::new();
    for line in input.lines() {
        match line.strip_prefix("$ ") {
            Some("--no-faults") => options.no_faults = true,
            Some(argument) => match argument.split_once(' ') {
                Some(("--env", name)) => options.env = Some(name.to_owned()),
                Some((_, set)) => options.sets.push(set.to_owned()),
                None => panic!("{argument}"),
            },
            None => text = text + line + "\n",
        }
    }
    match load_with(Path::new("broken.yaml"), &options, &files(&text)) {
        Ok(loaded) => format!("{}loads\n", loaded.problems),
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn every_case_prints_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken.test");
    let golden = std::fs::read_to_string(&path).expect("broken.test");
    let mut printed = String::new();
    let mut cases = 0;
    for case in golden.split("=== ").skip(1) {
        let (input, _) = case.split_once("--- output\n").unwrap_or((case, ""));
        let (title, text) = input.split_once('\n').expect("a title");
        printed += &format!("=== {title}\n{text}--- output\n{}", output(text));
        cases += 1;
    }
    assert!(cases >= 40, "{cases} cases");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &printed).expect("writable");
        return;
    }
    for (line, (was, is)) in golden.lines().zip(printed.lines()).enumerate() {
        assert_eq!(was, is, "broken.test:{}", line + 1);
    }
    assert_eq!(golden.len(), printed.len());
}
