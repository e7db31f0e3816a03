//! Archives of a release: the same files give the same bytes, whoever packs them, where and when.

use anyhow::{Context, Result, bail};
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Packs a folder with its name into a `.tar.gz` or a `.zip`, and writes the archive's digest beside it as `sha256sum` does.
pub(crate) fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let base = folder.parent().context("a folder lies in another")?;
    let mut files = Vec::new();
    list(folder, &mut files)?;
    files.sort();
    let name = file_name(archive)?;
    let out = BufWriter::new(File::create(archive)?);
    if name.ends_with(".tar.gz") {
        tar(base, &files, out)?;
    } else if name.ends_with(".zip") {
        zipped(base, &files, out)?;
    } else {
        bail!("{name} is neither a .tar.gz nor a .zip");
    }
    let digest = Sha256::digest(fs::read(archive)?);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let beside = archive.with_file_name(format!("{name}.sha256"));
    fs::write(beside, format!("{hex}  {name}\n"))?;
    Ok(())
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => list(&entry.path(), files)?,
            false => files.push(entry.path()),
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.with_context(|| format!("{} has no name", path.display()))
}

/// A file's path in the archive, with slashes.
fn inside(base: &Path, file: &Path) -> Result<String> {
    let path = file.strip_prefix(base)?;
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    Ok(parts.join("/"))
}

fn tar(base: &Path, files: &[PathBuf], out: impl Write) -> Result<()> {
    let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::best()));
    for file in files {
        let bytes = fs::read(file)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(mode(file)?);
        header.set_mtime(time());
        archive.append_data(&mut header, inside(base, file)?, bytes.as_slice())?;
    }
    archive.into_inner()?.finish()?.flush()?;
    Ok(())
}

fn zipped(base: &Path, files: &[PathBuf], out: impl Write + std::io::Seek) -> Result<()> {
    let mut archive = ZipWriter::new(out);
    for file in files {
        // Its time is the format's first: only whole archives are compared, and they have to be the same.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(zip::DateTime::default())
            .unix_permissions(mode(file)?);
        archive.start_file(inside(base, file)?, options)?;
        archive.write_all(&fs::read(file)?)?;
    }
    archive.finish()?.flush()?;
    Ok(())
}

/// The time of all files: that of the commit, where whoever builds says so.
fn time() -> u64 {
    let named = std::env::var("SOURCE_DATE_EPOCH").ok();
    named.and_then(|text| text.parse().ok()).unwrap_or_default()
}

/// Programs may be run, everything may be read; what else the user's mask made of it does not matter.
fn mode(file: &Path) -> Result<u32> {
    #[cfg(unix)]
    let runs = {
        use std::os::unix::fs::PermissionsExt;
        fs::metadata(file)?.permissions().mode() & 0o100 != 0
    };
    #[cfg(not(unix))]
    let runs = file.extension().is_some_and(|extension| extension == "exe");
    Ok(if runs { 0o755 } else { 0o644 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn example(folder: &Path) -> PathBuf {
        let inner = folder.join("ringtmp-1");
        fs::create_dir_all(inner.join("man")).expect("made");
        fs::write(inner.join("man/ringtmp.1"), ".TH ringtmp").expect("written");
        fs::write(inner.join("README.txt"), "read me").expect("written");
        inner
    }

    #[test]
    fn an_archive_has_all_files_and_packed_again_the_same_bytes() {
        let folder = std::env::temp_dir().join(format!("ringtmp-archive-{}", std::process::id()));
        let inner = example(&folder);
        for name in ["a.tar.gz", "a.zip"] {
            let archive = folder.join(name);
            pack(&inner, &archive).expect("packed");
            let first = fs::read(&archive).expect("it is there");
            pack(&inner, &archive).expect("packed");
            assert!(first == fs::read(&archive).expect("it is there"), "{name}");
            let digest = fs::read_to_string(folder.join(format!("{name}.sha256")));
            let digest = digest.expect("beside it");
            assert!(digest.ends_with(&format!("  {name}\n")) && digest.len() == 67 + name.len());
        }
        let unzipped =
            flate2::read::GzDecoder::new(File::open(folder.join("a.tar.gz")).expect("a file"));
        let mut found = Vec::new();
        for entry in tar::Archive::new(unzipped).entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a text");
            let path = entry.path().expect("a path").display().to_string();
            found.push((path, text));
        }
        let expected = [
            ("ringtmp-1/README.txt", "read me"),
            ("ringtmp-1/man/ringtmp.1", ".TH ringtmp"),
        ];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(found, expected);
        let zip = File::open(folder.join("a.zip")).expect("a file");
        let zip = zip::ZipArchive::new(zip).expect("a zip");
        let names = zip
            .file_names()
            .map(|name| name.map(|name| name.into_owned()));
        let mut names: Vec<String> = names.collect::<Result<_, _>>().expect("UTF-8");
        names.sort();
        assert_eq!(names, expected.map(|(path, _)| path));
        fs::remove_dir_all(folder).expect("removed");
    }
}
