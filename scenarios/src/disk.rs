//! Text files as users name them: bounded, and an error says what may have been meant.

use crate::problem::nearest;
use std::fs::File;
use std::io::{Error, ErrorKind, Read as _, Result};
use std::path::Path;

/// Longest file, bytes: no scenario, rule file or configuration comes near it.
const BYTES_MAX: u64 = 16 << 20;

/// The text of the file at `path`. Errors: as [`File::open`]; a folder, more than 16 MiB, or anything but UTF-8.
pub fn read(path: &Path) -> Result<String> {
    let file = File::open(path).map_err(|error| with_advice(error, path))?;
    if file.metadata()?.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a folder; name a file in it"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "it has more than 16 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// A missing file is told of with the one beside it whose name is closest.
fn with_advice(error: Error, path: &Path) -> Error {
    let (ErrorKind::NotFound, Some(wanted)) = (error.kind(), path.file_name().and_then(|name| name.to_str()))
    else {
        return error;
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    match nearest(wanted, names.iter().map(String::as_str)) {
        Some(near) => {
            let near = path.with_file_name(near);
            Error::new(
                ErrorKind::NotFound,
                format!("there is no such file; did you mean {}?", near.display()),
            )
        }
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &Path, expected: &str) {
        let read = read(path).map_or_else(|error| error.to_string(), |text| format!("{} bytes", text.len()));
        assert_eq!(read, expected);
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        check(
            &folder.join("peek.yaml"),
            &format!("there is no such file; did you mean {}?", folder.join("peak.yaml").display()),
        );
        check(&folder.join("zebra.txt"), "No such file or directory (os error 2)");
        check(folder, "it is a folder; name a file in it");
        check(Path::new("/dev/zero"), "it has more than 16 MiB");
        check(Path::new("/dev/null"), "0 bytes");
        let binary = std::env::temp_dir().join(format!("scenarios-disk-{}", std::process::id()));
        std::fs::write(&binary, [0xFF, 0xFE]).expect("a folder for temporary files");
        check(&binary, "it is not UTF-8 text");
        std::fs::remove_file(binary).expect("it is there");
    }
}
