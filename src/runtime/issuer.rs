//! Makes private keys and certificates: CAs, and serving certificates. Keys are P-256, which every client of the last ten years
//! knows.

use std::time::Duration;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use crate::sensitive::Sensitive;

/// The longest common name that a certificate can hold. Source: RFC 5280, appendix A.1, `ub-common-name`.
const COMMON_NAME: usize = 64;

/// A certificate with its private key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// PEM.
    pub certificate: String,
    /// PKCS#8, PEM.
    pub key: Sensitive,
}

/// First and last moment of the validity.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// First moment.
    pub begins: Timestamp,
    /// Last moment.
    pub ends: Timestamp,
}

/// A certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot make a certificate: {0}")]
pub struct IssueError(#[from] rcgen::Error);

/// A CA that signs a certificate.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'a> {
    /// Common name of the CA.
    pub subject: &'a str,
    /// Its private key, PKCS#8, PEM.
    pub key: &'a Sensitive,
}

/// Makes a CA. It may sign serving certificates, but no other CA.
pub fn authority(subject: &str, validity: Validity) -> Result<Issued, IssueError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params(Vec::new(), subject, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(issued(&certificate, &key))
}

/// Makes a serving certificate for these host names and addresses; without a signer it signs itself.
pub fn serving(names: &[String], validity: Validity, signer: Option<Signer<'_>>) -> Result<Issued, IssueError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let subject = names.first().map_or("", String::as_str);
    let mut params = params(names.to_vec(), subject, validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = match signer {
        None => params.self_signed(&key)?,
        Some(Signer { subject, key: signs }) => {
            params.use_authority_key_identifier_extension = true;
            let mut authority = CertificateParams::default();
            authority.distinguished_name = common_name(subject);
            let signs = KeyPair::from_pem(signs.expose())?;
            params.signed_by(&key, &Issuer::new(authority, signs))?
        }
    };
    Ok(issued(&certificate, &key))
}

fn params(names: Vec<String>, subject: &str, validity: Validity) -> Result<CertificateParams, IssueError> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = common_name(subject);
    let moment = |time: Timestamp| {
        let since = Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
        date_time_ymd(1970, 1, 1) + since
    };
    (params.not_before, params.not_after) = (moment(validity.begins), moment(validity.ends));
    Ok(params)
}

fn common_name(subject: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    // Without a common name the subject is empty, which is allowed beside alternative names.
    if subject.len() <= COMMON_NAME {
        name.push(DnType::CommonName, subject);
    }
    name
}

fn issued(certificate: &rcgen::Certificate, key: &KeyPair) -> Issued {
    Issued {
        certificate: certificate.pem(),
        key: Sensitive::new(key.serialize_pem()),
    }
}
