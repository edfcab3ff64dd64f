//! Skipping steps whose inputs did not change since they last succeeded.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// A step's inputs, as a hash of their contents, and where the hash of its last success is kept.
pub(crate) struct Stamp {
    file: PathBuf,
    hash: String,
}

impl Stamp {
    /// The current state of the files and folders `inputs`, and of `words`: inputs that are not
    /// files, such as versions.
    pub(crate) fn of(file: PathBuf, inputs: &[PathBuf], words: &str) -> Stamp {
        let mut hasher = DefaultHasher::new();
        words.hash(&mut hasher);
        for input in inputs {
            add(input, &mut hasher);
        }
        Stamp { file, hash: format!("{:016x}", hasher.finish()) }
    }

    /// Whether the step succeeded with these inputs and all `outputs` are still there.
    pub(crate) fn is_current(&self, outputs: &[PathBuf]) -> bool {
        outputs.iter().all(|output| output.exists())
            && std::fs::read_to_string(&self.file).is_ok_and(|kept| kept == self.hash)
    }

    /// Records that the step succeeded.
    pub(crate) fn keep(&self) -> Result<(), String> {
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        std::fs::write(&self.file, &self.hash).map_err(|error| format!("{}: {error}", self.file.display()))
    }
}

fn add(path: &Path, hasher: &mut DefaultHasher) {
    path.file_name().hash(hasher);
    if let Ok(entries) = std::fs::read_dir(path) {
        let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            add(&path, hasher);
        }
    } else if let Ok(content) = std::fs::read(path) {
        content.hash(hasher);
    }
}
