//! TLS to a signalling server whose certificate has signed itself: trusted if it is the one that the address names. Without a
//! name in the address it has to be vouched for by somebody whom this device trusts.

use crate::address::{Fingerprint, ServerAddress};
use crate::error::SignallingError;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// How long connecting may take, TLS and all.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// How long a file may take: the largest (47 MB) at 1 Mbit/s.
const FILE_MAX: Duration = Duration::from_secs(400);

/// The port of an address that names none.
const HTTPS_PORT: u16 = 443;

/// Connects to a server, and trusts it or says why not.
pub(crate) async fn connect(
    server: &ServerAddress,
) -> Result<TlsStream<TcpStream>, SignallingError> {
    let connecting = tokio::time::timeout(CONNECT_MAX, try_connect(server));
    connecting
        .await
        .unwrap_or_else(|_| Err(SignallingError::unreachable("it does not answer")))
}

async fn try_connect(server: &ServerAddress) -> Result<TlsStream<TcpStream>, SignallingError> {
    let address = |detail: &str| SignallingError::address(&server.to_string(), detail);
    let (host, port) = host_and_port(server.authority()).ok_or_else(|| address("its port"))?;
    let name = ServerName::try_from(host.to_owned()).map_err(|_| address("its host"))?;
    let trust = Arc::new(Trust::new(server.certificate)?);
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(SignallingError::unreachable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&trust) as _)
        .with_no_client_auth();
    let socket = TcpStream::connect((host, port))
        .await
        .map_err(SignallingError::unreachable)?;
    socket
        .set_nodelay(true)
        .map_err(SignallingError::unreachable)?;
    let connected = TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await;
    connected.map_err(|error| match trust.refused.get() {
        Some(refused) => refused.clone(),
        None => SignallingError::unreachable(error),
    })
}

fn provider() -> Arc<CryptoProvider> {
    // Named here, since the program may hold other providers too.
    Arc::new(ring::default_provider())
}

/// `host:port`, `[v6]:port`, or one of them without a port.
fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        Some(_) | None => (authority, HTTPS_PORT),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']'), port))
}

/// A file of a server; none if it has no such file.
///
/// # Errors
///
/// Why it cannot be had, in words.
pub async fn get(
    server: &ServerAddress,
    path: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, String> {
    tokio::time::timeout(FILE_MAX, try_get(server, path, bytes_max))
        .await
        .unwrap_or_else(|_| Err("it takes too long".to_owned()))
}

async fn try_get(
    server: &ServerAddress,
    path: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, String> {
    let socket = connect(server).await.map_err(|error| error.to_string())?;
    let words = |error: hyper::Error| error.to_string();
    let (mut requests, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .map_err(words)?;
    let request = hyper::Request::get(path)
        .header("host", server.authority())
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let answered = async {
        let answer = requests.send_request(request).await.map_err(words)?;
        match answer.status().as_u16() {
            404 => return Ok(None),
            200 => {}
            other => return Err(format!("the server answers {other}")),
        }
        let bytes = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let body = Limited::new(answer.into_body(), bytes).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        Ok(Some(body.to_bytes().to_vec()))
    };
    let carried = async {
        // Why it ended is said by who waits for the answer.
        let _ended = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answered => answer,
        never = carried => never,
    }
}

/// Whom to trust.
#[derive(Debug)]
struct Trust {
    pinned: Option<Fingerprint>,
    /// Those whom this device trusts, where nothing is pinned.
    roots: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
    /// Why the certificate was refused, since TLS has few words for it.
    refused: OnceLock<SignallingError>,
}

impl Trust {
    fn new(pinned: Option<Fingerprint>) -> Result<Self, SignallingError> {
        let provider = provider();
        let roots = match pinned {
            Some(_) => None,
            None => Some(roots(&provider)?),
        };
        Ok(Self {
            pinned,
            roots,
            provider,
            refused: OnceLock::new(),
        })
    }

    fn refuse(&self, sha256: Fingerprint, detail: impl ToString) -> Error {
        let refused = SignallingError::untrusted(sha256, detail);
        // A handshake shows one certificate.
        let _first = self.refused.set(refused);
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)
    }
}

/// The certificates of authorities that the system has.
fn roots(provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, SignallingError> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(SignallingError::unreachable(
            "this system trusts no authority, so the address needs #sha256= with the fingerprint that the server prints",
        ));
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(SignallingError::unreachable)
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let sha256 = Fingerprint(Sha256::digest(end_entity).into());
        match (self.pinned, &self.roots) {
            (Some(pinned), _) if pinned == sha256 => Ok(ServerCertVerified::assertion()),
            (Some(_), _) => Err(self.refuse(sha256, "it is not the one that the address names")),
            (None, Some(roots)) => roots
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| self.refuse(sha256, error)),
            (None, None) => Err(self.refuse(sha256, "nothing is trusted")),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_read_from_an_authority() {
        assert_eq!(
            host_and_port("192.168.1.7:8443"),
            Some(("192.168.1.7", 8443))
        );
        assert_eq!(host_and_port("[::1]:8443"), Some(("::1", 8443)));
        assert_eq!(host_and_port("[::1]"), Some(("::1", 443)));
        assert_eq!(host_and_port("ring.example"), Some(("ring.example", 443)));
        assert_eq!(host_and_port("ring.example:x"), None);
    }

    /// A server whose certificate signs itself, its address and its fingerprint.
    fn served(folder: &std::path::Path) -> (signaling_server::Server, String, String) {
        use signaling_server::certificate::Certificate;
        use signaling_server::{Config, Server};
        let here = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let config = Config {
            address: here,
            data: Some(folder.join("text")),
            ..Config::default()
        };
        std::fs::write(folder.join("text"), "to be or not").expect("written");
        let mut server = Server::bind(config).expect("a free port");
        let certificate = Certificate::kept(folder, &[], &[]).expect("a certificate");
        let sha256 = certificate.sha256();
        let links = server.serve_network(here, certificate, &["127.0.0.1".to_owned()]);
        let link = links.expect("a free port").swap_remove(0);
        (server, link, sha256)
    }

    #[tokio::test]
    async fn a_server_is_trusted_by_the_fingerprint_in_its_address_and_by_nothing_else() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (server, link, sha256) = served(folder.path());
        let server = tokio::spawn(server.run(std::future::pending()));
        let pinned = format!("{link}#sha256={sha256}");
        let signalling = crate::Signalling::connect(&pinned).await;
        signalling.expect("the certificate is the one that is named");
        let other = format!("{link}#sha256={}", "00".repeat(32));
        for address in [link.as_str(), &other] {
            let error = crate::Signalling::connect(address)
                .await
                .expect_err("not trusted");
            let words = error.to_string();
            // A system without authorities cannot trust any certificate, and says so.
            let untrusted = matches!(error, SignallingError::Untrusted { .. });
            let none = words.contains("this system trusts no authority");
            assert!(untrusted || none && address == link, "{words}");
            assert!(
                none || words.contains(&format!("#sha256={sha256}")),
                "{words}"
            );
        }
        let pinned: ServerAddress = pinned.parse().expect("an address");
        let file = get(&pinned, "/data/file", 100).await;
        assert_eq!(file, Ok(Some(b"to be or not".to_vec())));
        assert_eq!(get(&pinned, "/data/none", 100).await, Ok(None));
        let long = get(&pinned, "/data/file", 5).await;
        assert!(long.is_err(), "{long:?}");
        let other = other.parse().expect("an address");
        let untrusted = get(&other, "/data/file", 100).await.expect_err("refused");
        assert!(untrusted.contains("not trusted"), "{untrusted}");
        server.abort();
    }
}
