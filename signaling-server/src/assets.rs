//! The built page, held in memory: read once, compressed once, so that no request ever touches a path. It comes from a folder or
//! out of the program; from there on there is no difference.

use crate::negotiate::{Encoding, choose, client_has};
use crate::{BUILD_COMMAND, DIST_COMMAND, ServerError};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The most files of a page; a build has about ten.
const FILES_MAX: usize = 256;

/// The longest file of a page. The wasm is about 4 MiB; far more is a mistake in `--www`.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How deep folders are read. wasm-bindgen puts snippets at `snippets/{crate}/{file}`.
const DEPTH_MAX: usize = 4;

/// Brotli's effort where the build left no `.br` file: most of the gain of 11 for a twentieth of the time.
const BROTLI_QUALITY: i32 = 5;

/// Brotli's window, 2^22 bytes: its usual value, larger than any of our files but the wasm.
const BROTLI_WINDOW_LOG2: i32 = 22;

/// A file of a page that is part of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageFile {
    /// Its path from the page's folder, with slashes and without a leading one: `snippets/a/b.js`.
    pub path: &'static str,
    /// All of it.
    pub bytes: &'static [u8],
}

/// Where the page comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageSource {
    /// A folder. If it has no `index.html`, the server starts all the same and says at `/` what to do.
    Folder(PathBuf),
    /// The program itself, with the compressed files (`.br`, `.gz`) that the build left beside the plain ones.
    BuiltIn(&'static [PageFile]),
}

impl<P: Into<PathBuf>> From<P> for PageSource {
    fn from(folder: P) -> Self {
        Self::Folder(folder.into())
    }
}

impl fmt::Display for PageSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::BuiltIn(_) => f.write_str("this program"),
        }
    }
}

impl PageSource {
    /// Whether there is a page: whether it has a file that is shown first.
    pub fn has_page(&self) -> bool {
        match self {
            Self::Folder(folder) => folder.join(INDEX).is_file(),
            Self::BuiltIn(files) => files.iter().any(|file| file.path == INDEX),
        }
    }

    /// The paths of all files that can be asked for by name, with what they are.
    fn served(&self) -> Result<BTreeMap<String, &'static str>, ServerError> {
        let mut served = BTreeMap::new();
        match self {
            Self::Folder(folder) => list(folder, "", 0, &mut served)?,
            Self::BuiltIn(files) => served.extend(
                files
                    .iter()
                    .filter_map(|file| Some((file.path.to_owned(), content_type(file.path)?))),
            ),
        }
        Ok(served)
    }

    /// One file; an error in words where it cannot be read.
    fn read(&self, path: &str) -> Result<Bytes, String> {
        match self {
            Self::Folder(folder) => {
                read_bounded(&folder.join(path), FILE_BYTES_MAX).map(Bytes::from)
            }
            Self::BuiltIn(files) => files
                .iter()
                .find(|file| file.path == path)
                // Refers to the program: nothing is copied.
                .map(|file| Bytes::from_static(file.bytes))
                .ok_or_else(|| format!("{path} is not part of this program")),
        }
    }
}

/// What is shown first.
const INDEX: &str = "index.html";

/// The page, or where it was looked for.
#[derive(Debug)]
pub(crate) enum Page {
    Built(Assets),
    Missing(PageSource),
}

/// Files of the page by path without a leading slash.
#[derive(Debug)]
pub(crate) struct Assets {
    files: BTreeMap<String, Asset>,
}

/// One file, in each encoding in which it is smaller than plain.
#[derive(Debug)]
struct Asset {
    content_type: &'static str,
    /// Without quotes and without the encoding's name.
    hash: String,
    /// Best first; the plain one is last and always there.
    bodies: Vec<(Encoding, Bytes)>,
}

impl Assets {
    /// Reads all files of a source. One without `index.html` counts as not built.
    pub(crate) fn load(source: &PageSource) -> Result<Page, ServerError> {
        if !source.has_page() {
            return Ok(Page::Missing(source.clone()));
        }
        let mut files = BTreeMap::new();
        for (path, content_type) in source.served()? {
            let asset = Asset::read(source, &path, content_type)?;
            files.insert(path, asset);
        }
        Ok(Page::Built(Self { files }))
    }

    /// Answers a request for the file at this path (without a leading slash), if there is one.
    pub(crate) fn respond(&self, path: &str, request: &HeaderMap) -> Option<Response> {
        let asset = self.files.get(path)?;
        Some(asset.respond(request))
    }
}

/// Lists a folder's files, and those of folders in it.
fn list(
    folder: &Path,
    prefix: &str,
    depth: usize,
    served: &mut BTreeMap<String, &'static str>,
) -> Result<(), ServerError> {
    let unusable = |detail: String| ServerError::Page {
        path: folder.to_owned(),
        detail,
    };
    if depth > DEPTH_MAX {
        return Err(unusable(format!("folders nest deeper than {DEPTH_MAX}")));
    }
    for entry in fs::read_dir(folder).map_err(|error| unusable(error.to_string()))? {
        let entry = entry.map_err(|error| unusable(error.to_string()))?;
        // A name that is not UTF-8 cannot be asked for.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // Follows no link: what is served is what lies in the folder.
        let kind = entry
            .file_type()
            .map_err(|error| unusable(error.to_string()))?;
        if kind.is_dir() {
            list(
                &entry.path(),
                &format!("{prefix}{name}/"),
                depth + 1,
                served,
            )?;
        } else if let Some(content_type) = content_type(&name).filter(|_| kind.is_file()) {
            if served.len() == FILES_MAX {
                return Err(unusable(format!("more than {FILES_MAX} files")));
            }
            served.insert(format!("{prefix}{name}"), content_type);
        }
    }
    Ok(())
}

impl Asset {
    fn read(
        source: &PageSource,
        path: &str,
        content_type: &'static str,
    ) -> Result<Self, ServerError> {
        let plain = source.read(path).map_err(|detail| ServerError::Page {
            path: match source {
                PageSource::Folder(folder) => folder.join(path),
                PageSource::BuiltIn(_) => path.into(),
            },
            detail,
        })?;
        let hash = Sha256::digest(&plain);
        let hash = hash
            .iter()
            .take(10)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let brotli = premade(source, path, "br", &plain, decode_brotli)
            .or_else(|| encode_brotli(&plain).map(Bytes::from));
        let gzip = premade(source, path, "gz", &plain, decode_gzip)
            .or_else(|| encode_gzip(&plain).map(Bytes::from));
        let compressed = [(Encoding::Brotli, brotli), (Encoding::Gzip, gzip)];
        let mut bodies: Vec<_> = compressed
            .into_iter()
            .filter_map(|(encoding, body)| Some((encoding, body?)))
            .filter(|(_, body)| body.len() < plain.len())
            .collect();
        bodies.push((Encoding::Identity, plain));
        Ok(Self {
            content_type,
            hash,
            bodies,
        })
    }

    fn respond(&self, request: &HeaderMap) -> Response {
        let text = |name| {
            request
                .get(name)
                .and_then(|value: &HeaderValue| value.to_str().ok())
        };
        let available: Vec<_> = self.bodies.iter().map(|(encoding, _)| *encoding).collect();
        let encoding = choose(text(header::ACCEPT_ENCODING), &available);
        let etag = format!("\"{}-{}\"", self.hash, encoding.name().unwrap_or("plain"));
        let mut response = if client_has(text(header::IF_NONE_MATCH), &etag) {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let body = self.bodies.iter().find(|(other, _)| *other == encoding);
            // Bytes are counted references: nothing is copied.
            let body = body.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            let content_type = HeaderValue::from_static(self.content_type);
            ([(header::CONTENT_TYPE, content_type)], Body::from(body)).into_response()
        };
        let headers = response.headers_mut();
        if response_has_body(headers)
            && let Some(name) = encoding.name()
        {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        if let Ok(etag) = HeaderValue::from_str(&etag) {
            headers.insert(header::ETAG, etag);
        }
        response
    }
}

/// Only answers with a body say what type it has.
fn response_has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_TYPE)
}

/// The page that stands in where there is none.
pub(crate) fn missing_page(source: &PageSource) -> Response {
    let where_not = match source {
        PageSource::Folder(folder) => format!(
            "there is no <code>{INDEX}</code> in <code>{}</code>",
            escape(&folder.display().to_string())
        ),
        PageSource::BuiltIn(_) => "this program was built without it".to_owned(),
    };
    let text = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>RingTMP: there is no page</title>\
         <h1>There is no page here</h1><p>The server runs, but {where_not}.</p><p>In the project's folder</p>\
         <pre>{BUILD_COMMAND}\n{DIST_COMMAND}</pre><p>the first builds the page, the second a program with the page in it. \
         Start the server again then, or name another folder with <code>--www</code>.</p></html>",
    );
    let html = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::SERVICE_UNAVAILABLE, html, text).into_response()
}

pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// What a file is, by the end of its name; files of any other kind are not served.
fn content_type(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "wasm" => "application/wasm",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "txt" => "text/plain; charset=utf-8",
        _ => return None,
    })
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("longer than {bytes_max} bytes"));
    }
    Ok(bytes)
}

/// The compressed file that the build left beside `path`, if it still says the same as the plain one.
fn premade(
    source: &PageSource,
    path: &str,
    extension: &str,
    plain: &[u8],
    decode: fn(&[u8], u64) -> Option<Vec<u8>>,
) -> Option<Bytes> {
    let name = format!("{path}.{extension}");
    let compressed = source.read(&name).ok()?;
    let fresh = decode(&compressed, plain.len() as u64 + 1).is_some_and(|bytes| bytes == plain);
    if !fresh {
        tracing::warn!(file = name, %source, "ignored: does not match the plain file beside it");
    }
    fresh.then_some(compressed)
}

fn decode_brotli(compressed: &[u8], bytes_max: u64) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let reader = brotli::Decompressor::new(compressed, 4096);
    reader.take(bytes_max).read_to_end(&mut plain).ok()?;
    Some(plain)
}

fn decode_gzip(compressed: &[u8], bytes_max: u64) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    let reader = flate2::read::GzDecoder::new(compressed);
    reader.take(bytes_max).read_to_end(&mut plain).ok()?;
    Some(plain)
}

fn encode_brotli(plain: &[u8]) -> Option<Vec<u8>> {
    let mut compressed = Vec::new();
    let parameters = brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        lgwin: BROTLI_WINDOW_LOG2,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut &*plain, &mut compressed, &parameters).ok()?;
    Some(compressed)
}

fn encode_gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_of(asset: &Asset, wanted: Encoding) -> Option<&Bytes> {
        let (_, body) = asset
            .bodies
            .iter()
            .find(|(encoding, _)| *encoding == wanted)?;
        Some(body)
    }

    #[test]
    fn what_was_compressed_reads_back() {
        let plain: Vec<u8> = (0..200_000u32).map(|i| (i / 100) as u8).collect();
        let brotli = encode_brotli(&plain).expect("memory takes everything");
        let gzip = encode_gzip(&plain).expect("memory takes everything");
        assert!(brotli.len() < plain.len() && gzip.len() < plain.len());
        assert_eq!(decode_brotli(&brotli, 200_001), Some(plain.clone()));
        assert_eq!(decode_gzip(&gzip, 200_001), Some(plain));
        assert!(
            decode_gzip(&gzip, 100).is_some_and(|bytes| bytes.len() == 100),
            "decoding is bounded"
        );
    }

    #[test]
    fn a_compressed_file_beside_the_plain_one_is_used_unless_it_is_stale() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = PageSource::from(folder.path());
        let path = "ringtmp.js";
        let plain = "let ring = 1;\n".repeat(500);
        fs::write(folder.path().join(path), &plain).expect("written");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::none());
        encoder.write_all(plain.as_bytes()).expect("memory");
        let recognisable = encoder.finish().expect("memory");
        fs::write(folder.path().join("ringtmp.js.gz"), &recognisable).expect("written");
        fs::write(folder.path().join("ringtmp.js.br"), b"stale").expect("written");
        let used = premade(&source, path, "gz", plain.as_bytes(), decode_gzip);
        assert_eq!(used.as_deref(), Some(recognisable.as_slice()));
        let stale = premade(&source, path, "br", plain.as_bytes(), decode_brotli);
        assert_eq!(stale, None);
        let asset = Asset::read(&source, path, "text/javascript").expect("readable");
        let brotli = body_of(&asset, Encoding::Brotli).expect("made anew");
        assert_eq!(
            decode_brotli(brotli, 1 << 20).as_deref(),
            Some(plain.as_bytes())
        );
    }

    #[test]
    fn an_encoding_that_saves_nothing_is_not_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("a.txt"), "a").expect("written");
        let source = PageSource::from(folder.path());
        let asset = Asset::read(&source, "a.txt", "text/plain").expect("readable");
        assert_eq!(asset.bodies.len(), 1);
        assert!(body_of(&asset, Encoding::Identity).is_some());
    }

    #[test]
    fn files_of_unknown_kinds_and_compressed_twins_are_not_served_by_name() {
        for name in [
            "ringtmp.js.br",
            "ringtmp.js.gz",
            ".env",
            "Makefile",
            "key.pem",
        ] {
            assert_eq!(content_type(name), None, "{name}");
        }
    }
}
