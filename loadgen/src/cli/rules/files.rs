//! The rule files that a test file names.

use assertions::rule_test::{TestFile, glob};
use scenarios::problem::{Problem, Severity};
use scenarios::span::{Source, Spanned};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Most files that one pattern may name.
const FILES_MAX: usize = 10_000;

/// A file as a source; its name is the path as written.
pub(super) fn read(path: &Path) -> Result<Arc<Source>, Problem> {
    let name = path.display().to_string();
    match std::fs::read(path).map(String::from_utf8) {
        Ok(Ok(text)) => Ok(Arc::new(Source { name, text })),
        Ok(Err(_)) => Err(without_place(format!("{name} is not UTF-8 text"))),
        Err(error) => Err(without_place(format!("cannot read {name}: {error}"))),
    }
}

pub(super) fn without_place(summary: String) -> Problem {
    Problem { severity: Severity::Error, summary, span: None, hint: None, related: Vec::new() }
}

/// All rule files of a test file, in the order it names them, each once.
pub(super) fn of_test(file: &TestFile, path: &Path, problems: &mut Vec<Problem>) -> Vec<Arc<Source>> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut found: Vec<PathBuf> = Vec::new();
    for pattern in &file.rule_files {
        for path in expanded(pattern, folder, problems) {
            if !found.contains(&path) {
                found.push(path);
            }
        }
    }
    let mut sources = Vec::new();
    for path in &found {
        match read(path) {
            Ok(source) => sources.push(source),
            Err(problem) => problems.push(problem),
        }
    }
    sources
}

/// The files of a pattern, by name. None is a warning, as in promtool.
fn expanded(pattern: &Spanned<String>, folder: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    let whole = folder.join(&pattern.value);
    let mut found = vec![PathBuf::new()];
    for component in whole.components() {
        let name = component.as_os_str().to_string_lossy().into_owned();
        found = match glob::is_pattern(&name) {
            true => found.iter().flat_map(|base| matching(base, &name)).take(FILES_MAX).collect(),
            false => found.into_iter().map(|base| base.join(component.as_os_str())).collect(),
        };
    }
    found.retain(|path| path.exists());
    let complaint = match glob::matches(&pattern.value.replace('/', ""), "") {
        None => Some(format!("`{}` is not a pattern of file names", pattern.value)),
        Some(_) if found.is_empty() => Some(format!("no rule file `{}`", pattern.value)),
        Some(_) => None,
    };
    if let (Some(summary), Some(span)) = (complaint, pattern.span.clone()) {
        let problem = Problem::error(summary, span).warning();
        problems.push(problem.hint("the tests run without it; names are relative to the test file"));
    }
    found
}

fn matching(base: &Path, pattern: &str) -> Vec<PathBuf> {
    let folder = if base.as_os_str().is_empty() { Path::new(".") } else { base };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<PathBuf> = entries
        .map(|entry| entry.file_name())
        .filter(|name| glob::matches(pattern, &name.to_string_lossy()) == Some(true))
        .map(|name| base.join(name))
        .collect();
    names.sort();
    names
}
