use std::time::Duration as StdDuration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};

use super::*;
use crate::api::{Kind, ObjectRef};
use crate::config::certificate::Certificate;
use crate::names;
use crate::plan::{Plan, certificates, drift};

const NAMES: [&str; 4] = [
    "image-registry.openshift-image-registry.svc",
    "image-registry.openshift-image-registry.svc.cluster.local",
    "10.3.0.7",
    "registry.example.com",
];

/// A cluster without a service CA, with the Service of the registry.
struct Plain {
    snapshot: Snapshot,
    issued: Vec<&'static str>,
    events: Vec<&'static str>,
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

impl Plain {
    fn new() -> Self {
        let mut snapshot = Snapshot::empty();
        snapshot.now = "2026-03-01T12:00:00Z".parse().unwrap();
        snapshot.service_ca_api = false;
        snapshot.objects.set_absent_kind(Kind::ClusterVersion);
        let mut plain = Self {
            snapshot,
            issued: Vec::new(),
            events: Vec::new(),
        };
        plain.service(&["10.3.0.7", "fd00::7"]);
        plain.config(&json!([{"name": "own", "hostname": "registry.example.com"}, {"name": "odd", "hostname": "a b"}]));
        plain
    }

    fn put(&mut self, kind: Kind, name: &str, object: Value) {
        let reference = ObjectRef::new(kind, names::NAMESPACE, name);
        self.snapshot.objects.insert(reference, object);
    }

    fn service(&mut self, addresses: &[&str]) {
        let spec = json!({"clusterIP": addresses[0], "clusterIPs": addresses, "ports": [{"port": 5000}]});
        self.put(
            Kind::Service,
            names::REGISTRY,
            json!({"metadata": {"name": names::REGISTRY}, "spec": spec}),
        );
    }

    fn config(&mut self, routes: &Value) {
        self.put(
            Kind::Config,
            names::CLUSTER,
            json!({"metadata": {"name": "cluster"}, "spec": {"routes": routes}}),
        );
    }

    fn find(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.snapshot.objects.operand(kind, name)
    }

    /// Whether a client that trusts what is published accepts the certificate for the name now.
    fn serves(&self, name: &str) -> bool {
        verifies(&self.serving().0, &self.serviceca(), name, self.snapshot.now)
    }

    fn text(&self, secret: &str, key: &str) -> String {
        let encoded = self.find(Kind::Secret, secret).unwrap()["data"][key].as_str().unwrap();
        String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
    }

    fn remove(&mut self, secret: &str) {
        self.snapshot
            .objects
            .remove(&ObjectRef::new(Kind::Secret, names::NAMESPACE, secret));
    }

    fn decide(&self) -> OwnCertificates {
        own::own_certificates(&self.snapshot, false)
    }

    /// Passes until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..4 {
            let OwnCertificates { issue, mut plan } = self.decide();
            self.events.extend(plan.events.iter().map(|event| event.reason));
            if let Some(issue) = &issue {
                self.issued.push(described(&issue.what));
                plan.present.extend(make(issue, self.snapshot.now).unwrap());
            }
            plan.present.extend(self.maps().present);
            let mut wrote = false;
            for desired in plan.present {
                let live = self
                    .snapshot
                    .objects
                    .find(&desired.reference)
                    .map(|live| live.as_ref().clone());
                wrote |= live.as_ref().is_none_or(|live| drift::differs(&desired, live, None));
                let merged = drift::merged(&desired, &live.unwrap_or_default(), None);
                self.snapshot.objects.insert(desired.reference, merged);
            }
            for reference in plan.absent {
                wrote = true;
                self.snapshot.objects.remove(&reference);
            }
            if !wrote {
                return;
            }
        }
        panic!("the passes do not come to an end: {:?}", self.issued);
    }

    fn maps(&self) -> Plan {
        certificates::certificates(&self.snapshot, None, false, false).plan
    }

    fn serviceca(&self) -> String {
        let map = self.find(Kind::ConfigMap, names::SERVICE_CA_MAP).unwrap();
        map["data"][names::SERVICE_CA_KEY].as_str().unwrap().to_owned()
    }

    /// The serving certificate and its end.
    fn serving(&self) -> (String, Timestamp) {
        let pem = self.text(names::SERVING_CERT_SECRET, "tls.crt");
        let ends = Certificate::of_pem(pem.as_bytes()).unwrap().not_after;
        (pem, Timestamp::from_second(ends).unwrap())
    }
}

/// Whether a client that trusts these CAs accepts the certificate for the name at that time.
fn verifies(certificate: &str, authorities: &str, name: &str, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let provider = rustls::crypto::aws_lc_rs::default_provider().into();
    let verifier = WebPkiServerVerifier::builder_with_provider(std::sync::Arc::new(roots), provider)
        .build()
        .unwrap();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let now = UnixTime::since_unix_epoch(StdDuration::from_secs(now.as_second().unsigned_abs()));
    let name = ServerName::try_from(name).unwrap();
    verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
}

// kubernetes 6
#[test]
fn the_serving_certificate_verifies_for_every_name_and_address() {
    let mut plain = Plain::new();
    plain.settle();
    let (certificate, _) = plain.serving();
    for name in NAMES.into_iter().chain(["fd00::7"]) {
        assert!(
            verifies(&certificate, &plain.serviceca(), name, plain.snapshot.now),
            "{name}"
        );
    }
    for name in ["10.3.0.8", "image-registry.other.svc", "example.com"] {
        assert!(
            !verifies(&certificate, &plain.serviceca(), name, plain.snapshot.now),
            "{name}"
        );
    }
    assert_eq!(
        plain.issued,
        ["the operator's CA", "the registry's serving certificate"]
    );
    assert!(plain.events.is_empty());
    let map = plain.find(Kind::ConfigMap, names::CERTIFICATES_MAP).unwrap();
    assert_eq!(
        map["data"]["image-registry.openshift-image-registry.svc..5000"],
        plain.serviceca()
    );
    let authority = plain.text(names::OPERATOR_CA_SECRET, "tls.crt");
    let read = Certificate::of_pem(authority.as_bytes()).unwrap();
    assert!(read.is_ca);
    let decade = plain.snapshot.now + own::AUTHORITY_VALIDITY;
    assert_eq!(read.not_after, decade.as_second());
}

// kubernetes 7: each step, clients with the CAs of the step before accept the certificate, and clients with the CAs of this step the
// certificate before, which pods serve during the rollout.
#[test]
fn certificates_and_cas_are_renewed_in_time_and_never_fail_to_verify() {
    let mut plain = Plain::new();
    plain.settle();
    let first = plain.text(names::OPERATOR_CA_SECRET, "tls.crt");
    let (mut certificate, _) = plain.serving();
    let (mut authorities, mut renewals, mut both) = (plain.serviceca(), Vec::new(), 0);
    for day in 1..=12 * 365 {
        plain.snapshot.now += days(1);
        plain.settle();
        let now = plain.snapshot.now;
        let (next, ends) = plain.serving();
        assert!(ends.duration_since(now) > days(29), "day {day}: ends {ends}");
        if next != certificate {
            renewals.push(day);
        }
        for (certificate, authorities) in [(&next, &authorities), (&certificate, &plain.serviceca())] {
            assert!(verifies(certificate, authorities, NAMES[0], now), "day {day}");
        }
        both += usize::from(authorities.matches("BEGIN CERTIFICATE").count() == 2);
        (certificate, authorities) = (next, plain.serviceca());
    }
    assert_eq!(renewals[..3], [60, 120, 180]);
    assert_eq!(renewals.len(), 12 * 365 / 60);
    assert_ne!(plain.text(names::OPERATOR_CA_SECRET, "tls.crt"), first);
    assert_eq!(both, 366, "the earlier CA is published until it ends");
    assert!(plain.events.is_empty());
}

// kubernetes 8
#[test]
fn a_certificate_of_others_is_used_and_never_written() {
    let mut plain = Plain::new();
    let other = issuer::authority("corporate", validity(plain.snapshot.now, days(30), None))
        .unwrap()
        .certificate;
    let data = json!({"tls.crt": "YQ==", "tls.key": "Yg==", "ca.crt": STANDARD.encode(&other)});
    plain.put(
        Kind::Secret,
        names::SERVING_CERT_SECRET,
        json!({"metadata": {"name": "t"}, "data": data}),
    );
    plain.settle();
    assert!(plain.issued.is_empty());
    assert_eq!(
        plain.find(Kind::Secret, names::SERVING_CERT_SECRET).unwrap()["data"],
        data
    );
    assert!(
        plain.find(Kind::Secret, names::OPERATOR_CA_SECRET).is_none(),
        "nothing needs a CA"
    );
    assert_eq!(plain.serviceca(), other);

    // It replaces one of the operator's: clients trust both while pods still serve the old one.
    let mut plain = Plain::new();
    plain.settle();
    plain.put(
        Kind::Secret,
        names::SERVING_CERT_SECRET,
        json!({"metadata": {"name": "t"}, "data": data}),
    );
    plain.settle();
    let own = plain.text(names::OPERATOR_CA_SECRET, "tls.crt");
    assert_eq!(plain.serviceca(), format!("{own}{other}"));
    // What is published does not depend on the clock.
    plain.snapshot.now += days(31);
    plain.settle();
    assert_eq!(plain.serviceca(), format!("{own}{other}"));
}

#[test]
fn what_others_published_stays_without_a_ca_to_publish() {
    let mut plain = Plain::new();
    plain.put(
        Kind::Secret,
        names::SERVING_CERT_SECRET,
        json!({"metadata": {"name": "t"}, "data": {"tls.crt": "YQ=="}}),
    );
    let map = json!({"metadata": {"name": "m"}, "data": {names::SERVICE_CA_KEY: "THEIRS\n"}});
    plain.put(Kind::ConfigMap, names::SERVICE_CA_MAP, map);
    plain.settle();
    assert_eq!(plain.serviceca(), "THEIRS\n");
}

// kubernetes 9
#[test]
fn a_lost_ca_is_made_anew_and_the_earlier_one_stays_published() {
    let mut plain = Plain::new();
    plain.settle();
    let (first, certificate) = (plain.serviceca(), plain.serving());
    plain.remove(names::OPERATOR_CA_SECRET);
    plain.settle();
    assert_eq!(plain.events, ["CertificateAuthorityLost"]);
    assert_eq!(plain.issued.len(), 3, "{:?}", plain.issued);
    let new = plain.text(names::OPERATOR_CA_SECRET, "tls.crt");
    assert_eq!(plain.serviceca(), format!("{new}{first}"));
    assert_eq!(
        plain.serving(),
        certificate,
        "the certificate in use stays: one rollout"
    );
    // The next renewal is by the new CA.
    plain.snapshot.now += days(60);
    plain.settle();
    assert!(verifies(&plain.serving().0, &new, NAMES[0], plain.snapshot.now));

    // As the message says: without both Secrets nothing is left of the earlier CA.
    plain.remove(names::OPERATOR_CA_SECRET);
    plain.remove(names::SERVING_CERT_SECRET);
    plain.settle();
    assert_eq!(plain.serviceca(), plain.text(names::OPERATOR_CA_SECRET, "tls.crt"));
    assert!(plain.serves(NAMES[0]));
}

#[test]
fn a_damaged_secret_is_replaced_and_one_of_others_is_reported() {
    for (key, value) in [("tls.crt", "YQ=="), ("tls.key", "YQ=="), ("tls.key", "")] {
        for name in [names::OPERATOR_CA_SECRET, names::SERVING_CERT_SECRET] {
            let mut plain = Plain::new();
            plain.settle();
            let mut damaged = plain.find(Kind::Secret, name).unwrap().clone();
            damaged["data"][key] = json!(value);
            plain.put(Kind::Secret, name, damaged);
            plain.settle();
            assert!(plain.decide().issue.is_none(), "{name} {key}");
            assert!(plain.serves(NAMES[0]), "{name} {key}");
        }
    }
    // The key of another certificate.
    let mut plain = Plain::new();
    plain.settle();
    let mut swapped = plain.find(Kind::Secret, names::SERVING_CERT_SECRET).unwrap().clone();
    swapped["data"]["tls.key"] =
        plain.find(Kind::Secret, names::OPERATOR_CA_SECRET).unwrap()["data"]["tls.key"].clone();
    plain.put(Kind::Secret, names::SERVING_CERT_SECRET, swapped);
    assert_eq!(plain.decide().issue.unwrap().why, Why::Lost);
    // A CA without the label.
    let mut other = plain.find(Kind::Secret, names::OPERATOR_CA_SECRET).unwrap().clone();
    other["metadata"]["labels"] = json!({});
    plain.put(Kind::Secret, names::OPERATOR_CA_SECRET, other);
    let found = plain.decide();
    assert!(found.issue.is_none() && found.plan.present.is_empty());
    assert_eq!(found.plan.failures.len(), 1);
}

#[test]
fn a_new_address_or_host_needs_a_new_certificate_and_one_that_is_gone_does_not() {
    let mut plain = Plain::new();
    plain.settle();
    let mut before = plain.serving().0;
    plain.service(&["10.3.0.99"]);
    plain.settle();
    assert!(plain.serves("10.3.0.99"));
    assert_ne!(plain.serving().0, before);
    before = plain.serving().0;
    plain.config(&json!([]));
    plain.settle();
    assert_eq!(plain.serving().0, before);
    let route = json!({"metadata": {"name": "r", "annotations": {names::OWNED_ANNOTATION: "true"}}, "spec": {"host": "r.apps.test"}});
    plain.put(Kind::Route, "r", route);
    plain.settle();
    assert!(plain.serves("r.apps.test"));
}

#[test]
fn nothing_is_issued_with_a_service_ca_on_the_platform_without_a_service_or_for_a_registry_that_goes() {
    let issue = |change: &dyn Fn(&mut Snapshot), removed| {
        let mut plain = Plain::new();
        change(&mut plain.snapshot);
        let found = own::own_certificates(&plain.snapshot, removed);
        assert_eq!(found.plan, Plan::default());
        found.issue
    };
    assert!(issue(&|_| (), false).is_some());
    assert!(issue(&|_| (), true).is_none());
    assert!(issue(&|s| s.service_ca_api = true, false).is_none());
    assert!(issue(&|s| s.objects.set_absent_kinds([].into()), false).is_none());
    let service = ObjectRef::new(Kind::Service, names::NAMESPACE, names::REGISTRY);
    assert!(issue(&|s| s.objects.remove(&service), false).is_none());
}

#[test]
fn a_service_ca_that_appears_takes_over() {
    let mut plain = Plain::new();
    plain.settle();
    let own = plain.serviceca();
    plain.snapshot.service_ca_api = true;
    plain.settle();
    let kept = plain.find(Kind::Secret, names::SERVING_CERT_SECRET).is_some();
    assert!(kept, "the service CA has not shown yet that it works");
    let pem = issuer::authority("service-ca", validity(plain.snapshot.now, days(30), None))
        .unwrap()
        .certificate;
    let map = json!({"metadata": {"name": "m"}, "data": {names::SERVICE_CA_KEY: pem}});
    plain.put(Kind::ConfigMap, names::SERVICE_CA_MAP, map);
    plain.settle();
    assert!(plain.find(Kind::Secret, names::SERVING_CERT_SECRET).is_none());
    assert_eq!(plain.serviceca(), pem, "its ConfigMap is the service CA's");
    let map = plain.find(Kind::ConfigMap, names::CERTIFICATES_MAP).unwrap();
    let trusted = map["data"]["image-registry.openshift-image-registry.svc..5000"]
        .as_str()
        .unwrap();
    assert!(
        trusted.contains(&pem) && trusted.contains(own.trim()),
        "pods serve the old certificate for a while"
    );
}

// kubernetes 8: also a certificate that was put into the operator's Secret, so that the label is still there.
#[test]
fn a_certificate_of_others_with_the_operators_label_is_reported_and_never_written() {
    let mut plain = Plain::new();
    plain.settle();
    let signer = issuer::authority("corporate", validity(plain.snapshot.now, days(30), None)).unwrap();
    let by = Signer {
        subject: "corporate",
        key: &signer.key,
    };
    let valid = validity(plain.snapshot.now, days(20), None);
    let theirs = issuer::serving(&["registry.example.com".to_owned()], valid, Some(by)).unwrap();
    let mut put = plain.find(Kind::Secret, names::SERVING_CERT_SECRET).unwrap().clone();
    put["data"]["tls.crt"] = json!(STANDARD.encode(&theirs.certificate));
    put["data"]["tls.key"] = json!(STANDARD.encode(theirs.key.expose()));
    for authority in [None, Some(&signer.certificate)] {
        if let Some(authority) = authority {
            put["data"]["ca.crt"] = json!(STANDARD.encode(authority));
        }
        plain.put(Kind::Secret, names::SERVING_CERT_SECRET, put.clone());
        let found = plain.decide();
        assert!(found.issue.is_none() && found.plan.present.is_empty());
        assert_eq!(found.plan.failures.len(), 1);
    }
    // What has ended helps nobody.
    plain.snapshot.now += days(21);
    assert!(matches!(plain.decide().issue.unwrap().what, What::Serving { .. }));
}

#[test]
fn a_ca_of_others_with_the_operators_label_signs_nothing() {
    let mut plain = Plain::new();
    plain.settle();
    let theirs = issuer::authority("corporate", validity(plain.snapshot.now, days(9 * 365), None)).unwrap();
    let mut put = plain.find(Kind::Secret, names::OPERATOR_CA_SECRET).unwrap().clone();
    put["data"]["tls.crt"] = json!(STANDARD.encode(&theirs.certificate));
    put["data"]["tls.key"] = json!(STANDARD.encode(theirs.key.expose()));
    plain.put(Kind::Secret, names::OPERATOR_CA_SECRET, put);
    plain.remove(names::SERVING_CERT_SECRET);
    let issue = plain.decide().issue.unwrap();
    assert!(matches!(issue.what, What::Serving { .. }));
    assert!(make(&issue, plain.snapshot.now).unwrap().is_none());
}

#[test]
fn a_host_with_a_dot_at_its_end_is_issued_once_without_it() {
    let mut plain = Plain::new();
    plain.config(&json!([{"name": "own", "hostname": "registry.example.com."}]));
    plain.settle();
    assert_eq!(plain.issued.len(), 2);
    assert!(plain.serves("registry.example.com"));
}

#[tokio::test(start_paused = true)]
async fn another_writer_makes_the_operator_slow_and_not_busy() {
    let mut plain = Plain::new();
    plain.settle();
    let (mut issuing, mut made) = (Issuing::default(), 0);
    for _ in 0..1200 {
        plain.remove(names::SERVING_CERT_SECRET);
        let issue = plain.decide().issue.unwrap();
        assert_eq!(issue.why, Why::Absent);
        if issuing.pause(&issue).is_none() {
            made += 1;
            issuing.note(&issue);
        }
        tokio::time::advance(StdDuration::from_secs(1)).await;
    }
    assert_eq!(made, 2 * MOST, "in twenty minutes");
}

// In part: kubernetes 7 (clocks that jump)
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_to_and_fro_replaces_a_certificate_every_ten_minutes_at_most() {
    let mut plain = Plain::new();
    plain.settle();
    let start = plain.snapshot.now;
    let (mut issuing, mut made) = (Issuing::default(), 0);
    for jump in 0..240 {
        plain.snapshot.now = if jump % 2 == 0 { start + days(11 * 365) } else { start };
        if let Some(issue) = plain.decide().issue {
            let waits = issuing.pause(&issue);
            if waits.is_none() {
                made += usize::from(issue.why == Why::Time);
                issuing.note(&issue);
                plain.settle();
            }
        }
        tokio::time::advance(StdDuration::from_secs(30)).await;
    }
    // Two hours.
    assert!((2..=26).contains(&made), "{made}");
    plain.snapshot.now = start;
    plain.settle();
    assert!(verifies(&plain.serving().0, &plain.serviceca(), NAMES[0], start));
    // A clock that is behind by less than certificates are backdated changes nothing.
    plain.snapshot.now = start - SignedDuration::from_hours(20);
    assert!(plain.decide().issue.is_none());
}

#[test]
fn debug_output_contains_no_private_key() {
    let mut plain = Plain::new();
    let mut shown = Vec::new();
    for _ in 0..2 {
        let found = plain.decide();
        shown.push(format!(
            "{found:?} {:?}",
            make(found.issue.as_ref().unwrap(), plain.snapshot.now)
        ));
        let desired = make(found.issue.as_ref().unwrap(), plain.snapshot.now)
            .unwrap()
            .unwrap();
        plain.snapshot.objects.insert(desired.reference, desired.body);
    }
    shown.push(format!(
        "{:?} {:?}",
        plain.decide(),
        issuer::authority("x", validity(plain.snapshot.now, days(1), None))
    ));
    let shown = shown.concat();
    let key = plain.text(names::OPERATOR_CA_SECRET, "tls.key");
    let line = key.lines().nth(1).unwrap();
    assert!(shown.contains("redacted"));
    for secret in ["PRIVATE KEY", line, &STANDARD.encode(&key)[..40]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
