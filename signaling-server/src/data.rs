//! `/data/{file}`: the files of a data set in MNIST's format, for runs whose data is `idx:/data`; or one text or table, for runs
//! whose data is `text:/data/file` or `csv:/data/file`.

use crate::ServerError;
use crate::negotiate::client_has;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// The names that are served, also with `.gz` at the end. Nothing else in the folder can be asked for.
const NAMES: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

/// The name under which a single file is served, whatever its own.
const SINGLE: &str = "file";

/// The longest single file: a peer reads no longer table, and a text only a quarter of it.
const SINGLE_BYTES_MAX: u64 = 256 << 20;

/// What is read from disk at a time for one answer.
const CHUNK_BYTES: usize = 64 * 1024;

/// What is served.
#[derive(Debug)]
pub(crate) enum DataFiles {
    /// The known files of a folder in which at least one of them lies.
    Folder(PathBuf),
    /// One file.
    Single(PathBuf),
}

impl DataFiles {
    pub(crate) fn open(path: &Path) -> Result<Self, ServerError> {
        let unusable = |detail: String| ServerError::Data {
            path: path.to_owned(),
            detail,
        };
        if path.is_file() {
            return match std::fs::metadata(path).map(|metadata| metadata.len()) {
                Ok(bytes) if bytes <= SINGLE_BYTES_MAX => Ok(Self::Single(path.to_owned())),
                Ok(bytes) => Err(unusable(format!(
                    "it has {bytes} bytes, and no device reads more than {SINGLE_BYTES_MAX}: use a part of it"
                ))),
                Err(error) => Err(unusable(error.to_string())),
            };
        }
        if !path.is_dir() {
            return Err(unusable("there is no such file or folder".to_owned()));
        }
        let plain = NAMES.iter().map(|name| (*name).to_owned());
        let any = plain
            .flat_map(|name| [format!("{name}.gz"), name])
            .any(|name| path.join(name).is_file());
        if !any {
            let names = NAMES.join(", ");
            return Err(unusable(format!(
                "none of {names} is there, with or without .gz"
            )));
        }
        Ok(Self::Folder(path.to_owned()))
    }

    /// The path and the type of what is asked for by this name; the name itself never becomes a path.
    fn find(&self, name: &str) -> Result<(PathBuf, &'static str), String> {
        match self {
            Self::Single(path) if name == SINGLE => Ok((path.clone(), "application/octet-stream")),
            Self::Single(_) => Err(format!("only /data/{SINGLE} is served here\n")),
            Self::Folder(folder) => match known(name) {
                Some((name, content_type)) => Ok((folder.join(name), content_type)),
                None => {
                    let names = NAMES.join(", ");
                    Err(format!(
                        "only {names} are served here, with or without .gz\n"
                    ))
                }
            },
        }
    }

    /// Answers a request for the file of this name.
    pub(crate) async fn respond(&self, name: &str, request: &HeaderMap) -> Response {
        let (path, content_type) = match self.find(name) {
            Ok(found) => found,
            Err(text) => return (StatusCode::NOT_FOUND, text).into_response(),
        };
        match open_file(&path).await {
            Ok((file, bytes, etag)) => {
                let tags = request
                    .get(header::IF_NONE_MATCH)
                    .and_then(|tags| tags.to_str().ok());
                let headers = [(header::ETAG, etag.clone())];
                if client_has(tags, &etag) {
                    return (StatusCode::NOT_MODIFIED, headers).into_response();
                }
                let described = [
                    (header::CONTENT_TYPE, content_type.to_owned()),
                    (header::CONTENT_LENGTH, bytes.to_string()),
                ];
                (headers, described, stream(file, bytes)).into_response()
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = "it is not among the server's data\n";
                (StatusCode::NOT_FOUND, text).into_response()
            }
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "cannot read a data file");
                let text = "the server cannot read it; its log says why\n";
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }
}

/// The file, its length in bytes, and a tag that changes with it.
async fn open_file(path: &Path) -> std::io::Result<(File, u64, String)> {
    let file = File::open(path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    let modified = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified_ns = modified.unwrap_or_default().as_nanos();
    let etag = format!("W/\"{}-{modified_ns}\"", metadata.len());
    Ok((file, metadata.len(), etag))
}

/// The name as our own constant and its type, if it is one of those served: no text of a request ever becomes a path.
fn known(name: &str) -> Option<(String, &'static str)> {
    let (stem, zipped) = match name.strip_suffix(".gz") {
        Some(stem) => (stem, true),
        None => (name, false),
    };
    let known = NAMES.iter().find(|known| **known == stem)?;
    Some(if zipped {
        (format!("{known}.gz"), "application/gzip")
    } else {
        ((*known).to_owned(), "application/octet-stream")
    })
}

/// Exactly `bytes` bytes of the file (it may grow meanwhile), a chunk at a time, as fast as the socket takes them.
fn stream(file: File, bytes: u64) -> Body {
    let chunks = futures::stream::try_unfold(file.take(bytes), |mut file| async move {
        let mut chunk = Vec::with_capacity(CHUNK_BYTES);
        let read = file.read_buf(&mut chunk).await?;
        std::io::Result::Ok((read > 0).then(|| (Bytes::from(chunk), file)))
    });
    Body::from_stream(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_names_become_paths() {
        assert!(known("train-images-idx3-ubyte").is_some());
        assert!(known("t10k-labels-idx1-ubyte.gz").is_some());
        let others = [
            "",
            ".gz",
            "..",
            "../secret",
            "train-images-idx3-ubyte.gz.gz",
            "train-images-idx3-ubyte/../secret",
            "./train-images-idx3-ubyte",
            "train-images-idx3-ubyte\0",
            "TRAIN-images-idx3-ubyte",
        ];
        for other in others {
            assert_eq!(known(other), None, "{other}");
        }
    }
}
