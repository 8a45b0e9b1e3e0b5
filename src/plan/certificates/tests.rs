use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Certificates, certificates, published_storage_ca};
use crate::api::{Kind, ObjectRef};
use crate::config::event_request::EventRequest;
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::drift;
use crate::plan::fixture::{live_service, map, snapshot};
use crate::plan::own_certificates::certificates_of;

const OWN: &str = "image-registry.openshift-image-registry.svc..5000";
const OWN_LONG: &str = "image-registry.openshift-image-registry.svc.cluster.local..5000";
const PEM: &str = "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n";

fn image() -> Value {
    json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"},
        "spec": {"additionalTrustedCA": {"name": "user-cas"}},
    })
}

fn user_map(data: &Value, binary: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "user-cas", "namespace": "openshift-config"},
        "data": data, "binaryData": binary,
    })
}

fn service_ca() -> Value {
    map("serviceca", &json!({"service-ca.crt": "SERVICE\n"}))
}

fn cluster(objects: impl IntoIterator<Item = Value>) -> Snapshot {
    snapshot([live_service(), service_ca()].into_iter().chain(objects))
}

fn data(certificates: &Certificates, name: &str) -> Value {
    certificates
        .plan
        .desired(Kind::ConfigMap, name)
        .unwrap()
        .body
        .get("data")
        .cloned()
        .unwrap_or(Value::Null)
}

/// `data` of the ConfigMap for nodes and of the ConfigMap for other operators.
fn both(certificates: &Certificates) -> [Value; 2] {
    [names::CERTIFICATES_MAP, names::CA_MAP].map(|name| data(certificates, name))
}

// workload 71
#[test]
fn both_config_maps_contain_the_service_ca_under_the_registrys_host_names() {
    let found = certificates(&cluster([]), None, false, false);
    let expected = json!({OWN: "SERVICE\n", OWN_LONG: "SERVICE\n"});
    assert_eq!(both(&found), [expected.clone(), expected]);
    assert_eq!(
        found.plan.present[2].reference.to_string(),
        "ConfigMap openshift-config-managed/image-registry-ca"
    );
    let mut service = live_service();
    service["spec"]["ports"][0]["port"] = json!(443);
    let found = certificates(&cluster([service]), None, false, false);
    assert_eq!(
        data(&found, names::CERTIFICATES_MAP),
        json!({
            "image-registry.openshift-image-registry.svc": "SERVICE\n",
            "image-registry.openshift-image-registry.svc.cluster.local": "SERVICE\n",
        })
    );
}

// workload 72
#[test]
fn cas_of_the_user_are_published_for_nodes_and_not_for_other_operators() {
    let user = user_map(
        &json!({"foo.example.com": PEM, "bar.example.com..5000": PEM}),
        &json!({"bin": "QQ=="}),
    );
    let found = certificates(&cluster([image(), user]), None, false, false);
    let [nodes, others] = both(&found);
    assert_eq!(
        (&nodes["foo.example.com"], &nodes["bar.example.com..5000"]),
        (&json!(PEM), &json!(PEM))
    );
    assert_eq!(others, json!({OWN: "SERVICE\n", OWN_LONG: "SERVICE\n"}));
    let body = &found
        .plan
        .desired(Kind::ConfigMap, names::CERTIFICATES_MAP)
        .unwrap()
        .body;
    assert_eq!(body["binaryData"], json!({"bin": "QQ=="}));
    assert_eq!(
        body["metadata"]["annotations"]["openshift.io/owning-component"],
        "Image Registry"
    );
    assert_eq!(found.error, None);
}

// workload 73
#[test]
fn a_missing_user_config_map_is_reported_and_its_published_cas_stay() {
    let live = map(
        "image-registry-certificates",
        &json!({
            "foo.example.com": PEM, "image-registry.openshift-image-registry.svc..443": "old", names::STORAGE_CA_KEY: "old",
            OWN: format!("SERVICE\n{PEM}"), OWN_LONG: "SERVICE\n",
        }),
    );
    let found = certificates(&cluster([image(), live]), None, false, false);
    assert!(
        found
            .error
            .as_deref()
            .is_some_and(|error| error.contains("openshift-config/user-cas")),
        "{:?}",
        found.error
    );
    let expected = json!({OWN: format!("SERVICE\n{PEM}"), OWN_LONG: "SERVICE\n", "foo.example.com": PEM});
    assert_eq!(data(&found, names::CERTIFICATES_MAP), expected);
    assert_eq!(found.plan.present.len(), 3);
    // The ConfigMap that tells the operator's CAs from the user's never runs ahead.
    let managed = |found: &Certificates| {
        let desired = found.plan.desired(Kind::ConfigMap, names::CA_MAP).unwrap();
        desired.depends_on.clone()
    };
    let published = ObjectRef::new(Kind::ConfigMap, names::NAMESPACE, names::CERTIFICATES_MAP);
    assert_eq!(managed(&found), [published]);
    let complete = certificates(&cluster([]), None, false, false);
    assert_eq!((complete.error.as_ref(), managed(&complete).len()), (None, 0));
}

fn pem(content: &str) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(content)
    )
}

// workload 73: what the operator published itself under its host names is not the user's
#[test]
fn under_own_host_names_the_cas_of_the_user_stay_and_no_earlier_ca_of_the_operator_does() {
    let (service, storage, user) = (pem("service"), pem("storage"), format!("# ours\n{}", pem("user")));
    let with_service = |pem: &str| map("serviceca", &json!({"service-ca.crt": pem}));
    // With and without a newline at the end, as editors leave it.
    for user in [user.as_str(), user.trim_end()] {
        for (ca, no_redirect) in [(None, false), (Some(storage.as_str()), false), (Some(&storage), true)] {
            let of_user = user_map(&json!({OWN: user}), &Value::Null);
            let mut cluster = cluster([with_service(&service), image(), of_user.clone()]);
            let published = certificates(&cluster, ca, no_redirect, false);
            for desired in &published.plan.present[1..] {
                cluster.objects.insert(desired.reference.clone(), desired.body.clone());
            }
            let reference = crate::api::ObjectRef::new(Kind::ConfigMap, "openshift-config", "user-cas");
            cluster.objects.remove(&reference);
            let kept = certificates(&cluster, ca, no_redirect, false);
            assert!(kept.error.is_some());
            assert_eq!(both(&kept), both(&published), "no pod is replaced");
            // All CAs of the operator change, or go.
            for (next_service, next) in [("renewed", Some(pem("other"))), ("service", None)] {
                let next_service = pem(next_service);
                let serviceca = with_service(&next_service);
                let reference = crate::api::ObjectRef::new(Kind::ConfigMap, names::NAMESPACE, names::SERVICE_CA_MAP);
                cluster.objects.insert(reference, serviceca);
                let kept = certificates(&cluster, next.as_deref(), false, false);
                let storage = next.map(|ca| format!("\n{ca}")).unwrap_or_default();
                let found = data(&kept, names::CERTIFICATES_MAP);
                let of = |key: &str| certificates_of(found[key].as_str().unwrap());
                assert_eq!(
                    of(OWN),
                    certificates_of(&format!("{next_service}{}{storage}", pem("user")))
                );
                assert_eq!(of(OWN_LONG), certificates_of(&format!("{next_service}{storage}")));
            }
        }
    }
}

// workload 74, workload 77
// storage-core 50
#[test]
fn host_names_contain_the_storage_ca_unless_redirects_are_disabled() {
    let found = certificates(&cluster([]), Some("STORAGE\n"), false, false);
    let [nodes, others] = both(&found);
    let own = "SERVICE\n\nSTORAGE\n";
    assert_eq!(
        nodes,
        json!({OWN: own, OWN_LONG: own, "storage-ca-bundle.pem": "STORAGE\n"})
    );
    assert_eq!(others, json!({OWN: own, OWN_LONG: own}));
    let [nodes, others] = both(&certificates(&cluster([]), Some("STORAGE\n"), true, false));
    assert_eq!(
        nodes,
        json!({OWN: "SERVICE\n", OWN_LONG: "SERVICE\n", "storage-ca-bundle.pem": "STORAGE\n"})
    );
    assert_eq!(others, json!({OWN: "SERVICE\n", OWN_LONG: "SERVICE\n"}));
}

// workload 75
// storage-core 49
#[test]
fn the_config_maps_exist_without_registry_or_storage() {
    let user = user_map(&json!({"foo.example.com": PEM}), &Value::Null);
    let removed = certificates(&snapshot([service_ca(), image(), user]), Some("STORAGE"), false, true);
    assert_eq!(both(&removed), [json!({"foo.example.com": PEM}), Value::Null]);
    // Storage without a CA.
    let found = certificates(&cluster([]), None, false, false);
    assert!(
        found.error.is_none()
            && data(&found, names::CERTIFICATES_MAP)
                .get(names::STORAGE_CA_KEY)
                .is_none()
    );
}

// workload 78
#[test]
fn an_edited_config_map_is_restored() {
    for name in [names::CERTIFICATES_MAP, names::CA_MAP] {
        let found = certificates(&cluster([]), None, false, false);
        let desired = found.plan.desired(Kind::ConfigMap, name).unwrap();
        let live = drift::merged(desired, &Value::Null, Some("sha256:x"));
        assert!(!drift::differs(desired, &live, None));
        for (member, key) in [("data", OWN), ("data", "added"), ("binaryData", "added")] {
            let mut edited = live.clone();
            edited[member][key] = json!("ZQ==");
            assert!(drift::differs(desired, &edited, None), "{name} {member} {key}");
            assert_eq!(drift::merged(desired, &edited, Some("sha256:x")), live);
        }
    }
}

// workload 79
#[test]
fn an_own_host_name_contains_the_service_ca_and_the_ca_of_the_user() {
    let user = user_map(&json!({OWN: PEM}), &json!({OWN_LONG: "VVNFUg=="}));
    let found = certificates(&cluster([image(), user]), Some("STORAGE"), false, false);
    let [nodes, others] = both(&found);
    assert_eq!(nodes[OWN], format!("SERVICE\n{PEM}\nSTORAGE"));
    assert_eq!(nodes[OWN_LONG], "SERVICE\nUSER\nSTORAGE");
    assert_eq!(others[OWN], "SERVICE\n\nSTORAGE");
    assert!(
        found
            .plan
            .desired(Kind::ConfigMap, names::CERTIFICATES_MAP)
            .unwrap()
            .body
            .get("binaryData")
            .is_none()
    );
    // Not UTF-8: the API server would reject a key in both `data` and `binaryData`, so the user's value is dropped.
    let user = user_map(&Value::Null, &json!({OWN: "gIA=", names::STORAGE_CA_KEY: "gIA="}));
    let found = certificates(&cluster([image(), user]), Some("STORAGE"), true, false);
    assert_eq!(both(&found)[0][OWN], "SERVICE\n");
    assert!(
        found
            .plan
            .desired(Kind::ConfigMap, names::CERTIFICATES_MAP)
            .unwrap()
            .body
            .get("binaryData")
            .is_none()
    );
    assert_eq!(found.events.len(), 2);
    assert!(
        found
            .events
            .iter()
            .all(|event| event.warning && event.message.contains("is ignored"))
    );
}

#[test]
fn a_value_without_certificates_is_published_with_a_warning() {
    let user = user_map(&json!({"good": PEM, "bad": "hello"}), &json!({"raw": "gIA="}));
    let found = certificates(&cluster([image(), user]), None, false, false);
    assert_eq!(data(&found, names::CERTIFICATES_MAP)["bad"], "hello");
    let messages: Vec<&str> = found.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].contains("Key bad ") && messages[0].ends_with(" raw"),
        "{messages:?}"
    );
}

// One event per key would push all other events out of the queue and out of the memory that tells repeated ones.
#[test]
fn many_keys_with_one_fault_are_one_event() {
    let keys: serde_json::Map<String, Value> = (0..300)
        .map(|number| (format!("h{number:03}"), json!("hello")))
        .collect();
    let user = user_map(&Value::Object(keys), &Value::Null);
    let found = certificates(&cluster([image(), user]), None, false, false);
    let messages: Vec<&str> = found.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].starts_with("Key h000 "), "{messages:?}");
    assert!(messages[0].ends_with(" h001, h002, h003, h004, h005, h006, h007, h008, h009 and 290 more"));
}

// workload 102
#[test]
fn data_of_the_service_ca_is_never_written() {
    let found = certificates(&cluster([]), None, false, false);
    let desired = found.plan.desired(Kind::ConfigMap, names::SERVICE_CA_MAP).unwrap();
    let mut live = service_ca();
    assert!(drift::differs(desired, &live, None), "the annotation is missing");
    live = drift::merged(desired, &live, Some("sha256:x"));
    assert_eq!(live["data"], json!({"service-ca.crt": "SERVICE\n"}));
    assert_eq!(
        live["metadata"]["annotations"],
        json!({"service.beta.openshift.io/inject-cabundle": "true"})
    );
    live["data"]["service-ca.crt"] = json!("NEW");
    live["metadata"]["annotations"]["foreign"] = json!("kept");
    assert!(!drift::differs(desired, &live, None));
}

// issue 10, bug 2
#[test]
fn no_key_of_the_user_stands_for_the_ca_of_the_storage() {
    let storage = "-----BEGIN CERTIFICATE-----\nQkJC\n-----END CERTIFICATE-----\n";
    let key = names::STORAGE_CA_KEY;
    for (text, binary) in [
        (json!({key: storage}), Value::Null), // the same bundle in both places
        (json!({key: PEM}), Value::Null),
        (json!({key: ""}), Value::Null),
        (Value::Null, json!({key: "Q0E="})),
        (Value::Null, json!({key: "gIA="})),
        (json!({"foo.example.com": PEM}), json!({key: "Q0E="})),
    ] {
        for wanted in [Some(storage), None] {
            let mut cluster = cluster([image(), user_map(&text, &binary)]);
            let found = certificates(&cluster, wanted, false, false);
            assert_eq!(
                data(&found, names::CERTIFICATES_MAP).get(key),
                wanted.map(|pem| json!(pem)).as_ref(),
                "{text}"
            );
            let warned = |event: &EventRequest| event.warning && event.message.contains(key);
            assert!(found.events.iter().any(warned), "{text} {binary}: {:?}", found.events);
            let desired = found.plan.desired(Kind::ConfigMap, names::CERTIFICATES_MAP).unwrap();
            assert!(desired.body.pointer("/binaryData").is_none());
            let live = drift::merged(desired, &Value::Null, None);
            cluster.objects.insert(desired.reference.clone(), live);
            assert_eq!(published_storage_ca(&cluster).as_deref(), wanted, "{text} {binary}");
        }
    }
}

// issue 10, row 18
#[test]
fn a_private_key_is_not_published_and_file_names_are_told() {
    let secret = "-----BEGIN EC PRIVATE KEY-----\nU0VDUkVU\n-----END EC PRIVATE KEY-----\n";
    let mixed = format!("{PEM}{secret}");
    let encoded = |text: &str| STANDARD.encode(text);
    let key_store = STANDARD.encode([0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]);
    let user = user_map(
        &json!({"mixed.example.com": mixed, "tls.key": secret, "ca.crt": PEM, "good.example.com..5000": PEM, OWN: mixed}),
        &json!({"binary.example.com": encoded(&mixed), "only.example.com": encoded(secret), "store.example.com": key_store}),
    );
    let found = certificates(&cluster([image(), user.clone()]), None, false, false);
    let nodes = data(&found, names::CERTIFICATES_MAP);
    let body = &found
        .plan
        .desired(Kind::ConfigMap, names::CERTIFICATES_MAP)
        .unwrap()
        .body;
    assert_eq!(
        nodes,
        json!({"mixed.example.com": PEM, "ca.crt": PEM, "good.example.com..5000": PEM, OWN: format!("SERVICE\n{PEM}"),
               OWN_LONG: "SERVICE\n"})
    );
    assert_eq!(body["binaryData"], json!({"binary.example.com": encoded(PEM)}));
    let told = |reason: &str, key: &str| {
        let messages = found
            .events
            .iter()
            .filter(|event| event.warning && event.reason == reason);
        let names = |message: &str| message.split([' ', ',']).any(|word| word == key);
        messages.filter(|event| names(&event.message)).count()
    };
    for key in [
        "mixed.example.com",
        "tls.key",
        OWN,
        "binary.example.com",
        "only.example.com",
        "store.example.com",
    ] {
        assert_eq!(told("PrivateKeyIgnored", key), 1, "{key}: {:?}", found.events);
    }
    for (key, count) in [
        ("ca.crt", 1),
        ("tls.key", 1),
        ("mixed.example.com", 0),
        ("good.example.com..5000", 0),
    ] {
        assert_eq!(told("InvalidCertificate", key), count, "{key}: {:?}", found.events);
    }
    assert!(found.events.iter().all(|event| !event.message.contains("U0VDUkVU")));

    // What an earlier release published goes too, while the ConfigMap of the user is missing.
    let live = map("image-registry-certificates", &user["data"]);
    let kept = certificates(&cluster([image(), live]), None, false, false);
    assert!(kept.error.is_some());
    assert_eq!(data(&kept, names::CERTIFICATES_MAP)["mixed.example.com"], PEM);
    assert!(!kept.plan.present[1].body.to_string().contains("U0VDUkVU"));
}
