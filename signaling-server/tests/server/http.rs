//! The page, the data files and the figures over real sockets.

use crate::common::{WAIT, Way, config, start};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, IF_NONE_MATCH};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use signaling_server::{BUILD_COMMAND, Config, PageFile, PageSource, Server, ServerError};
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SCRIPT: &str = "export const ring = 'ring ring ring ring ring ring ring ring ring ring ring ring ring ring';\n";

fn write(folder: &TempDir, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.path().join(name);
    fs::create_dir_all(path.parent().expect("below the folder")).expect("created");
    fs::write(path, text).expect("written");
}

fn page() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(
        &folder,
        "index.html",
        "<!doctype html><title>RingTMP</title>",
    );
    write(&folder, "style.css", "body { color: black }");
    write(&folder, "worker.js", SCRIPT.repeat(50));
    write(&folder, "ringtmp_bg.wasm", b"\0asm\x01\0\0\0");
    write(&folder, "snippets/crate-1/inline0.js", SCRIPT);
    write(&folder, "secret.pem", "secret");
    folder
}

fn serving(page: &TempDir) -> Config {
    Config {
        www: page.path().into(),
        ..config()
    }
}

async fn get(url: String, headers: &[(reqwest::header::HeaderName, &str)]) -> Response {
    let mut request = Client::new().get(url);
    for (name, value) in headers {
        request = request.header(name, *value);
    }
    request.send().await.expect("answers")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .map(|value| value.to_str().expect("ASCII"))
}

/// The status and the text of an answer to a request line that no well-behaved client would send.
async fn raw(address: SocketAddr, path: &str) -> String {
    let mut socket = TcpStream::connect(address).await.expect("connects");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT, socket.read_to_end(&mut answer)).await;
    read.expect("in time").expect("read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn every_file_has_its_type_and_every_answer_its_headers() {
    let page = page();
    let server = start(serving(&page));
    let files = [
        ("/", "text/html; charset=utf-8"),
        ("/r/0123456789abcdef", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/style.css", "text/css; charset=utf-8"),
        ("/worker.js", "text/javascript; charset=utf-8"),
        ("/ringtmp_bg.wasm", "application/wasm"),
        (
            "/snippets/crate-1/inline0.js",
            "text/javascript; charset=utf-8",
        ),
    ];
    for (path, content_type) in files {
        let response = get(server.url(path), &[]).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(
            header(response.headers(), "content-type"),
            Some(content_type),
            "{path}"
        );
        assert_eq!(
            header(response.headers(), "x-content-type-options"),
            Some("nosniff")
        );
        assert_eq!(
            header(response.headers(), "cache-control"),
            Some("no-cache")
        );
        assert_eq!(
            header(response.headers(), "referrer-policy"),
            Some("no-referrer")
        );
        let policy = header(response.headers(), "content-security-policy").expect("a policy");
        assert!(
            policy.contains("script-src 'self' 'wasm-unsafe-eval';"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe-inline"), "{policy}");
    }
    for path in ["/secret.pem", "/nothing.js", "/snippets", "/r", "/r/a/b"] {
        let response = get(server.url(path), &[]).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            header(response.headers(), "x-content-type-options"),
            Some("nosniff")
        );
    }
    server.end().await;
}

#[tokio::test]
async fn a_page_elsewhere_that_leads_here_makes_the_page_do_nothing() {
    let page = page();
    let server = start(serving(&page));
    let client = Client::builder().redirect(Policy::none()).build();
    let client = client.expect("a client");
    let ask = async |path: &str, site: Option<&str>| {
        let mut request = client.get(server.url(path));
        if let Some(site) = site {
            request = request.header("sec-fetch-site", site);
        }
        request.send().await.expect("answers")
    };
    let acting = [
        ("/?create&peers=1&steps=1000000", "/"),
        ("/?%63reate", "/"),
        (
            "/r/0123456789abcdef?executor=cpu&join",
            "/r/0123456789abcdef",
        ),
        ("/index.html?create", "/index.html"),
        ("/index%2Ehtml?create", "/index%2Ehtml"),
    ];
    for (path, bare) in acting {
        for site in ["cross-site", "same-site", "of a new kind"] {
            let answer = ask(path, Some(site)).await;
            assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{path} {site}");
            assert_eq!(header(answer.headers(), "location"), Some(bare));
            assert_eq!(header(answer.headers(), "cache-control"), Some("no-store"));
            let bare = ask(bare, Some(site)).await;
            assert_eq!(bare.status(), StatusCode::OK, "{path} {site}");
        }
        for site in [None, Some("none"), Some("same-origin")] {
            let answer = ask(path, site).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path} {site:?}");
        }
    }
    for path in ["/?lang=de", "/r/0123456789abcdef?view=projector"] {
        let answer = ask(path, Some("cross-site")).await;
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
    // No path is an address elsewhere.
    let answer = ask("//elsewhere.example/?create", Some("cross-site")).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    server.end().await;
}

#[tokio::test]
async fn bodies_come_in_the_best_encoding_that_the_client_takes() {
    let page = page();
    let server = start(serving(&page));
    let plain = SCRIPT.repeat(50);
    for (accept, encoding) in [
        ("gzip, br", Some("br")),
        ("gzip", Some("gzip")),
        ("identity", None),
    ] {
        let response = get(server.url("/worker.js"), &[(ACCEPT_ENCODING, accept)]).await;
        assert_eq!(
            header(response.headers(), "content-encoding"),
            encoding,
            "{accept}"
        );
        assert_eq!(header(response.headers(), "vary"), Some("accept-encoding"));
        let body = response.bytes().await.expect("a body");

        let decoded = match encoding {
            Some("br") => io::read_to_string(brotli::Decompressor::new(&*body, 4096)),
            Some(_) => io::read_to_string(flate2::read::GzDecoder::new(&*body)),
            None => io::read_to_string(&*body),
        }
        .expect("decodes");
        assert_eq!(decoded, plain, "{accept}");
    }
    server.end().await;
}

#[tokio::test]
async fn an_unchanged_file_is_answered_without_its_body() {
    let page = page();
    let server = start(serving(&page));
    let fresh = get(server.url("/worker.js"), &[(ACCEPT_ENCODING, "br")]).await;
    let etag = header(fresh.headers(), "etag").expect("a tag").to_owned();
    let again = get(
        server.url("/worker.js"),
        &[(ACCEPT_ENCODING, "br"), (IF_NONE_MATCH, &etag)],
    )
    .await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(header(again.headers(), "etag"), Some(etag.as_str()));
    assert_eq!(again.bytes().await.expect("no body").len(), 0);
    // Another encoding is another body, so the same tag must not stand for it.
    let other = get(
        server.url("/worker.js"),
        &[(ACCEPT_ENCODING, "gzip"), (IF_NONE_MATCH, &etag)],
    )
    .await;
    assert_eq!(other.status(), StatusCode::OK);
    let stale = get(server.url("/worker.js"), &[(IF_NONE_MATCH, "\"older\"")]).await;
    assert_eq!(stale.status(), StatusCode::OK);
    server.end().await;
}

#[tokio::test]
async fn a_missing_page_says_which_command_builds_it() {
    let server = start(config());
    let response = get(server.url("/"), &[]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = response.text().await.expect("a text");
    assert!(
        text.contains(BUILD_COMMAND) && text.contains("there/is/no/such/folder"),
        "{text}"
    );
    let response = get(server.url("/healthz"), &[]).await;
    assert_eq!(response.text().await.expect("a text"), "ok");
    server.end().await;
}

#[tokio::test]
async fn a_page_in_the_program_is_answered_as_one_in_a_folder_is() {
    let page = page();
    // Compressed beforehand, and worse than the server would: what is left beside a file is what is sent.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder
        .write_all(SCRIPT.repeat(50).as_bytes())
        .expect("memory");
    let zipped = encoder.finish().expect("memory");
    write(&page, "worker.js.gz", &zipped);
    let names = [
        "index.html",
        "style.css",
        "worker.js",
        "worker.js.gz",
        "ringtmp_bg.wasm",
        "snippets/crate-1/inline0.js",
        "secret.pem",
    ];
    let files = names.map(|path| PageFile {
        path,
        bytes: fs::read(page.path().join(path)).expect("written").leak(),
    });
    let built_in = PageSource::BuiltIn(Vec::from(files).leak());
    assert!(built_in.has_page());
    let folder = start(serving(&page));
    let program = start(Config {
        www: built_in,
        ..config()
    });
    let paths = [
        "/",
        "/r/0123456789abcdef",
        "/style.css",
        "/worker.js",
        "/worker.js.gz",
        "/ringtmp_bg.wasm",
        "/snippets/crate-1/inline0.js",
        "/secret.pem",
        "/../Cargo.toml",
    ];
    for path in paths {
        for accept in ["br", "gzip", "identity"] {
            let accepting = [(ACCEPT_ENCODING, accept)];
            let from_folder = get(folder.url(path), &accepting).await;
            let from_program = get(program.url(path), &accepting).await;
            assert_eq!(from_folder.status(), from_program.status(), "{path}");
            let headers = |response: &Response| {
                let mut headers = response.headers().clone();
                headers.remove("date");
                headers
            };
            assert_eq!(headers(&from_folder), headers(&from_program), "{path}");
            let body = from_program.bytes().await.expect("a body");
            assert_eq!(from_folder.bytes().await.expect("a body"), body, "{path}");
            if (path, accept) == ("/worker.js", "gzip") {
                assert_eq!(*body, *zipped, "what the build made is sent");
            }
        }
    }
    folder.end().await;
    program.end().await;
}

#[tokio::test]
async fn a_program_without_a_page_says_so() {
    let source = PageSource::BuiltIn(&[]);
    assert!(!source.has_page());
    let server = start(Config {
        www: source,
        ..config()
    });
    let response = get(server.url("/"), &[]).await;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let text = response.text().await.expect("a text");
    assert!(
        text.contains("built without it") && text.contains("cargo xtask dist"),
        "{text}"
    );
    server.end().await;
}

#[tokio::test]
async fn no_request_leaves_the_folders() {
    let page = page();
    let data = data_folder();
    let outside = page
        .path()
        .parent()
        .expect("above")
        .join("ringtmp-outside.txt");
    fs::write(&outside, "outside").expect("written");
    let server = start(Config {
        data: Some(data.path().to_owned()),
        ..serving(&page)
    });
    let up = page
        .path()
        .parent()
        .and_then(Path::file_name)
        .expect("a name")
        .to_string_lossy();
    let paths = [
        "/../ringtmp-outside.txt".to_owned(),
        "/%2e%2e/ringtmp-outside.txt".to_owned(),
        "/..%2fringtmp-outside.txt".to_owned(),
        "/snippets/../../ringtmp-outside.txt".to_owned(),
        format!("//{up}/ringtmp-outside.txt"),
        "/data/../ringtmp-outside.txt".to_owned(),
        "/data/..%2fringtmp-outside.txt".to_owned(),
        "/data/%2e%2e%2fringtmp-outside.txt".to_owned(),
        "/data/notes.txt".to_owned(),
        "/data/%00".to_owned(),
        "/data/..%5c..%5cringtmp-outside.txt".to_owned(),
    ];
    for path in paths {
        let answer = raw(server.address, &path).await;
        let refused = ["HTTP/1.1 404", "HTTP/1.1 400"]
            .iter()
            .any(|status| answer.starts_with(status));
        assert!(
            refused && !answer.contains("outside") && !answer.contains("private"),
            "{path}: {answer}"
        );
    }
    fs::remove_file(outside).expect("removed");
    server.end().await;
}

fn data_folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(&folder, "train-images-idx3-ubyte", vec![7; 200_000]);
    write(&folder, "train-labels-idx1-ubyte.gz", b"zipped");
    write(&folder, "notes.txt", "private");
    folder
}

#[tokio::test]
async fn data_files_are_served_whole_and_only_once() {
    let data = data_folder();
    let server = start(Config {
        data: Some(data.path().to_owned()),
        ..config()
    });
    let response = get(server.url("/data/train-images-idx3-ubyte"), &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.content_length(), Some(200_000));
    let etag = header(response.headers(), "etag")
        .expect("a tag")
        .to_owned();
    assert_eq!(response.bytes().await.expect("a body"), vec![7; 200_000]);
    let again = get(
        server.url("/data/train-images-idx3-ubyte"),
        &[(IF_NONE_MATCH, &etag)],
    )
    .await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    // A file that is compressed on disk is data, not an encoding: readers unpack it themselves.
    let zipped = get(server.url("/data/train-labels-idx1-ubyte.gz"), &[]).await;
    assert_eq!(header(zipped.headers(), "content-encoding"), None);
    assert_eq!(&*zipped.bytes().await.expect("a body"), b"zipped");
    let absent = get(server.url("/data/t10k-images-idx3-ubyte"), &[]).await;
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
    server.end().await;
}

#[tokio::test]
async fn a_single_file_is_served_under_one_name_and_nothing_beside_it() {
    let (page, folder) = (page(), data_folder());
    write(&folder, "a text.txt", "to be or not");
    let server = start(Config {
        data: Some(folder.path().join("a text.txt")),
        ..serving(&page)
    });
    let response = get(server.url("/data/file"), &[]).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.content_length(), Some(12));
    assert_eq!(response.text().await.expect("a text"), "to be or not");
    let paths = [
        "/data/a%20text.txt",
        "/data/notes.txt",
        "/data/train-images-idx3-ubyte",
        "/data/../data/notes.txt",
        "/data/file/../notes.txt",
        "/data/file%2f..%2fnotes.txt",
        "/data/%2e%2e%2ffile",
    ];
    for path in paths {
        let answer = raw(server.address, path).await;
        let refused = answer.starts_with("HTTP/1.1 404") || answer.starts_with("HTTP/1.1 400");
        assert!(refused && !answer.contains("private"), "{path}: {answer}");
    }
    // It has grown: as much is served as is announced.
    write(&folder, "a text.txt", "to be or not to be");
    let grown = get(server.url("/data/file"), &[]).await;
    assert_eq!(grown.content_length(), Some(18));
    server.end().await;
}

#[tokio::test]
async fn without_a_data_folder_the_answer_names_the_option() {
    let server = start(config());
    let response = get(server.url("/data/train-images-idx3-ubyte"), &[]).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(response.text().await.expect("a text").contains("--data"));
    server.end().await;
}

#[test]
fn a_data_folder_without_data_is_refused_at_start() {
    let empty = tempfile::tempdir().expect("a temporary folder");
    for folder in [empty.path(), Path::new("there/is/no/such/folder")] {
        let bound = Server::bind(Config {
            data: Some(folder.to_owned()),
            ..config()
        });
        assert!(matches!(bound, Err(ServerError::Data { .. })), "{folder:?}");
    }
    let long = empty.path().join("long.txt");
    let file = fs::File::create(&long).expect("created");
    file.set_len((256 << 20) + 1).expect("a hole");
    let bound = Server::bind(Config {
        data: Some(long),
        ..config()
    });
    let error = bound.expect_err("longer than anybody reads").to_string();
    assert!(error.contains("use a part of it"), "{error}");
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let server = start(config());
    let client = server.connect(Way::WebSocket).await;
    // The answer to the upgrade may overtake the hub.
    let counted = async {
        while server.metric("ringtmp_connections").await != 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, counted)
        .await
        .expect("counted in time");
    let response = get(server.url("/metrics"), &[]).await;
    let content_type = header(response.headers(), "content-type").expect("a type");
    assert!(
        content_type.starts_with("application/openmetrics-text"),
        "{content_type}"
    );
    let text = response.text().await.expect("a text");
    assert!(text.contains("# TYPE ringtmp_rooms gauge"), "{text}");
    assert!(text.contains("# TYPE ringtmp_messages counter"), "{text}");
    assert!(text.trim_end().ends_with("# EOF"), "{text}");
    drop(client);
    server.end().await;
}
