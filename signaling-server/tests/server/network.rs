//! HTTPS for the other devices of a network, and whom the server takes requests for.

use crate::common::{Running, WAIT, config, create, start, start_server};
use futures::{SinkExt, StreamExt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use signaling_server::certificate::Certificate;
use signaling_server::{Config, Server, ServerError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const HERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A server with HTTPS, its port there, and a client that trusts its certificate.
struct Network {
    server: Running,
    port: u16,
    sha256: String,
    trusting: TlsConnector,
    _folder: TempDir,
}

fn network() -> Network {
    network_with(config())
}

fn network_with(config: Config) -> Network {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let address: IpAddr = "192.168.1.7".parse().expect("an address");
    let certificate = Certificate::kept(folder.path(), &[address], &[]).expect("a certificate");
    let sha256 = certificate.sha256();
    let pem = std::fs::read(folder.path().join("certificate.pem")).expect("kept");
    let mut server = Server::bind(config).expect("a free port");
    let links = server
        .serve_network(HERE, certificate, &[address.to_string()])
        .expect("another free port");
    let [link] = &links[..] else {
        panic!("one address, one link: {links:?}")
    };
    let (name, port) = link.rsplit_once(':').expect("a port");
    assert_eq!(name, "https://192.168.1.7");
    let port = port.parse().expect("a port");
    Network {
        server: start_server(server),
        port,
        sha256,
        trusting: trusting(&pem),
        _folder: folder,
    }
}

fn trusting(pem: &[u8]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.expect("PEM")).expect("a root");
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

impl Network {
    async fn plain(&self) -> TcpStream {
        let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await;
        connected.expect("it listens")
    }

    async fn secure(&self) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("192.168.1.7").expect("an address");
        let shaken = self.trusting.connect(name, self.plain().await).await;
        shaken.expect("the certificate is for this address")
    }
}

/// What is answered to `METHOD path` for a host.
async fn ask(
    mut socket: impl AsyncRead + AsyncWrite + Unpin,
    method_and_path: &str,
    host: &str,
) -> String {
    let request =
        format!("{method_and_path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    let read = tokio::time::timeout(WAIT, socket.read_to_end(&mut answer)).await;
    // A TLS socket may end without a goodbye once all is said.
    let _ = read.expect("in time");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_same_server_answers_over_https() {
    let network = network();
    let answer = ask(network.secure().await, "GET /healthz", "192.168.1.7:8443").await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"),
        "{answer}"
    );
    assert!(answer.contains("content-security-policy"), "{answer}");
    network.server.end().await;
}

#[tokio::test]
async fn signalling_runs_over_tls_too() {
    let network = network();
    let request = "wss://192.168.1.7/signal".into_client_request();
    let (mut socket, _) =
        tokio_tungstenite::client_async(request.expect("a URL"), network.secure().await)
            .await
            .expect("upgraded");
    let text = serde_json::to_string(&create()).expect("JSON");
    socket.send(Message::text(text)).await.expect("sent");
    let heard = tokio::time::timeout(WAIT, socket.next())
        .await
        .expect("in time");
    let text = heard
        .expect("open")
        .expect("a message")
        .into_text()
        .expect("text");
    assert!(text.contains("created"), "{text}");
    drop(socket);
    network.server.end().await;
}

#[tokio::test]
async fn plain_http_to_the_port_of_https_explains_the_warning_and_leads_on() {
    let network = network();
    let path = "GET /r/0123456789abcdef?name=%22%3Cb%3E&watch";
    let answer = ask(network.plain().await, path, "192.168.1.7:8443").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let link = "href=\"https://192.168.1.7:8443/r/0123456789abcdef?name=%22%3Cb%3E&amp;watch\"";
    assert!(answer.contains(link), "{answer}");
    assert!(answer.contains("will warn you"), "{answer}");
    let fingerprint = answer.replace(' ', "");
    assert!(fingerprint.contains(&network.sha256), "{answer}");
    assert!(answer.contains("content-security-policy"), "{answer}");
    let posted = ask(network.plain().await, "POST /signal", "192.168.1.7:8443").await;
    assert!(posted.starts_with("HTTP/1.1 426"), "{posted}");
    network.server.end().await;
}

#[tokio::test]
async fn where_browsers_do_not_warn_plain_http_is_led_on_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut authority, authority_key) = (CertificateParams::default(), key());
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority
        .distinguished_name
        .push(rcgen::DnType::CommonName, "An authority");
    let issuer = Issuer::new(authority, &authority_key);
    let key = key();
    let names = vec!["ring.example".to_owned()];
    let signed = CertificateParams::new(names).expect("a name");
    let signed = signed.signed_by(&key, &issuer).expect("signed");
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let (chain, key) = (
        write("chain.pem", signed.pem()),
        write("key.pem", key.serialize_pem()),
    );
    let certificate = Certificate::own(&chain, &key).expect("they belong together");
    // Nobody says what the server is called: the certificate does.
    let mut server = Server::bind(config()).expect("a free port");
    let address: IpAddr = Ipv4Addr::LOCALHOST.into();
    let links = server.serve_network(HERE, certificate, &[address.to_string()]);
    let links = links.expect("another free port");
    let server = start_server(server);
    let there = links[0].strip_prefix("https://").expect("a link");
    let socket = TcpStream::connect(there).await.expect("it listens");
    let answer = ask(socket, "GET /r/x?watch", "ring.example:8443").await;
    assert!(answer.starts_with("HTTP/1.1 307"), "{answer}");
    assert!(
        answer.contains("location: https://ring.example:8443/r/x?watch\r\n"),
        "{answer}"
    );
    server.end().await;
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

#[tokio::test]
async fn a_page_that_lets_its_name_lead_here_reaches_nothing() {
    let network = network();
    let plain = || async {
        let connected = TcpStream::connect(network.server.address).await;
        connected.expect("it listens")
    };
    for path in [
        "GET /",
        "GET /healthz",
        "GET /lan",
        "GET /data/x",
        "GET /nothing",
        "POST /",
    ] {
        for host in ["evil.example:8080", "127.0.0.1.evil.example"] {
            let over_plain = ask(plain().await, path, host).await;
            let over_tls = ask(network.secure().await, path, host).await;
            let at_the_landing = ask(network.plain().await, path, host).await;
            for answer in [over_plain, over_tls, at_the_landing] {
                assert!(
                    answer.starts_with("HTTP/1.1 421"),
                    "{path} {host}: {answer}"
                );
            }
        }
    }
    // The same page opens a WebSocket: of the same origin as far as the browser can tell.
    let mut request = format!("ws://{}/signal", network.server.address)
        .into_client_request()
        .expect("a URL");
    for (name, value) in [("host", "evil.example"), ("origin", "http://evil.example")] {
        request
            .headers_mut()
            .insert(name, value.parse().expect("a header"));
    }
    let error = tokio_tungstenite::client_async(request, plain().await)
        .await
        .expect_err("refused");
    assert!(error.to_string().contains("421"), "{error}");
    network.server.end().await;
}

#[tokio::test]
async fn a_page_elsewhere_opens_no_socket_to_this_server_and_posts_nothing() {
    let server = start(config());
    let connected = || async {
        let connected = TcpStream::connect(server.address).await;
        connected.expect("it listens")
    };
    let own = format!("http://{}", server.address);
    for (origin, let_in) in [
        ("https://evil.example", false),
        ("null", false),
        ("http://127.0.0.1:1", false),
        (own.as_str(), true),
    ] {
        let mut request = format!("ws://{}/signal", server.address)
            .into_client_request()
            .expect("a URL");
        let value = origin.parse().expect("a header");
        request.headers_mut().insert("origin", value);
        let opened = tokio_tungstenite::client_async(request, connected().await).await;
        match opened {
            Ok(_) => assert!(let_in, "{origin}"),
            Err(error) => {
                let told = error.to_string();
                assert!(!let_in && told.contains("403"), "{origin}: {told}");
            }
        }
        let host = format!("{}\r\norigin: {origin}", server.address);
        let answer = ask(connected().await, "POST /signal/send", &host).await;
        let refused = answer.starts_with("HTTP/1.1 403");
        assert_eq!(refused, !let_in, "{origin}: {answer}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_server_answers_to_the_names_it_was_given() {
    let config = Config {
        names: vec!["Desk.local".to_owned()],
        ..config()
    };
    let server = start(config);
    let socket = || async {
        TcpStream::connect(server.address)
            .await
            .expect("it listens")
    };
    let answer = ask(socket().await, "GET /healthz", "desk.local:8080").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = ask(socket().await, "GET /healthz", "other.local:8080").await;
    assert!(
        answer.starts_with("HTTP/1.1 421") && answer.contains("--host-name"),
        "{answer}"
    );
    server.end().await;
}

#[tokio::test]
async fn only_pages_on_the_servers_own_device_are_told_its_addresses() {
    let everywhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let network = network_with(Config {
        address: everywhere,
        ..config()
    });
    let port = network.server.address.port();
    let lan = async |ip: IpAddr, host: &str| {
        let socket = TcpStream::connect((ip, port)).await.expect("it listens");
        ask(socket, "GET /lan", host).await
    };
    let here = Ipv4Addr::LOCALHOST.into();
    let told = lan(here, "localhost:8080").await;
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    assert!(
        told.contains("https://192.168.1.7:") && told.contains(&network.sha256),
        "{told}"
    );
    let refused = lan(here, "192.168.1.7:8080").await;
    assert!(
        refused.starts_with("HTTP/1.1 403") && !refused.contains("https://"),
        "{refused}"
    );
    match own_address() {
        Some(address) => {
            let refused = lan(address, "localhost:8080").await;
            assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
        }
        None => eprintln!("SKIP: this machine is in no network"),
    }
    network.server.end().await;
}

/// The address of this machine in its network. Nothing is sent for it.
fn own_address() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// The clock stands until nothing is left to do, then goes to the next moment that somebody waits for.
#[tokio::test(start_paused = true)]
async fn who_says_nothing_or_only_begins_with_tls_is_cut() {
    let network = network();
    for begin in [&b""[..], &[22], &[22, 3, 1, 2, 0]] {
        let mut socket = network.plain().await;
        socket.write_all(begin).await.expect("sent");
        let mut answer = Vec::new();
        let read = socket.read_to_end(&mut answer);
        // A reset is an end as well.
        let _ = tokio::time::timeout(Duration::from_secs(60), read)
            .await
            .expect("cut within bounds");
    }
    network.server.end().await;
}

#[tokio::test]
async fn a_second_port_that_is_taken_leaves_the_server_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let holder = std::net::TcpListener::bind(HERE).expect("a free port");
    let taken = holder.local_addr().expect("bound");
    let mut server = Server::bind(config()).expect("a free port");
    let certificate = Certificate::kept(folder.path(), &[], &[]).expect("a certificate");
    let refused = server.serve_network(taken, certificate, &[]);
    assert!(matches!(refused, Err(ServerError::PortInUse { address }) if address == taken));
    drop(holder);
    let server = start_server(server);
    let socket = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let answer = ask(socket, "GET /lan", "localhost").await;
    assert!(answer.contains("\"links\":[]"), "{answer}");
    server.end().await;
}
