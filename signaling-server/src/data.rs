//! `/data/{file}`: the files of a data set in MNIST's format, for runs whose data is `idx:/data`.

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

/// What is read from disk at a time for one answer.
const CHUNK_BYTES: usize = 64 * 1024;

/// A folder in which at least one of the known files lies.
#[derive(Debug)]
pub(crate) struct DataFolder {
    folder: PathBuf,
}

impl DataFolder {
    pub(crate) fn open(folder: &Path) -> Result<Self, ServerError> {
        let unusable = |detail: String| ServerError::Data {
            path: folder.to_owned(),
            detail,
        };
        if !folder.is_dir() {
            return Err(unusable("it is not a folder".to_owned()));
        }
        let plain = NAMES.iter().map(|name| (*name).to_owned());
        let any = plain
            .flat_map(|name| [format!("{name}.gz"), name])
            .any(|name| folder.join(name).is_file());
        if !any {
            let names = NAMES.join(", ");
            return Err(unusable(format!(
                "none of {names} is there, with or without .gz"
            )));
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Answers a request for the file of this name.
    pub(crate) async fn respond(&self, name: &str, request: &HeaderMap) -> Response {
        let Some((name, content_type)) = known(name) else {
            let names = NAMES.join(", ");
            let text = format!("only {names} are served here, with or without .gz\n");
            return (StatusCode::NOT_FOUND, text).into_response();
        };
        match self.open_file(&name).await {
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
                let text = format!("{name} is not in the server's data folder\n");
                (StatusCode::NOT_FOUND, text).into_response()
            }
            Err(error) => {
                tracing::warn!(%error, file = %name, "cannot read a data file");
                let text = format!("the server cannot read {name}; its log says why\n");
                (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
            }
        }
    }

    /// The file, its length in bytes, and a tag that changes with it.
    async fn open_file(&self, name: &str) -> std::io::Result<(File, u64, String)> {
        let file = File::open(self.folder.join(name)).await?;
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
