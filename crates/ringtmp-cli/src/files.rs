//! Files that are written whole or not at all, and read within bounds.

use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use tempfile::NamedTempFile;

/// Puts a file in the place of whatever is there: under a temporary name first, which becomes its own once all bytes are on
/// the disk. Whoever is stopped in between leaves the older file as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = folder_of(path);
    let write = || -> std::io::Result<()> {
        let mut file = temporary(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        // The name is on the disk once the folder is; only Unix can say so of a folder.
        #[cfg(unix)]
        File::open(folder)?.sync_all()?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Makes a file, and the folder it is to be in; what was in it is gone.
pub(crate) fn create(path: &Path) -> std::io::Result<File> {
    fs::create_dir_all(folder_of(path))?;
    File::create(path)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// A file in this folder that others may read as far as the user's mask lets them; temporary files are private otherwise.
fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    fs::create_dir_all(folder)?;
    #[cfg_attr(not(unix), expect(unused_mut, reason = "only there are permissions"))]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Reads a file of at most so many bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| {
        file.take(bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
    });
    read.with_context(|| format!("cannot read {}", path.display()))?;
    if bytes.len() as u64 > bytes_max {
        bail!("{} is longer than {bytes_max} bytes", path.display());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left_in_its_folder() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("new/file");
        replace(&path, b"first").expect("written");
        replace(&path, b"second").expect("written");
        assert_eq!(read(&path, 6).expect("it is there"), b"second");
        let parent = path.parent().expect("it has one");
        assert_eq!(fs::read_dir(parent).expect("a folder").count(), 1);
        let plain = folder.path().join("plain");
        drop(create(&plain).expect("made"));
        let permissions = |path: &Path| fs::metadata(path).expect("a file").permissions();
        assert_eq!(permissions(&path), permissions(&plain));
        fs::remove_file(plain).expect("it was there");
        // A folder cannot be replaced by a file; the attempt leaves nothing behind.
        assert!(replace(parent, b"third").is_err());
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn a_file_over_its_bound_is_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("long");
        replace(&path, b"123").expect("written");
        assert_eq!(read(&path, 3).expect("short enough"), b"123");
        let refused = read(&path, 2).expect_err("too long").to_string();
        assert!(refused.contains("long"), "{refused}");
    }
}
