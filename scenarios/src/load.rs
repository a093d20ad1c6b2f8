//! From a path to a checked scenario: files, layers, arguments, lowering.
//!
//! Start here: [`load`]. Precedence, lowest first: built-in, pack, `include`, the file, `--env`, `--set`.
//! Files are read through one function given by the caller, so that nothing else here touches a disk.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk;
use crate::explain::{self, Setting};
use crate::keys;
use crate::lower::{self, fields::Context};
use crate::merge::merge;
use crate::pack::{self, Pack};
use crate::problem::{Problem, Problems, Severity, nearest};
use crate::scenario::Scenario;
use crate::set;
use crate::span::{COMMAND_LINE, Source, Span};
use crate::yaml::{self, Node, Value};

/// Reads a file's text.
pub type Files<'a> = &'a dyn Fn(&Path) -> io::Result<String>;

/// What the command line says besides the file's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `--env NAME`: the overlay to use.
    pub env: Option<String>,
    /// `--set PATH=VALUE`, in order, without the `--set`.
    pub sets: Vec<String>,
    /// `--no-faults`: the control run.
    pub no_faults: bool,
}

/// A scenario that can be run, and where all of it comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The scenario.
    pub scenario: Scenario,
    /// Its pack, if it names one.
    pub pack: Option<Pack>,
    /// Warnings.
    pub problems: Problems,
    /// Every file that was read, the scenario first.
    pub sources: Vec<Arc<Source>>,
    /// Every value in force and where it comes from.
    pub provenance: Vec<Setting>,
}

/// Loads a scenario from the disk. Errors: everything found wrong in all files, at least one error.
pub fn load(path: &Path, options: &Options) -> Result<Loaded, Problems> {
    load_with(path, options, &disk::read)
}

/// Loads a scenario whose files come from `files`. Errors: as [`load`].
pub fn load_with(path: &Path, options: &Options, files: Files<'_>) -> Result<Loaded, Problems> {
    let mut loading = Loading { files, sources: Vec::new(), problems: Vec::new(), incomplete: false };
    let Some(root) = loading.layers(path, options) else { return Err(loading.problems.into()) };
    if loading.incomplete {
        // What a layer that could not be read would have said cannot be called missing.
        return Err(loading.problems.into());
    }
    let pack = loading.pack(&root, path);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let cx = Context::default();
    let scenario = lower::scenario(&cx, &root, &stem, pack.as_ref());
    loading.problems.extend(cx.into_problems());
    let problems = Problems(loading.problems);
    match scenario {
        Some(mut scenario) if !problems.has_errors() => {
            let provenance = explain::settings(&root, &scenario, options.no_faults);
            if options.no_faults {
                scenario.phases.iter_mut().for_each(|phase| phase.faults.clear());
            }
            Ok(Loaded { scenario, pack, problems, sources: loading.sources, provenance })
        }
        _ => Err(Problems(complete(problems.0, path))),
    }
}

/// A scenario that could not be built without a word about why would be our fault; the user still gets one.
fn complete(mut problems: Vec<Problem>, path: &Path) -> Vec<Problem> {
    if !problems.iter().any(|problem| problem.severity == Severity::Error) {
        problems.push(without_place(format!("{} cannot be loaded", path.display())));
    }
    problems
}

/// The folder that a file's relative paths start from; the working folder for the command line.
pub(crate) fn folder_of(source: &Source) -> PathBuf {
    if source.name == COMMAND_LINE {
        return PathBuf::new();
    }
    Path::new(&source.name).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn without_place(summary: String) -> Problem {
    Problem { severity: Severity::Error, summary, span: None, hint: None, related: Vec::new() }
}

struct Loading<'a> {
    files: Files<'a>,
    sources: Vec<Arc<Source>>,
    problems: Vec<Problem>,
    /// Whether a layer is missing because its file could not be read.
    incomplete: bool,
}

impl Loading<'_> {
    /// The tree of all layers; `None` if there is no sense in going on.
    fn layers(&mut self, path: &Path, options: &Options) -> Option<Node> {
        let mut main = self.file(path, None)?;
        let overlays = take(&mut main, "environments");
        let mut merged = self.includes(take(&mut main, "include"), path);
        merged = Some(match merged {
            Some(below) => merge(below, main, ""),
            None => main,
        });
        let mut root = merged?;
        if let Some(overlay) = self.overlay(overlays, options) {
            root = merge(root, overlay, "");
        }
        for argument in &options.sets {
            if let Err(problems) = set::apply(&mut root, argument) {
                self.problems.extend(problems);
            }
        }
        Some(root)
    }

    /// One file as a map with known keys.
    fn file(&mut self, path: &Path, named_at: Option<&Span>) -> Option<Node> {
        let text = match (self.files)(path) {
            Ok(text) => text,
            Err(error) => {
                let problem = without_place(format!("{} cannot be read: {error}", path.display()));
                self.problems.push(Problem { span: named_at.cloned(), ..problem });
                return None;
            }
        };
        let source = Arc::new(Source { name: path.display().to_string(), text });
        self.sources.push(source.clone());
        let node = match yaml::parse(source) {
            Ok(node) => node,
            Err(problems) => {
                self.problems.extend(problems);
                return None;
            }
        };
        if !matches!(node.value, Value::Mapping(_)) {
            let problem =
                Problem::error(format!("a scenario is a map of keys, found {}", node.kind()), node.head());
            self.problems.push(problem.hint("begin with `version: 1` and `target: {gateway: {}}`"));
            return None;
        }
        keys::check(&node, "", &mut self.problems);
        Some(node)
    }

    fn includes(&mut self, include: Option<Node>, path: &Path) -> Option<Node> {
        let include = include?;
        let items = match &include.value {
            Value::Sequence(items) => items.as_slice(),
            _ => std::slice::from_ref(&include),
        };
        let mut merged: Option<Node> = None;
        for item in items {
            let Some(name) = item.expect_text("a file name", &mut self.problems) else { continue };
            let folder = path.parent().unwrap_or(Path::new(""));
            let Some(mut node) = self.file(&folder.join(name), Some(&item.span)) else {
                self.incomplete = true;
                continue;
            };
            for key in ["include", "environments"] {
                if let Some(inner) = take(&mut node, key) {
                    self.incomplete = true;
                    let problem = Problem::error(format!("an included file has `{key}`"), inner.head());
                    let problem = problem.hint("move it to the file that includes");
                    self.problems.push(problem.related(item.span.clone(), "included here"));
                }
            }
            merged = Some(match merged {
                Some(below) => merge(below, node, ""),
                None => node,
            });
        }
        merged
    }

    fn overlay(&mut self, overlays: Option<Node>, options: &Options) -> Option<Node> {
        for (_, overlay) in overlays.iter().flat_map(Node::entries) {
            for (key, _) in overlay.entries() {
                if matches!(key.text.as_str(), "version" | "name" | "include" | "environments") {
                    let problem = Problem::error(
                        format!("an environment cannot change `{}`", key.text),
                        key.span.clone(),
                    );
                    self.problems.push(problem.hint("move it to the top of the file"));
                }
            }
        }
        let wanted = options.env.as_deref()?;
        let found = overlays.as_ref().and_then(|overlays| overlays.get(wanted));
        if let Some(overlay) = found {
            overlay.expect_mapping("a map of keys", &mut self.problems)?;
            return Some(overlay.clone());
        }
        let text = format!("--env {wanted}");
        let end = text.len();
        let source = Arc::new(Source { name: COMMAND_LINE.to_owned(), text });
        let known: Vec<_> =
            overlays.iter().flat_map(Node::entries).map(|(key, _)| key.text.as_str()).collect();
        let hint = match (nearest(wanted, known.iter().copied()), known.is_empty()) {
            (Some(name), _) => format!("did you mean `{name}`?"),
            (None, true) => "the file has no `environments`".to_owned(),
            (None, false) => format!("there are: {}", known.join(", ")),
        };
        let problem =
            Problem::error(format!("no environment `{wanted}`"), Span::new(source, "--env ".len(), end));
        self.problems.push(problem.hint(hint));
        None
    }

    fn pack(&mut self, root: &Node, path: &Path) -> Option<Pack> {
        let node = root.get("pack").filter(|node| !node.is_null())?;
        let name = node.text()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let found = pack::find(name, folder, self.files);
        if found.is_none() {
            let known = pack::names();
            let problem = Problem::error(format!("no pack `{name}`"), node.span.clone());
            self.problems.push(match nearest(name, known.iter().copied()) {
                Some(name) => problem.hint(format!("did you mean `{name}`?")),
                None => problem
                    .hint(format!("a pack is a folder `packs/{name}` beside the scenario, with a rules.yml")),
            });
        }
        found
    }
}

/// Takes a key out of a map.
fn take(node: &mut Node, key: &str) -> Option<Node> {
    let Value::Mapping(entries) = &mut node.value else { return None };
    let at = entries.iter().position(|(found, _)| found.text == key)?;
    Some(entries.remove(at).1).filter(|node| !node.is_null())
}

/// Files held in memory, by path: for tests and for reading what an archive holds.
pub fn from_memory(files: HashMap<PathBuf, String>) -> impl Fn(&Path) -> io::Result<String> {
    move |path| files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
}
