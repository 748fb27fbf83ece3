//! Writing the result: into a directory that has nothing of its own, and nothing that is there is replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::import::grammar::word;
use crate::import::model::Output;

/// Refuses a directory with files in it.
pub(super) fn look(folder: &Path) -> Result<(), String> {
    match fs::read_dir(folder) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!(
                "{} is not empty, and nothing is overwritten; name another directory with --out",
                folder.display()
            )),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(format!("{}: {error}", folder.display())),
    }
}

/// Writes all files; their paths.
pub(super) fn write(folder: &Path, outputs: Vec<Output>) -> Result<Vec<PathBuf>, String> {
    let told = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| told(folder, error))?;
    let root = folder.canonicalize().map_err(|error| told(folder, error))?;
    let mut written = Vec::new();
    for output in outputs {
        let path = folder.join(&output.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|error| told(parent, error))?;
        }
        let text = match &*output.path {
            "Corefile" => {
                let root = word(&root.display().to_string());
                output.text.replacen("{ROOT}", &root, 1)
            }
            _ => output.text,
        };
        // Keys are secrets.
        let mode = if output.path.ends_with(".keys") {
            0o600
        } else {
            0o666
        };
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(mode);
        let file: io::Result<File> = options.open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(|error| told(&path, error))?;
        written.push(path);
    }
    Ok(written)
}
