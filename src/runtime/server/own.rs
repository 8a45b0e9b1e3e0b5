//! A serving certificate that the process makes itself and keeps in memory, for clusters where nobody else makes one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::names;
use crate::runtime::clock::Clock;
use crate::runtime::issuer::{self, Signer, Validity};
use crate::sensitive::Sensitive;

/// Validity of a certificate.
const VALIDITY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A certificate is replaced this long before its end.
const RENEWAL: SignedDuration = SignedDuration::from_hours(30 * 24);
/// A certificate is valid from this long before it is made: clocks differ.
const BACKDATED: SignedDuration = SignedDuration::from_hours(24);

/// The certificate. It is renewed by the handshake that finds it old. Clones share it.
#[derive(Clone)]
pub struct OwnCertificate(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Subject, private key and end of the CA that signs; without one the certificate signs itself.
    signer: Option<(String, Sensitive, Timestamp)>,
    current: Option<Current>,
}

struct Current {
    validity: Validity,
    certified: Arc<CertifiedKey>,
}

impl OwnCertificate {
    /// A certificate that signs itself. It is made by the first handshake.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::default();
        Self(Arc::new(Inner { clock, state }))
    }

    /// Sets subject, private key and end of the CA that signs from now on.
    pub(crate) fn sign_with(&self, subject: &str, key: &Sensitive, ends: Timestamp) {
        let mut state = self.state();
        if state.signer.as_ref().is_some_and(|(known, _, _)| known == subject) {
            return;
        }
        state.signer = Some((subject.to_owned(), key.clone(), ends));
        state.current = None;
    }

    fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let mut state = self.state();
        let now = self.0.clock.now();
        let is_fresh = |current: &&Current| {
            let Validity { begins, ends } = current.validity;
            now >= begins && now.duration_since(ends) < -RENEWAL.min(half(current.validity))
        };
        if let Some(current) = state.current.as_ref().filter(is_fresh) {
            return Some(current.certified.clone());
        }
        let made = make(state.signer.as_ref(), now);
        if made.is_none() {
            tracing::warn!("cannot make a certificate for the metrics server");
        }
        let certified = made.as_ref().map(|made| made.certified.clone());
        state.current = made.or_else(|| state.current.take());
        certified.or_else(|| state.current.as_ref().map(|current| current.certified.clone()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A CA near its end leaves a certificate less time.
fn half(validity: Validity) -> SignedDuration {
    validity.ends.duration_since(validity.begins) / 2
}

fn make(signer: Option<&(String, Sensitive, Timestamp)>, now: Timestamp) -> Option<Current> {
    let ends = now.checked_add(VALIDITY).ok()?;
    let validity = Validity {
        begins: now.checked_sub(BACKDATED).ok()?,
        ends: signer.map_or(ends, |(_, _, limit)| ends.min(*limit)),
    };
    let signer = signer.map(|(subject, key, _)| Signer { subject, key });
    let host = format!("{}.{}.svc", names::EVENT_COMPONENT, names::NAMESPACE);
    let names = [host.clone(), format!("{host}.cluster.local"), "localhost".to_owned()];
    let issued = issuer::serving(&names, validity, signer).ok()?;
    let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).ok()?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.expose().as_bytes()).ok()?;
    let certified = CertifiedKey::from_der(vec![certificate], key, &aws_lc_rs::default_provider()).ok()?;
    Some(Current {
        validity,
        certified: Arc::new(certified),
    })
}

/// Shows nothing of the private key.
impl fmt::Debug for OwnCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnCertificate").finish_non_exhaustive()
    }
}

impl ResolvesServerCert for OwnCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certified()
    }
}

#[cfg(test)]
mod tests {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    struct Moving(Mutex<Timestamp>);

    impl Clock for Moving {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    fn verifies(certified: &CertifiedKey, root: &CertificateDer<'_>, now: Timestamp) -> bool {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(root.clone().into_owned()).unwrap();
        let provider = aws_lc_rs::default_provider().into();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .unwrap();
        let name = ServerName::try_from("image-registry-operator.openshift-image-registry.svc").unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.as_second().unsigned_abs()));
        verifier
            .verify_server_cert(&certified.cert[0], &[], &name, &[], now)
            .is_ok()
    }

    // deploy 35, and its rotation
    #[test]
    fn the_certificate_signs_itself_until_there_is_a_ca_and_is_replaced_after_60_days() {
        let start: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let clock = Arc::new(Moving(Mutex::new(start)));
        let jump = |days: i64| *clock.0.lock().unwrap() = start + SignedDuration::from_hours(days * 24);
        let own = OwnCertificate::new(clock.clone());
        let first = own.certified().unwrap();
        assert!(verifies(&first, &first.cert[0], start));
        jump(59);
        assert_eq!(own.certified().unwrap().cert, first.cert);
        jump(60);
        let second = own.certified().unwrap();
        assert_ne!(second.cert, first.cert);
        assert!(verifies(&second, &second.cert[0], clock.now()));

        let ends = start + SignedDuration::from_hours(70 * 24);
        let validity = Validity { begins: start, ends };
        let authority = issuer::authority("ca", validity).unwrap();
        own.sign_with("ca", &authority.key, ends);
        let signed = own.certified().unwrap();
        let root = CertificateDer::from_pem_slice(authority.certificate.as_bytes()).unwrap();
        assert!(verifies(&signed, &root, clock.now()));
        own.sign_with("ca", &authority.key, ends);
        assert_eq!(own.certified().unwrap().cert, signed.cert);
        assert!(!format!("{own:?}").contains("PRIVATE"));
    }
}
