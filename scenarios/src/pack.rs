//! Finds a system's pack by name: beside the scenario first, then among those built into the program.
//!
//! A pack is a folder with `rules.yml`, `alertmanager.yml` and perhaps `slo.yml`. Nothing in it is read here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::load::Files;
use crate::scenario::FileRef;

static EMBEDDED: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/packs");

/// A system's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its name.
    pub name: String,
    /// `rules.yml`.
    pub rules: Option<FileRef>,
    /// `alertmanager.yml`.
    pub alertmanager: Option<FileRef>,
    /// `slo.yml`.
    pub slo: Option<FileRef>,
}

/// The pack `name` for a scenario in `folder`; `None` if there is none.
///
/// Looks in `packs/NAME` of the folder and of those above it up to one called `scenarios`, then in the program.
pub fn find(name: &str, folder: &Path, files: Files<'_>) -> Option<Pack> {
    if name.is_empty() || name.contains(['/', '\\', '.']) {
        return None;
    }
    on_disk(name, folder, files).or_else(|| embedded(name))
}

/// The names of all packs built into the program, sorted.
pub fn names() -> BTreeSet<&'static str> {
    EMBEDDED.dirs().filter_map(|dir| dir.path().to_str()).collect()
}

fn on_disk(name: &str, folder: &Path, files: Files<'_>) -> Option<Pack> {
    let upwards = folder.ancestors();
    let mut beyond = false;
    let until_scenarios = upwards.take_while(|folder| {
        let within = !beyond;
        beyond = folder.file_name().is_some_and(|name| name == "scenarios");
        within
    });
    let file = |path: PathBuf| files(&path).is_ok().then_some(FileRef { path, embedded: None });
    until_scenarios.map(|folder| folder.join("packs").join(name)).find_map(|folder| {
        let pack = pack(name, |file_name| file(folder.join(file_name)));
        (pack.rules.is_some() || pack.alertmanager.is_some()).then_some(pack)
    })
}

fn embedded(name: &str) -> Option<Pack> {
    EMBEDDED.get_dir(name)?;
    let file = |file_name: &str| {
        let path = Path::new(name).join(file_name);
        let text = EMBEDDED.get_file(&path)?.contents_utf8()?;
        Some(FileRef { path: Path::new("packs").join(path), embedded: Some(text) })
    };
    Some(pack(name, file))
}

fn pack(name: &str, file: impl Fn(&str) -> Option<FileRef>) -> Pack {
    Pack {
        name: name.to_owned(),
        rules: file("rules.yml"),
        alertmanager: file("alertmanager.yml"),
        slo: file("slo.yml"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_pack_is_looked_for_upwards_to_scenarios() {
        let check = |file: &str, folder: &str, expected: bool| {
            let files = |path: &Path| match path == Path::new(file) {
                true => Ok(String::new()),
                false => Err(io::ErrorKind::NotFound.into()),
            };
            let found = find("mine", Path::new(folder), &files).and_then(|pack| pack.rules);
            assert_eq!(found.is_some(), expected, "{file} from {folder}");
        };
        check("a/packs/mine/rules.yml", "a", true);
        check("packs/mine/rules.yml", "", true);
        check("scenarios/packs/mine/rules.yml", "scenarios/team/nightly", true);
        check("packs/mine/rules.yml", "scenarios/team", false);
        assert_eq!(find("../mine", Path::new("a"), &|_| Ok(String::new())), None);
    }
}
