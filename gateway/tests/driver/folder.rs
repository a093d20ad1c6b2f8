//! Where a gateway under test may write.

/// A folder that is gone when the test is over.
#[derive(Debug)]
pub(crate) struct Folder(String);

impl Folder {
    /// A new one.
    pub(crate) fn new(name: &str) -> Folder {
        let folder = std::env::temp_dir().join(format!("gateway-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder.to_str().unwrap().to_owned())
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &str {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind, it is only litter.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
