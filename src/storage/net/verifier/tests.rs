use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa as CaFlag, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs;

use super::*;

const HOST: &str = "s3.test.example";

struct Made {
    der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

fn parameters(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut parameters = CertificateParams::new([HOST.to_owned(), "10.1.2.3".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2060, 1, 1);
    change(&mut parameters);
    parameters
}

fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Made {
    let (key, parameters) = (KeyPair::generate().unwrap(), parameters(change));
    let der = parameters.self_signed(&key).unwrap().der().clone();
    Made {
        der,
        issuer: Issuer::new(parameters, key),
    }
}

fn signed_by(issuer: &Made, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    parameters(change)
        .signed_by(&key, &issuer.issuer)
        .unwrap()
        .der()
        .clone()
}

fn ca(parameters: &mut CertificateParams) {
    parameters.is_ca = CaFlag::Ca(BasicConstraints::Unconstrained);
}

/// A server with this certificate, asked for by this name on 1 January of this year.
fn verify(
    trusted: &[&CertificateDer<'static>],
    shown: &CertificateDer<'static>,
    name: &str,
    year: u64,
) -> Result<(), Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted.iter().copied().cloned());
    let crypto = Arc::new(aws_lc_rs::default_provider());
    let verifier = Verifier::new(roots, trusted.iter().copied().cloned(), crypto).unwrap();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs((year - 1970) * 31_556_952));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(shown, &[], &name, &[], now).map(drop)
}

// storage-decisions 27
#[test]
fn a_certificate_of_the_bundle_itself_is_trusted_with_the_ca_flag_and_without() {
    let authority = self_signed(ca);
    let limited = |p: &mut CertificateParams| p.is_ca = CaFlag::Ca(BasicConstraints::Constrained(0));
    let usages = |p: &mut CertificateParams| {
        ca(p);
        p.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    };
    let for_servers = |p: &mut CertificateParams| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let for_both = |p: &mut CertificateParams| {
        p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    };
    let for_any = |p: &mut CertificateParams| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    let after_2050 = |p: &mut CertificateParams| p.not_before = rcgen::date_time_ymd(1951, 1, 1);
    let trusted = [
        self_signed(ca).der,
        self_signed(|_| {}).der,
        self_signed(|p| p.is_ca = CaFlag::ExplicitNoCa).der,
        self_signed(limited).der,
        self_signed(usages).der,
        self_signed(for_servers).der,
        self_signed(for_both).der,
        self_signed(for_any).der,
        self_signed(after_2050).der,
        // Issued by a CA that is not in the bundle.
        signed_by(&authority, |_| {}),
        signed_by(&authority, ca),
    ];
    for (number, certificate) in trusted.iter().enumerate() {
        verify(&[certificate], certificate, HOST, 2030).unwrap_or_else(|error| panic!("{number}: {error}"));
        verify(&[certificate], certificate, "10.1.2.3", 2059).unwrap_or_else(|error| panic!("{number}: {error}"));
        // Also beside others.
        verify(&[&authority.der, certificate], certificate, HOST, 2030).unwrap();
    }
}

// storage-decisions 27
#[test]
fn name_validity_and_usage_of_a_trusted_certificate_are_still_checked() {
    for flag in [ca as fn(&mut CertificateParams), |_| {}] {
        let own = self_signed(flag).der;
        let error = |name: &str, year| verify(&[&own], &own, name, year).unwrap_err();
        for other in [
            "s3.test.example.org",
            "test.example",
            "a.s3.test.example",
            "10.1.2.4",
            "::1",
        ] {
            let error = error(other, 2030);
            let named = matches!(
                error,
                Error::InvalidCertificate(
                    CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
                )
            );
            assert!(named, "{other}: {error:?}");
        }
        assert_eq!(error(HOST, 2019), CertificateError::NotValidYet.into());
        assert_eq!(error(HOST, 2061), CertificateError::Expired.into());
        let of_clients = self_signed(|p| {
            flag(p);
            p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        });
        let error = verify(&[&of_clients.der], &of_clients.der, HOST, 2030).unwrap_err();
        assert_eq!(error, CertificateError::InvalidPurpose.into());
        let nameless = self_signed(|p| {
            flag(p);
            p.subject_alt_names.clear();
        });
        verify(&[&nameless.der], &nameless.der, HOST, 2030).unwrap_err();
    }
}

#[test]
fn a_certificate_that_is_not_in_the_bundle_needs_a_ca_that_is() {
    let (authority, other) = (self_signed(ca), self_signed(ca));
    let (issued, stray) = (signed_by(&authority, |_| {}), self_signed(|_| {}));
    verify(&[&authority.der], &issued, HOST, 2030).unwrap();
    verify(&[&other.der], &issued, HOST, 2030).unwrap_err();
    verify(&[&authority.der], &stray.der, HOST, 2030).unwrap_err();
    // The same names and another key.
    let Error::InvalidCertificate(CertificateError::Other(OtherError(error))) =
        verify(&[&authority.der], &other.der, HOST, 2030).unwrap_err()
    else {
        panic!("a stranger's certificate")
    };
    assert!(error.is::<IsCa>(), "{error}");
}

#[test]
fn what_is_no_certificate_is_not_read() {
    let whole = self_signed(ca).der;
    assert!(Certificate::read(&whole).unwrap().is_ca);
    for length in 0..whole.len() {
        // Nothing panics. A certificate that ends early is none.
        assert_eq!(Certificate::read(&whole[..length]), None);
    }
    for start in 1..whole.len() {
        let _ = Certificate::read(&whole[start..]);
    }
    for garbage in [
        &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..],
        &[0x30, 0x80],
        &[0x30, 0x00],
        &[0xff; 64],
    ] {
        assert_eq!(Certificate::read(garbage), None);
    }
}
