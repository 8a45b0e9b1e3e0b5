//! Certificate authorities of the test cluster: made once, kept in the cluster's pki directory, used to sign serving
//! certificates.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};

/// The authority that signs the serving certificates of Services; the name is the platform's.
pub(super) const SERVICE_CA: (&str, &str) = ("service-ca", "openshift-service-serving-signer");
/// The authority that signs the router's own certificate; the name is the platform's.
pub(super) const ROUTER_CA: (&str, &str) = ("router-ca", "ingress-operator");

const CA_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 730;

/// A signing authority.
#[derive(Debug)]
pub(super) struct Authority {
    certificate: String,
    common_name: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its chain, and its key.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    /// Leaf, then authority; PEM.
    pub(super) chain: String,
    /// PKCS#8; PEM.
    pub(super) key: String,
}

impl Authority {
    /// Reads `<file>.crt` and `<file>.key` from the directory; makes them when they are missing.
    pub(super) fn load_or_create(directory: &Path, (file, common_name): (&str, &str)) -> Result<Self> {
        let (crt, key) = (
            directory.join(format!("{file}.crt")),
            directory.join(format!("{file}.key")),
        );
        let params = ca_params(common_name)?;
        let (certificate, key) =
            if let (Ok(certificate), Ok(key)) = (fs::read_to_string(&crt), fs::read_to_string(&key)) {
                let key = KeyPair::from_pem(&key).with_context(|| format!("authority {file}: unusable key"))?;
                (certificate, key)
            } else {
                let pair = KeyPair::generate()?;
                let certificate = params.self_signed(&pair)?.pem();
                fs::create_dir_all(directory)?;
                write(&key, &pair.serialize_pem(), 0o600)?;
                write(&crt, &certificate, 0o644)?;
                (certificate, pair)
            };
        Ok(Self {
            certificate,
            common_name: common_name.to_owned(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The authority's certificate; PEM.
    pub(super) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The common name in the authority's certificate.
    pub(super) fn common_name(&self) -> &str {
        &self.common_name
    }

    /// Signs a new RSA key for a server of these DNS names. RSA as on the platform, because an administrator's TLS
    /// profile may allow only the cipher suites of one kind of key.
    pub(super) fn issue(&self, names: &[String]) -> Result<Issued> {
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        if let Some(name) = names.first() {
            // X.509 limits this name to 64 characters; the alternative names have no such limit.
            params
                .distinguished_name
                .push(DnType::CommonName, name.chars().take(64).collect::<String>());
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_validity(&mut params, LEAF_DAYS)?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            chain: format!("{}{}", leaf.pem(), self.certificate),
            key: key.serialize_pem(),
        })
    }
}

fn ca_params(common_name: &str) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    set_validity(&mut params, CA_DAYS)?;
    Ok(params)
}

/// Valid from yesterday, for clocks that differ.
fn set_validity(params: &mut CertificateParams, days: i64) -> Result<()> {
    let now = Timestamp::now();
    let day = |timestamp: Timestamp| {
        let date = timestamp.to_zoned(TimeZone::UTC).date();
        anyhow::Ok(date_time_ymd(
            date.year().into(),
            date.month().try_into()?,
            date.day().try_into()?,
        ))
    };
    params.not_before = day(now.checked_sub(SignedDuration::from_hours(24))?)?;
    params.not_after = day(now.checked_add(SignedDuration::from_hours(24 * days))?)?;
    Ok(())
}

/// Writes beside and renames, so that nobody reads half a file.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let fresh = path.with_extension(format!("new{}", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&fresh, path).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::*;

    fn accepts(authority: &Authority, issued: &Issued, name: &str) -> bool {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(issued.chain.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], UnixTime::now())
            .is_ok()
    }

    #[test]
    fn what_a_reloaded_authority_signs_verifies_against_the_first_certificate() {
        let directory = std::env::temp_dir().join(format!("authority-{}", std::process::id()));
        let first = Authority::load_or_create(&directory, SERVICE_CA).unwrap();
        let again = Authority::load_or_create(&directory, SERVICE_CA).unwrap();
        let issued = again
            .issue(&["quux.zone-q.svc".to_owned(), "quux.zone-q.svc.cluster.local".to_owned()])
            .unwrap();
        let other = Authority::load_or_create(&directory, ROUTER_CA).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(first.certificate(), again.certificate());
        assert!(accepts(&first, &issued, "quux.zone-q.svc"));
        assert!(accepts(&first, &issued, "quux.zone-q.svc.cluster.local"));
        assert!(!accepts(&first, &issued, "quux.zone-p.svc"));
        assert!(!accepts(&other, &issued, "quux.zone-q.svc"));
    }

    #[test]
    fn a_wildcard_serves_the_hosts_below_its_domain() {
        let directory = std::env::temp_dir().join(format!("authority-wildcard-{}", std::process::id()));
        let authority = Authority::load_or_create(&directory, ROUTER_CA).unwrap();
        let issued = authority.issue(&["*.apps.quux".to_owned()]).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert!(accepts(&authority, &issued, "route-x.apps.quux"));
        assert!(!accepts(&authority, &issued, "apps.quux"));
    }
}
