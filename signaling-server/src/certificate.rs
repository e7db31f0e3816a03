//! The certificate of the addresses that other devices use: made here and kept in a file, or the user's own.
//!
//! Browsers give WebGPU, storage and workers that go on in the background only to pages of a secure origin, so devices of the
//! local network need HTTPS. Nobody signs certificates for their addresses: ours signs itself, browsers warn of it once,
//! and keep the visitor's answer for as long as the certificate stays the same. So it is kept over restarts.

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::{fmt, fs};
use time::{Duration, OffsetDateTime};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long a certificate is good for. Browsers refuse those of public authorities after 398 days; Apple allows others 825.
pub const CERTIFICATE_DAYS: i64 = 397;

/// A kept certificate is made anew when it has fewer days left: longer than anybody leaves a server running.
const DAYS_LEFT_MIN: i64 = 30;

/// A certificate is good from a day before it was made, for devices whose clocks are late.
const LATE_CLOCK: Duration = Duration::days(1);

/// Addresses that a certificate names at most: those of now, and those of networks visited before, so that to come back to one
/// changes nothing.
const ADDRESSES_MAX: usize = 32;

/// The longest file of a certificate or a key: chains are a few kB.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// The file of the kept certificate and its key. One file, so that two servers that start at once cannot mix theirs.
const FILE_NAME: &str = "certificate.pem";

/// A certificate with its private key.
pub struct Certificate {
    key: CertifiedKey,
    /// Whether browsers will warn of it.
    self_signed: bool,
    origin: Origin,
}

/// Where a certificate is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Made now.
    Made,
    /// Kept from a start before.
    Kept,
    /// The user's own.
    Own,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}; check --cert and --key", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no usable certificate or key: {detail}; both have to be PEM, and belong together", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Make(String),
    /// It cannot be kept.
    #[error("cannot keep the certificate in {}: {source}; make the folder writable, or name files with --cert and --key", .folder.display())]
    Keep {
        /// The folder.
        folder: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Certificate {
    /// The certificate kept in `folder`, if it names all these addresses and names and is good for a while; else a new one, kept
    /// there from now on, in a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// What keeps a new one from being made or written. A file that is unusable is replaced.
    pub fn kept(
        folder: &Path,
        addresses: &[IpAddr],
        names: &[String],
    ) -> Result<Self, CertificateError> {
        let now = OffsetDateTime::now_utc();
        let wanted = Subject::of(addresses, names);
        let path = folder.join(FILE_NAME);
        let kept = Kept::read(&path);
        if let Ok(kept) = &kept
            && kept.serves(&wanted, now)
        {
            return certificate(kept.chain.clone(), &kept.key, Origin::Kept)
                .map_err(|detail| CertificateError::Unusable { path, detail });
        }
        let subject = match kept {
            Ok(kept) => wanted.with_former(kept.subject),
            Err(_) => wanted,
        };
        let (chain, key) = make(&subject, now)?;
        keep(folder, &path, &chain, &key).map_err(|source| CertificateError::Keep {
            folder: folder.to_owned(),
            source,
        })?;
        let kept =
            Kept::read(&path).map_err(|detail| CertificateError::Unusable { path, detail })?;
        certificate(kept.chain, &kept.key, Origin::Made).map_err(CertificateError::Make)
    }

    /// A certificate of the user's own (with its chain, the certificate itself first), and its key, both as PEM.
    ///
    /// # Errors
    ///
    /// What is wrong with which file.
    pub fn own(certificate_file: &Path, key_file: &Path) -> Result<Self, CertificateError> {
        let read = |path: &Path| {
            read_bounded(path).map_err(|source| CertificateError::Read {
                path: path.to_owned(),
                source,
            })
        };
        let unusable = |path: &Path, detail: String| CertificateError::Unusable {
            path: path.to_owned(),
            detail,
        };
        let chain = chain_of(&read(certificate_file)?)
            .map_err(|detail| unusable(certificate_file, detail))?;
        let key = key_of(&read(key_file)?).map_err(|detail| unusable(key_file, detail))?;
        certificate(chain, &key, Origin::Own).map_err(|detail| unusable(certificate_file, detail))
    }

    /// Where it is from.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether it has signed itself, so that browsers warn of it.
    pub fn is_self_signed(&self) -> bool {
        self.self_signed
    }

    /// SHA-256 of the certificate, as 64 hexadecimal digits: what browsers show as its fingerprint, and what native peers pin.
    pub fn sha256(&self) -> String {
        let leaf: &[u8] = self.key.cert.first().map(AsRef::as_ref).unwrap_or_default();
        let digest = Sha256::digest(leaf);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Until when it is good, as a date.
    pub fn good_until(&self) -> Option<String> {
        let (_, parsed) = X509Certificate::from_der(self.key.cert.first()?).ok()?;
        let date = parsed.validity().not_after.to_datetime();
        Some(format!(
            "{:04}-{:02}-{:02}",
            date.year(),
            u8::from(date.month()),
            date.day()
        ))
    }

    /// The names that it is for, wildcards (`*.ring.example`) aside: these are no names that anything could be called.
    pub fn names(&self) -> Vec<String> {
        let names = self.subject().names.into_iter();
        names.filter(|name| !name.contains('*')).collect()
    }

    /// Whether it is for an address.
    pub fn names_address(&self, address: IpAddr) -> bool {
        self.subject().addresses.contains(&address)
    }

    /// Whom it is for; nobody, where that cannot be read.
    fn subject(&self) -> Subject {
        let leaf: &[u8] = self.key.cert.first().map(AsRef::as_ref).unwrap_or_default();
        X509Certificate::from_der(leaf)
            .map(|(_, parsed)| subject_of(&parsed))
            .unwrap_or_default()
    }

    pub(crate) fn into_key(self) -> CertifiedKey {
        self.key
    }
}

impl fmt::Debug for Certificate {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("sha256", &self.sha256())
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

/// Whom a certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Subject {
    addresses: BTreeSet<IpAddr>,
    names: BTreeSet<String>,
}

impl Subject {
    /// Of a server with these addresses and names, and of this device as it calls itself.
    fn of(addresses: &[IpAddr], names: &[String]) -> Self {
        let here = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let addresses = addresses.iter().copied().take(ADDRESSES_MAX - here.len());
        let names = names.iter().map(|name| name.to_ascii_lowercase());
        Self {
            addresses: here.into_iter().chain(addresses).collect(),
            names: names.chain(["localhost".to_owned()]).collect(),
        }
    }

    /// Together with as many of the addresses that it named before as there is space for.
    fn with_former(mut self, former: Self) -> Self {
        for address in former.addresses {
            if self.addresses.len() < ADDRESSES_MAX {
                self.addresses.insert(address);
            }
        }
        self
    }

    fn covers(&self, other: &Self) -> bool {
        self.addresses.is_superset(&other.addresses) && self.names.is_superset(&other.names)
    }
}

/// A certificate as it was read, with what it says.
struct Kept {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    subject: Subject,
    good_until: OffsetDateTime,
}

impl Kept {
    fn read(path: &Path) -> Result<Self, String> {
        if others_can_read(path) {
            return Err("others could read its key".to_owned());
        }
        let text = read_bounded(path).map_err(|error| error.to_string())?;
        let chain = chain_of(&text)?;
        let leaf = chain.first().ok_or("there is no certificate in it")?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|error| error.to_string())?;
        let good_until = parsed.validity().not_after.to_datetime();
        let subject = subject_of(&parsed);
        let key = key_of(&text)?;
        Ok(Self {
            chain,
            key,
            subject,
            good_until,
        })
    }

    fn serves(&self, wanted: &Subject, now: OffsetDateTime) -> bool {
        self.subject.covers(wanted) && self.good_until - now >= Duration::days(DAYS_LEFT_MIN)
    }
}

fn subject_of(certificate: &X509Certificate<'_>) -> Subject {
    let mut subject = Subject::default();
    let names = certificate.subject_alternative_name().ok().flatten();
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => {
                subject.names.insert((*name).to_owned());
            }
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                let address = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
                subject.addresses.extend(address);
            }
            // Nothing else is a name of a server.
            _ => {}
        }
    }
    subject
}

/// A new certificate and its key, as PEM: ECDSA on P-256, which every browser takes.
fn make(subject: &Subject, now: OffsetDateTime) -> Result<(String, String), CertificateError> {
    let failed = |error: rcgen::Error| CertificateError::Make(error.to_string());
    let names = subject.names.iter().cloned().collect::<Vec<_>>();
    let mut parameters = CertificateParams::new(names).map_err(failed)?;
    let addresses = subject.addresses.iter().copied().map(SanType::IpAddress);
    parameters.subject_alt_names.extend(addresses);
    parameters
        .distinguished_name
        .push(DnType::CommonName, "RingTMP on this network");
    parameters.not_before = now - LATE_CLOCK;
    parameters.not_after = parameters.not_before + Duration::days(CERTIFICATE_DAYS);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let certificate = parameters.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Writes both to the one file, whole or not at all. A temporary file can be read by its owner only, and stays so.
fn keep(folder: &Path, path: &Path, chain: &str, key: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(chain.as_bytes())?;
    file.write_all(key.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

/// Elsewhere files of the user's own folder are the user's own.
#[cfg(not(unix))]
fn others_can_read(_path: &Path) -> bool {
    false
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!(
            "it is longer than {FILE_BYTES_MAX} bytes"
        )));
    }
    Ok(bytes)
}

fn chain_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match chain.map_err(|error| error.to_string())? {
        chain if chain.is_empty() => Err("there is no certificate in it".to_owned()),
        chain => Ok(chain),
    }
}

fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| error.to_string())
}

/// Checks that key and certificate belong together.
fn certificate(
    chain: Vec<CertificateDer<'static>>,
    key: &PrivateKeyDer<'static>,
    origin: Origin,
) -> Result<Certificate, String> {
    let self_signed = chain.first().is_some_and(|leaf| {
        X509Certificate::from_der(leaf).is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
    });
    let key = CertifiedKey::from_der(chain, key.clone_key(), &ring::default_provider())
        .map_err(|error| error.to_string())?;
    Ok(Certificate {
        key,
        self_signed,
        origin,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn kept(folder: &Path, addresses: &[&str]) -> Certificate {
        let addresses: Vec<_> = addresses.iter().map(|text| address(text)).collect();
        Certificate::kept(folder, &addresses, &["Desk.local".to_owned()]).expect("a certificate")
    }

    #[test]
    fn a_certificate_names_the_server_and_serves_for_at_most_397_days() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = kept(folder.path(), &["192.168.1.7", "fd00::7"]);
        assert_eq!(made.origin(), Origin::Made);
        assert!(made.is_self_signed());
        let named = made.subject();
        for text in ["192.168.1.7", "fd00::7", "127.0.0.1", "::1"] {
            assert!(
                named.addresses.contains(&address(text)),
                "{text}: {named:?}"
            );
        }
        assert!(named.names.contains("localhost") && named.names.contains("desk.local"));
        let leaf = made.key.cert.first().expect("a certificate");
        let (_, parsed) = X509Certificate::from_der(leaf).expect("it is one");
        let validity = parsed.validity();
        let days = (validity.not_after.timestamp() - validity.not_before.timestamp()) / 86_400;
        assert_eq!(days, 397);
        let usage = parsed
            .extended_key_usage()
            .expect("readable")
            .expect("there");
        assert!(usage.value.server_auth && !usage.value.client_auth && !usage.value.any);
        let algorithm = parsed.public_key().parsed().expect("a key");
        assert_eq!(algorithm.key_size(), 256, "P-256");
        let shown = format!("{made:?}");
        assert!(
            shown.contains(&made.sha256()) && !shown.contains("PRIVATE"),
            "{shown}"
        );
    }

    #[test]
    fn it_is_kept_until_the_addresses_change_and_coming_back_changes_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = kept(folder.path(), &["192.168.1.7"]);
        let again = kept(folder.path(), &["192.168.1.7"]);
        assert_eq!(again.origin(), Origin::Kept);
        assert_eq!(again.sha256(), first.sha256());
        let elsewhere = kept(folder.path(), &["10.0.0.3"]);
        assert_eq!(elsewhere.origin(), Origin::Made);
        assert_ne!(elsewhere.sha256(), first.sha256());
        let back = kept(folder.path(), &["192.168.1.7"]);
        assert_eq!(back.sha256(), elsewhere.sha256(), "it names both networks");
    }

    #[test]
    fn one_that_ends_soon_is_made_anew() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE_NAME);
        let subject = Subject::of(&[address("10.0.0.3")], &[]);
        let now = OffsetDateTime::now_utc();
        let long_ago = |days| {
            let made = now - Duration::days(days);
            let (chain, key) = make(&subject, made).expect("made");
            keep(folder.path(), &path, &chain, &key).expect("kept");
            let kept = Certificate::kept(folder.path(), &[address("10.0.0.3")], &[]);
            kept.expect("a certificate").origin()
        };
        assert_eq!(long_ago(397 - 30 - 2), Origin::Kept);
        assert_eq!(long_ago(397 - 30), Origin::Made);
    }

    #[test]
    fn what_cannot_be_used_is_replaced() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE_NAME);
        fs::write(&path, "nonsense").expect("written");
        let made = kept(folder.path(), &["10.0.0.3"]);
        assert_eq!(made.origin(), Origin::Made);
        let text = fs::read_to_string(&path).expect("kept");
        let (_, key) = text.split_once("-----END CERTIFICATE-----").expect("both");
        keep(folder.path(), &path, "", key).expect("kept");
        assert_eq!(kept(folder.path(), &["10.0.0.3"]).origin(), Origin::Made);
    }

    #[cfg(unix)]
    #[test]
    fn only_its_owner_can_read_the_key_and_one_that_others_could_read_is_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(FILE_NAME);
        let first = kept(folder.path(), &["10.0.0.3"]);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode();
        assert_eq!(mode(&path) & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
        let second = kept(folder.path(), &["10.0.0.3"]);
        assert_ne!(second.sha256(), first.sha256());
        assert_eq!(mode(&path) & 0o777, 0o600);
    }

    #[test]
    fn certificates_of_the_users_own_are_read_and_mistakes_told_by_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let names = ["ring.example", "*.ring.example"].map(str::to_owned);
        let subject = Subject::of(&[], &names);
        let now = OffsetDateTime::now_utc();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let (chain, key) = make(&subject, now).expect("made");
        let (_, other) = make(&subject, now).expect("made");
        let (chain, key) = (file("chain.pem", &chain), file("key.pem", &key));
        let own = Certificate::own(&chain, &key).expect("they belong together");
        assert_eq!(own.origin(), Origin::Own);
        assert_eq!(own.names(), ["localhost", "ring.example"]);
        assert!(own.names_address(address("127.0.0.1")));
        assert!(!own.names_address(address("192.168.1.7")));
        let other = file("other.pem", &other);
        let refused = |chain: &Path, key: &Path| {
            let error = Certificate::own(chain, key).expect_err("unusable");
            error.to_string()
        };
        assert!(refused(&chain, &other).contains("chain.pem"));
        assert!(refused(&key, &key).contains("no certificate"));
        assert!(refused(&chain, &chain).contains("chain.pem"));
        let absent = folder.path().join("absent.pem");
        assert!(refused(&absent, &key).contains("--cert"));
    }
}
