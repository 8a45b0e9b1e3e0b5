//! Plays service-ca: a Service that names a Secret for its serving certificate gets that Secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::StandIn;
use super::authority::Issued;
use super::cache::{Cache, Kind, annotation, key, terminating};
use super::write::Write;

/// Names the Secret; both spellings are in use.
const SECRET_NAME: [&str; 2] = [
    "service.beta.openshift.io/serving-cert-secret-name",
    "service.alpha.openshift.io/serving-cert-secret-name",
];
/// On the Service: who signed.
const SIGNED_BY: [&str; 2] = [
    "service.beta.openshift.io/serving-cert-signed-by",
    "service.alpha.openshift.io/serving-cert-signed-by",
];
/// On the Secret: for which Service it was made.
const SERVICE_NAME: &str = "service.beta.openshift.io/originating-service-name";
const SERVICE_UID: &str = "service.beta.openshift.io/originating-service-uid";
/// On the Secret, ours: by which authority it was signed, so that a new authority signs anew.
const AUTHORITY: &str = "devcluster/authority";

/// A certificate that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Order {
    namespace: String,
    service: String,
    uid: String,
    secret: String,
}

impl Order {
    /// The names that the certificate is for.
    pub(super) fn names(&self) -> Vec<String> {
        let name = format!("{}.{}.svc", self.service, self.namespace);
        vec![name.clone(), format!("{name}.cluster.local")]
    }

    /// The Secret with the certificate: a new one, or the one there is made right.
    pub(super) fn fulfil(&self, cache: &Cache, issued: &Issued, authority: &str) -> Write {
        let body = json!({
            "type": "kubernetes.io/tls",
            "metadata": {
                "annotations": {SERVICE_NAME: self.service, SERVICE_UID: self.uid, AUTHORITY: fingerprint(authority)},
                "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": self.service, "uid": self.uid}],
            },
            "data": {"tls.crt": BASE64.encode(&issued.chain), "tls.key": BASE64.encode(&issued.key)},
        });
        match cache.get(Kind::Secret, &self.namespace, &self.secret) {
            Some(secret) => Write::merge(StandIn::ServingCertificate, Kind::Secret, secret, body),
            None => Write::create(
                StandIn::ServingCertificate,
                Kind::Secret,
                &self.namespace,
                &self.secret,
                body,
            ),
        }
    }
}

/// The certificates that are missing, outdated or made for another Service of the same name.
pub(super) fn orders(cache: &Cache, authority: &str) -> Vec<Order> {
    let wanted = |service: &DynamicObject| {
        let secret = secret_name(service)?;
        let (namespace, name) = key(service);
        let uid = service.metadata.uid.clone().unwrap_or_default();
        let settled = cache
            .get(Kind::Secret, &namespace, secret)
            .is_some_and(|secret| good(secret, &uid, authority));
        (!settled).then(|| Order {
            namespace,
            service: name,
            uid,
            secret: secret.to_owned(),
        })
    };
    cache
        .all(Kind::Service)
        .filter(|service| !terminating(service))
        .filter_map(wanted)
        .collect()
}

/// Notes on each Service who signed its certificate, once the certificate is there.
pub(super) fn plan(cache: &Cache, authority: &str, common_name: &str) -> Vec<Write> {
    let unmarked = |service: &&DynamicObject| {
        let uid = service.metadata.uid.as_deref().unwrap_or_default();
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        let secret = secret_name(service).and_then(|name| cache.get(Kind::Secret, namespace, name));
        secret.is_some_and(|secret| good(secret, uid, authority))
            && SIGNED_BY
                .iter()
                .any(|name| annotation(service, name) != Some(common_name))
    };
    let mark = |service: &DynamicObject| {
        let annotations: Value = SIGNED_BY
            .iter()
            .map(|&name| (name.to_owned(), json!(common_name)))
            .collect();
        let body = json!({"metadata": {"annotations": annotations}});
        Write::merge(StandIn::ServingCertificate, Kind::Service, service, body)
    };
    cache
        .all(Kind::Service)
        .filter(|service| !terminating(service))
        .filter(unmarked)
        .map(mark)
        .collect()
}

fn secret_name(service: &DynamicObject) -> Option<&str> {
    SECRET_NAME
        .iter()
        .find_map(|name| annotation(service, name))
        .filter(|name| !name.is_empty())
}

fn good(secret: &DynamicObject, uid: &str, authority: &str) -> bool {
    let filled = |name: &str| secret.data["data"][name].as_str().is_some_and(|data| !data.is_empty());
    // A Secret on its way out counts as good: it cannot be made right, and its end makes the next one.
    terminating(secret)
        || (filled("tls.crt")
            && filled("tls.key")
            && annotation(secret, SERVICE_UID) == Some(uid)
            && annotation(secret, AUTHORITY) == Some(&fingerprint(authority)))
}

/// A short name of an authority's certificate: the end of its PEM body, which is part of its signature.
fn fingerprint(authority: &str) -> String {
    let body = authority
        .lines()
        .rev()
        .find(|line| !line.is_empty() && !line.starts_with('-'))
        .unwrap_or_default();
    let end = body.trim_end_matches('=');
    end[end.len().saturating_sub(16)..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::cache::fixture::cache;
    use super::super::write::Verb;
    use super::*;

    const CA: &str = "-----BEGIN CERTIFICATE-----\nAAAA\nquuxquuxquuxquuxquux\n-----END CERTIFICATE-----\n";

    fn service(uid: &str) -> (Kind, Value) {
        let metadata =
            json!({"name": "quux", "namespace": "zone-q", "uid": uid, "annotations": {SECRET_NAME[1]: "quux-tls"}});
        (Kind::Service, json!({"metadata": metadata}))
    }

    fn secret(body: &Verb) -> (Kind, Value) {
        let (Verb::Create(body) | Verb::Merge(body)) = body else {
            panic!("no status expected")
        };
        let mut body = body.clone();
        body["metadata"]["name"] = json!("quux-tls");
        body["metadata"]["namespace"] = json!("zone-q");
        (Kind::Secret, body)
    }

    fn issued() -> Issued {
        Issued {
            chain: "CHAIN".to_owned(),
            key: "KEY".to_owned(),
        }
    }

    #[test]
    fn an_annotated_service_orders_a_certificate_until_its_secret_is_there() {
        let before = cache([service("u1")]);
        let [order] = orders(&before, CA).try_into().unwrap();
        assert_eq!(order.names(), ["quux.zone-q.svc", "quux.zone-q.svc.cluster.local"]);
        let write = order.fulfil(&before, &issued(), CA);
        assert_eq!((write.namespace.as_str(), write.name.as_str()), ("zone-q", "quux-tls"));
        let after = cache([service("u1"), secret(&write.verb)]);
        assert_eq!(orders(&after, CA), []);
        assert_eq!(
            after
                .get(Kind::Secret, "zone-q", "quux-tls")
                .unwrap()
                .owner_references()[0]
                .uid,
            "u1"
        );
    }

    #[test]
    fn another_uid_another_authority_or_lost_data_orders_again() {
        let empty = cache([service("u1")]);
        let write = orders(&empty, CA)[0].fulfil(&empty, &issued(), CA);
        let (kind, good) = secret(&write.verb);
        assert_eq!(orders(&cache([service("u2"), (kind, good.clone())]), CA).len(), 1);
        assert_eq!(
            orders(
                &cache([service("u1"), (kind, good.clone())]),
                &CA.replace("quux", "corge")
            )
            .len(),
            1
        );
        let mut bad = good;
        bad["data"]["tls.key"] = json!(null);
        let spoiled = cache([service("u1"), (kind, bad)]);
        let [order] = orders(&spoiled, CA).try_into().unwrap();
        assert!(matches!(order.fulfil(&spoiled, &issued(), CA).verb, Verb::Merge(_)));
    }

    #[test]
    fn the_service_is_told_who_signed_only_once_there_is_a_certificate() {
        let empty = cache([service("u1")]);
        assert!(plan(&empty, CA, "signer-x").is_empty());
        let write = orders(&empty, CA)[0].fulfil(&empty, &issued(), CA);
        let (_, mut marked) = service("u1");
        let full = cache([service("u1"), secret(&write.verb)]);
        let [mark] = plan(&full, CA, "signer-x").try_into().unwrap();
        let Verb::Merge(body) = &mark.verb else {
            panic!("a merge expected")
        };
        for name in SIGNED_BY {
            marked["metadata"]["annotations"][name] = body["metadata"]["annotations"][name].clone();
        }
        let settled = cache([(Kind::Service, marked), secret(&write.verb)]);
        assert!(plan(&settled, CA, "signer-x").is_empty());
    }

    use kube::ResourceExt as _;
}
