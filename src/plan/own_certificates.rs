//! Certificates that the operator issues itself, on clusters where no service CA does: its own CA, and the registry's serving
//! certificate. This file decides what has to be made; making it needs randomness, so the caller does that.

mod check;

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

pub(super) use self::check::parse;
use self::check::{CERTIFICATE, KEY, Pair, Sound};
use super::{Desired, Mark, Plan, operand, owned, secret};
use crate::api::Kind;
use crate::config::certificate::Certificate;
use crate::config::content::{self, is_deleting};
use crate::config::event_request::EventRequest;
use crate::config::snapshot::{Objects, Snapshot};
use crate::names;
use crate::sensitive::Sensitive;

/// Validity of a CA.
pub const AUTHORITY_VALIDITY: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);
/// A CA is replaced this long before its end. Longer than a serving certificate is valid, so that none outlives its CA.
const AUTHORITY_RENEWAL: SignedDuration = SignedDuration::from_hours(365 * 24);
/// Validity of a serving certificate.
pub const SERVING_VALIDITY: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A serving certificate is renewed this long before its end, after 60 days.
const SERVING_RENEWAL: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Certificates are valid from this long before they are made: clocks of nodes and of operators differ.
pub const BACKDATED: SignedDuration = SignedDuration::from_hours(24);
/// How long a renewed CA is published before it signs a renewal: nodes learn of it within minutes.
const PUBLISHED_FIRST: SignedDuration = SignedDuration::from_hours(24);
/// How many earlier CAs are published at most.
const PREVIOUS: usize = 4;

const AUTHORITIES: &str = "ca.crt";

/// What this pass does about the operator's own certificates.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OwnCertificates {
    /// What has to be made now; `None` if all is there.
    pub issue: Option<Issue>,
    /// Objects that need no new key, objects that must not exist, failures and events.
    pub plan: Plan,
}

/// A certificate that has to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Issue {
    /// The certificate.
    pub what: What,
    /// Why it is made.
    pub why: Why,
}

/// Which certificate is made.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// The CA.
    Authority {
        /// Earlier CAs that stay published, PEM.
        previous: String,
    },
    /// The registry's serving certificate.
    Serving {
        /// The CA that signs it.
        authority: Authority,
        /// Host names and addresses.
        names: Vec<String>,
    },
}

/// Why a certificate is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There was none.
    Absent,
    /// The Secret is gone or cannot be used.
    Lost,
    /// The Service has a name or an address that the certificate lacks.
    Names,
    /// It ends soon, has ended, or is not valid yet. Depends on the clock.
    Time,
}

/// A CA that signs.
#[derive(Clone, Debug, PartialEq)]
pub struct Authority {
    /// Its subject.
    pub subject: String,
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: Sensitive,
    /// End of its validity.
    pub ends: Timestamp,
}

/// The subject of a CA that is valid from then. No two CAs have the same one.
pub fn subject(not_before: Timestamp) -> String {
    format!("{}@{}", names::OPERATOR_CA_SECRET, not_before.as_second())
}

/// Decides about the operator's own certificates. `removed` is true if the registry is to be removed.
pub fn own_certificates(snapshot: &Snapshot, removed: bool) -> OwnCertificates {
    let objects = &snapshot.objects;
    let serving = objects.operand(Kind::Secret, names::SERVING_CERT_SECRET);
    if !snapshot.issues_certificates() {
        return handed_over(snapshot, serving);
    }
    let Some(service) = objects.operand(Kind::Service, names::REGISTRY) else {
        return OwnCertificates::default();
    };
    let is_foreign = serving.is_some_and(|secret| !is_issued(secret));
    let has_address = content::text(service.pointer("/spec/clusterIP")).is_some();
    let is_leaving = removed || is_deleting(service) || serving.is_some_and(is_deleting);
    if is_leaving || is_foreign || !has_address {
        return OwnCertificates::default();
    }
    // With a clock that jumps, only what is stored may depend on the time: what is published must not change to and fro.
    let previous = || pem(&without_ended(published_by(objects, true), snapshot.now));
    let new_authority = |why, events| OwnCertificates {
        issue: Some(Issue {
            what: What::Authority { previous: previous() },
            why,
        }),
        plan: Plan {
            events,
            ..Plan::default()
        },
    };
    let Some(stored) = objects.operand(Kind::Secret, names::OPERATOR_CA_SECRET) else {
        return match serving {
            None => new_authority(Why::Absent, Vec::new()),
            Some(_) => new_authority(Why::Lost, vec![lost("does not exist any more")]),
        };
    };
    if is_deleting(stored) {
        return OwnCertificates::default();
    }
    if !is_issued(stored) {
        return failing(fail_foreign_authority);
    }
    let Some(authority) = sound_authority(stored) else {
        return new_authority(Why::Lost, vec![lost("holds no CA with its private key")]);
    };
    let now = snapshot.now;
    if now < authority.pair.valid.0 || now.duration_since(authority.pair.valid.1) >= -AUTHORITY_RENEWAL {
        return new_authority(Why::Time, Vec::new());
    }
    if serving.is_some_and(|serving| is_replaced(serving, stored, &authority, now)) {
        return failing(fail_foreign_content);
    }
    let mut found = OwnCertificates::default();
    found.plan.present.extend(pruned(stored, now));
    let names = serving_names(snapshot, service);
    found.issue = serving_due(serving, &authority, &names, snapshot).map(|why| Issue {
        what: What::Serving {
            authority: authority.into(),
            names,
        },
        why,
    });
    found
}

/// The operator's CA, while it is valid; `None` if the operator has none, or a service CA issues certificates.
pub fn authority(snapshot: &Snapshot) -> Option<Authority> {
    let secret = snapshot.objects.operand(Kind::Secret, names::OPERATOR_CA_SECRET)?;
    let usable = snapshot.issues_certificates() && is_issued(secret);
    let sound = sound_authority(secret).filter(|_| usable)?;
    let (begins, ends) = sound.pair.valid;
    (begins <= snapshot.now && snapshot.now < ends).then(|| sound.into())
}

/// The CAs that clients of the registry have to trust, PEM, each once: the operator's own, earlier ones that are stored, and the one that
/// the serving certificate names. `None` if there are none.
pub fn published(snapshot: &Snapshot) -> Option<String> {
    let all = published_by(&snapshot.objects, snapshot.issues_certificates());
    (!all.is_empty()).then(|| pem(&all))
}

/// Whether clients of the registry can verify its certificate at an address of the Service: the operator's certificates have the
/// addresses, those of the service CA do not, and another one may.
pub(super) fn has_address(snapshot: &Snapshot, address: IpAddr) -> bool {
    match snapshot.objects.operand(Kind::Secret, names::SERVING_CERT_SECRET) {
        // A new address is a reason for a new certificate.
        Some(own) if is_issued(own) => true,
        Some(theirs) => check::sound(theirs).is_some_and(|sound| sound.pair.has_name(&address.to_string())),
        None => snapshot.issues_certificates(),
    }
}

/// The Secret with a CA. `previous` are earlier CAs, PEM.
pub fn authority_secret(certificate: &str, key: &Sensitive, previous: &str) -> Desired {
    let mut all = parse(certificate);
    all.extend(parse(previous));
    let mut kept: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in all {
        if kept.len() <= PREVIOUS && !kept.contains(&certificate) {
            kept.push(certificate);
        }
    }
    issued_secret(names::OPERATOR_CA_SECRET, certificate, key, &pem(&kept))
}

/// The Secret with the registry's serving certificate. `authority` is the CA that signed it.
pub fn serving_secret(certificate: &str, key: &Sensitive, authority: &str) -> Desired {
    issued_secret(names::SERVING_CERT_SECRET, certificate, key, authority)
}

/// Whether the operator issued the certificate of a Secret.
pub(super) fn is_issued(secret: &Value) -> bool {
    content::has_label(secret, names::ISSUED_LABEL)
}

impl From<Sound> for Authority {
    fn from(sound: Sound) -> Self {
        let Sound { certificate, key, pair } = sound;
        Self {
            subject: subject(pair.valid.0),
            certificate,
            key,
            ends: pair.valid.1,
        }
    }
}

/// With a service CA, the operator's certificate makes room for the service CA's, which overwrites no Secret of others. The service CA
/// is at work if it has published its certificate. The operator's CA stays published: pods use the old certificate for a while.
fn handed_over(snapshot: &Snapshot, serving: Option<&Value>) -> OwnCertificates {
    let mut found = OwnCertificates::default();
    let own = published_by(&snapshot.objects, false);
    let map = snapshot.objects.operand(Kind::ConfigMap, names::SERVICE_CA_MAP);
    let injected = map.and_then(|map| content::map_text(map, names::SERVICE_CA_KEY));
    let is_at_work = injected.is_some_and(|pem| parse(&pem).iter().any(|ca| !own.contains(ca)));
    if is_at_work && serving.is_some_and(|secret| is_issued(secret) && !is_deleting(secret)) {
        found
            .plan
            .absent
            .push(operand(Kind::Secret, names::SERVING_CERT_SECRET));
    }
    found
}

fn failing(fail: impl FnOnce(&mut Plan)) -> OwnCertificates {
    let mut found = OwnCertificates::default();
    fail(&mut found.plan);
    found
}

/// Whether somebody has put a certificate into the operator's Secret and left the label there: it works, and none of the operator's CAs
/// signed it.
fn is_replaced(serving: &Value, stored: &Value, authority: &Sound, now: Timestamp) -> bool {
    let Some(Sound { pair, .. }) = check::sound(serving) else {
        return false;
    };
    let mut own = certificates(stored, AUTHORITIES);
    own.extend(authority.pair.chain.iter().cloned());
    now <= pair.valid.1 && !pair.is_signed_by(&own)
}

fn fail_foreign_content(plan: &mut Plan) {
    let name = names::SERVING_CERT_SECRET;
    let message = format!(
        "Secret {name} has a certificate that the operator did not issue, and the operator's label. The certificate is used as it is: remove \
         label {} to keep it, or delete the Secret to get one of the operator",
        names::ISSUED_LABEL
    );
    plan.fail(Kind::Secret, name, message);
}

/// The certificates of PEM text, and nothing else of it.
pub(super) fn certificates_of(text: &str) -> String {
    pem(&parse(text))
}

/// Whether this CA signed a certificate, both PEM.
pub fn is_signed(certificate: &str, authority: &str) -> bool {
    let pair = Pair::of(parse(certificate));
    pair.is_some_and(|pair| pair.is_signed_by(&parse(authority)))
}

/// Adds the failure that the stored CA is not one that the operator made, so that the operator cannot sign with it.
pub fn fail_foreign_authority(plan: &mut Plan) {
    let message = format!(
        "Secret {ca} is not the operator's, so no serving certificate can be issued: delete the Secret, and the operator \
         makes its own CA; or create Secret {} with a certificate of yours",
        names::SERVING_CERT_SECRET,
        ca = names::OPERATOR_CA_SECRET
    );
    plan.fail(Kind::Secret, names::OPERATOR_CA_SECRET, message);
}

fn lost(what: &str) -> EventRequest {
    EventRequest {
        warning: true,
        reason: "CertificateAuthorityLost",
        message: format!(
            "Secret {ca} {what}: the operator makes a new CA and publishes it beside the earlier one, until that one ends. If \
             its private key may be known to others, delete Secret {} as well",
            names::SERVING_CERT_SECRET,
            ca = names::OPERATOR_CA_SECRET
        ),
    }
}

fn sound_authority(secret: &Value) -> Option<Sound> {
    let sound = check::sound(secret)?;
    Certificate::of_pem(sound.certificate.as_bytes())?
        .is_ca
        .then_some(sound)
}

/// Why the serving certificate has to be made; `None` if it may stay.
fn serving_due(secret: Option<&Value>, authority: &Sound, names: &[String], snapshot: &Snapshot) -> Option<Why> {
    let Some(secret) = secret else { return Some(Why::Absent) };
    let Some(Sound { pair, .. }) = check::sound(secret) else {
        return Some(Why::Lost);
    };
    if !pair.is_signed_by(&published_by(&snapshot.objects, true)) {
        return Some(Why::Lost);
    }
    if !names.iter().all(|name| pair.has_name(name)) {
        return Some(Why::Names);
    }
    let now = snapshot.now;
    let (begins, ends) = pair.valid;
    if now < begins || now > ends {
        return Some(Why::Time);
    }
    let is_new = |pair: &Pair| now.duration_since(pair.valid.0) < BACKDATED + PUBLISHED_FIRST;
    let is_due = now.duration_since(ends) >= -SERVING_RENEWAL;
    // A certificate that its CA has signed may be renewed at once; a new CA has to be known to all nodes first.
    let waits = is_new(&authority.pair) && !pair.is_signed_by(&authority.pair.chain);
    (is_due && !waits).then_some(Why::Time)
}

/// Names of the Service, its addresses, and hosts of the routes.
fn serving_names(snapshot: &Snapshot, service: &Value) -> Vec<String> {
    let host = format!("{}.{}.svc", names::REGISTRY, names::NAMESPACE);
    let spec = service.get("spec");
    let single = spec.and_then(|spec| spec.get("clusterIP"));
    let addresses = spec.and_then(|spec| spec.get("clusterIPs")?.as_array());
    let mut addresses: Vec<String> = single
        .into_iter()
        .chain(addresses.into_iter().flatten())
        .filter_map(Value::as_str)
        .filter(|address| address.parse::<IpAddr>().is_ok()) // Else it is `None`, for a headless Service.
        .map(str::to_owned)
        .collect();
    addresses.sort();
    addresses.dedup();
    let mut hosts = route_hosts(snapshot);
    hosts.sort();
    hosts.dedup();
    let mut all = vec![host.clone(), format!("{host}.cluster.local")];
    all.extend(addresses);
    all.extend(hosts);
    all
}

/// Hosts of the routes, also where the Config does not decode.
fn route_hosts(snapshot: &Snapshot) -> Vec<String> {
    let objects = &snapshot.objects;
    let exposure = &snapshot.environment.exposure;
    let config = objects.cluster(Kind::Config, names::CLUSTER);
    let spec = config.and_then(|config| config.get("spec"));
    let entries = spec.and_then(|spec| spec.get("routes")?.as_array());
    let configured = entries.into_iter().flatten().filter_map(|entry| {
        let host = content::text(entry.get("hostname")).map(str::to_owned);
        host.or_else(|| exposure.generated_host(content::text(entry.get("name"))?))
    });
    let wants_default = spec.and_then(|spec| spec.get("defaultRoute")) == Some(&Value::Bool(true));
    let default = wants_default
        .then(|| exposure.generated_host(names::DEFAULT_ROUTE))
        .flatten();
    let live = owned::hosts(objects);
    configured
        .chain(default)
        .chain(live)
        // Clients ask without the dot at the end, and a certificate may not have it.
        .map(|host| host.trim_end_matches('.').to_owned())
        .filter(|host| ServerName::try_from(host.as_str()).is_ok())
        .collect()
}

fn published_by(objects: &Objects, issues: bool) -> Vec<CertificateDer<'static>> {
    let own = objects.operand(Kind::Secret, names::OPERATOR_CA_SECRET);
    let serving = objects.operand(Kind::Secret, names::SERVING_CERT_SECRET);
    let own = own.filter(|secret| is_issued(secret));
    let serving = serving.filter(|secret| issues || is_issued(secret));
    let mut all: Vec<CertificateDer<'static>> = Vec::new();
    for certificate in own
        .into_iter()
        .chain(serving)
        .flat_map(|secret| certificates(secret, AUTHORITIES))
    {
        if !all.contains(&certificate) {
            all.push(certificate);
        }
    }
    all
}

/// The CA's Secret without earlier CAs that have ended; `None` if it has none.
fn pruned(secret: &Value, now: Timestamp) -> Option<Desired> {
    let all = certificates(secret, AUTHORITIES);
    let count = all.len();
    let kept = without_ended(all, now);
    if kept.len() == count {
        return None;
    }
    let certificate = content::secret_text(secret, CERTIFICATE)?.ok()?;
    let key = content::secret_text(secret, KEY)?.ok()?;
    Some(authority_secret(&certificate, &Sensitive::new(key), &pem(&kept)))
}

fn without_ended(mut certificates: Vec<CertificateDer<'static>>, now: Timestamp) -> Vec<CertificateDer<'static>> {
    certificates.retain(|certificate| !has_ended(certificate, now));
    certificates
}

fn has_ended(certificate: &CertificateDer<'_>, now: Timestamp) -> bool {
    Certificate::read(certificate).is_some_and(|read| read.not_after < now.as_second())
}

fn certificates(secret: &Value, key: &str) -> Vec<CertificateDer<'static>> {
    let text = content::secret_text(secret, key).and_then(Result::ok);
    text.map(|text| parse(&text)).unwrap_or_default()
}

fn issued_secret(name: &str, certificate: &str, key: &Sensitive, authorities: &str) -> Desired {
    let data = json!({
        CERTIFICATE: secret::encoded(certificate),
        KEY: secret::encoded(key.expose()),
        AUTHORITIES: secret::encoded(authorities),
    });
    let mut desired = secret::secret(name, "kubernetes.io/tls", &data);
    desired.body["metadata"]["labels"] = json!({names::ISSUED_LABEL: names::ISSUED_LABEL_VALUE});
    desired.mark = Some(Mark::Label(names::ISSUED_LABEL));
    desired.without_checksum()
}

/// Certificates as PEM.
pub(super) fn pem(certificates: &[CertificateDer<'_>]) -> String {
    certificates
        .iter()
        .map(|certificate| check::encode(certificate))
        .collect()
}
