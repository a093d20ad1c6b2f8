//! Any bytes as a YAML file, as a scenario, and as the value of a `--set`: problems, never a panic.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use scenarios::span::Source;
use scenarios::{Options, load_with, yaml};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let source = Arc::new(Source { name: "fuzz.yaml".to_owned(), text: text.to_owned() });
    if let Ok(tree) = yaml::parse(source) {
        let end = tree.text().map_or(0, str::len);
        let _ = (tree.head().text().len(), tree.span_within(0..end).text().len());
    }
    let files = |path: &Path| match path.to_str() {
        Some("fuzz.yaml") => Ok(text.to_owned()),
        Some("base.yaml") => Ok("target: {gateway: {}}\nphases: [{name: a, for: 1s}]\n".to_owned()),
        _ => Err(std::io::ErrorKind::NotFound.into()),
    };
    let set = Options { sets: vec![text.to_owned()], ..Options::default() };
    for (file, options) in [("fuzz.yaml", Options::default()), ("base.yaml", set)] {
        if let Err(problems) = load_with(Path::new(file), &options, &files) {
            let _ = problems.render(true);
        }
    }
});
