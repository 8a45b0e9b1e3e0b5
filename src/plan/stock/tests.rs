use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Account, Missing, login_secret, missing, users_secret};
use crate::api::{Kind, Sensitive};
use crate::config::resolve::{Login, Reason, resolve};
use crate::names::Program;
use crate::plan::exposure::refused;
use crate::plan::fixture::{Cluster, USERS, live_service, operand, secret};
use crate::plan::removal::removal;
use crate::plan::source::Source;
use crate::plan::storage_differs;

const COPY: &str = "image-registry-htpasswd-valid";

/// A cluster with the stock registry, and with users.
fn stock(annotation: Option<&str>, spec: &Value, objects: impl IntoIterator<Item = Value>) -> Cluster {
    let mut cluster = Cluster::new(spec, [users_secret(USERS)]);
    cluster.snapshot.environment.program = Program::Distribution;
    for object in objects {
        cluster.put(&object);
    }
    cluster.allow_anonymous(annotation);
    cluster.resolved = resolve(&cluster.snapshot.config().unwrap().unwrap(), &cluster.snapshot).unwrap();
    cluster
}

fn users(text: &str) -> Value {
    secret(
        "image-registry-htpasswd",
        "Opaque",
        &json!({"htpasswd": STANDARD.encode(text)}),
    )
}

fn text(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

fn owned_route(name: &str) -> Value {
    operand(
        "route.openshift.io/v1",
        "Route",
        name,
        &json!({"metadata": {"annotations": {"imageregistry.openshift.io": "true"}}, "spec": {"host": "hub.apps.example"}}),
    )
}

fn pod(labels: &Value) -> Value {
    let pod = json!({"metadata": {"labels": labels}, "status": {"phase": "Running"}});
    operand("v1", "Pod", "image-registry-x", &pod)
}

fn asks(cluster: &Cluster) -> bool {
    let open = cluster.deployment().body["spec"]["template"]["metadata"]["labels"]
        .get("imageregistry.operator.openshift.io/anonymous")
        .is_some();
    let asks = cluster.env("REGISTRY_AUTH").is_some();
    assert_ne!(asks, open, "the label tells which pods ask nobody");
    let mounts = cluster.pod()["containers"][0]["volumeMounts"].to_string();
    assert_eq!(mounts.contains("registry-users"), asks);
    asks
}

// kubernetes 16, in part: what is made, and that it is made once
#[test]
fn only_what_is_missing_is_made_and_what_others_made_is_never_completed() {
    let account = Account {
        user: "registry".to_owned(),
        password: Sensitive::new("pass-word"),
    };
    let (own_users, own_login) = (users_secret(USERS), login_secret(&account));
    let foreign_login = secret(
        "image-registry-login",
        "kubernetes.io/dockerconfigjson",
        &own_login["data"],
    );
    let faulty = users_secret("sam:plain\n");
    for (objects, expected) in [
        (vec![], Missing::Everything),
        (vec![own_login.clone()], Missing::Users(account)),
        (vec![foreign_login.clone()], Missing::Foreign),
        (vec![own_users.clone(), own_login.clone()], Missing::Nothing),
        (vec![own_users.clone(), foreign_login], Missing::Nothing),
        (vec![users(USERS)], Missing::Nothing),
        (vec![users(USERS), own_login], Missing::Nothing),
        (vec![faulty], Missing::Nothing),
        (
            vec![own_users],
            Missing::Login {
                users: Sensitive::new(USERS),
                user: "registry".to_owned(),
            },
        ),
    ] {
        let cluster = Cluster::new(&json!({}), objects.clone());
        let found = missing(&cluster.resolved, &cluster.snapshot.objects);
        assert_eq!(found, expected, "{objects:?}");
    }
}

// kubernetes 17 and 18, in part: what the pods mount, without a rollout
#[test]
fn pods_mount_a_copy_that_follows_valid_users_and_nothing_else() {
    let cluster = stock(None, &json!({}), []);
    let before = cluster.deployment();
    let copy = cluster.plan().desired(Kind::Secret, COPY).cloned().unwrap();
    assert_eq!(text(&copy.body, "htpasswd"), USERS);
    let pod = cluster.pod();
    let volumes = pod["volumes"].as_array().unwrap();
    let volume = volumes
        .iter()
        .find(|volume| volume["name"] == "registry-users")
        .unwrap();
    assert_eq!(
        volume["secret"],
        json!({"secretName": COPY, "items": [{"key": "htpasswd", "path": "htpasswd"}]}),
        "not optional: a pod without users does not start"
    );
    // A second user is no change of the pods.
    let two = format!("{USERS}frodo{}", USERS.trim_start_matches("sam"));
    let more = stock(None, &json!({}), [copy.body.clone(), users(&two)]);
    assert_eq!(
        text(&more.plan().desired(Kind::Secret, COPY).unwrap().body, "htpasswd"),
        two
    );
    assert_eq!(more.deployment().body, before.body);
    // What is refused changes nothing, and the message names the line.
    for (content, told) in [
        (
            users(&format!("{USERS}bilbo:$apr1$7QyS2WpW$MX2nVVd9Cc3jGqOoZsJDr/\n")),
            "line 2 ",
        ),
        (users(&format!("{USERS}bilbo\n")), "line 2 "),
        (users(""), "no key htpasswd"),
        (
            secret("image-registry-htpasswd", "Opaque", &json!({"htpasswd": "gIA="})),
            "not text",
        ),
    ] {
        let refused = stock(None, &json!({}), [copy.body.clone(), content.clone()]);
        let plan = refused.plan();
        assert!(plan.desired(Kind::Secret, COPY).is_none(), "{told}");
        assert_eq!(refused.deployment().body, before.body, "{told}");
        let [failure] = plan.failures.as_slice() else {
            panic!("{:?}", plan.failures)
        };
        assert!(failure.message.contains(told), "{}", failure.message);
        assert!(!failure.message.contains("apr1") && !failure.message.contains("bilbo"));
        // Without a copy there are no pods: they would wait, and the running ones must not go for them.
        let first = stock(None, &json!({}), [content]);
        assert!(
            first.plan().desired(Kind::Deployment, "image-registry").is_none(),
            "{told}"
        );
    }
}

#[test]
fn without_users_no_pod_is_made_unless_nobody_is_to_log_in() {
    let mut cluster = stock(None, &json!({}), []);
    let secret = "image-registry-htpasswd";
    cluster.remove(Kind::Secret, "openshift-image-registry", secret);
    assert!(cluster.plan().desired(Kind::Deployment, "image-registry").is_none());
    let mut cluster = stock(Some("true"), &json!({}), []);
    cluster.remove(Kind::Secret, "openshift-image-registry", secret);
    assert!(!asks(&cluster));
}

// kubernetes 16, in part: the hosts
#[test]
fn the_login_is_for_every_host_of_the_registry() {
    let account = Account {
        user: "registry".to_owned(),
        password: Sensitive::new("pass-word"),
    };
    let spec = json!({"defaultRoute": true, "routes": [{"name": "blue", "hostname": "blue.example"}]});
    let mut service = live_service();
    service["spec"]["clusterIPs"] = json!(["10.9.9.9", "fd00::9"]);
    let objects = [login_secret(&account), service, owned_route("default-route")];
    let cluster = stock(None, &spec, objects);
    let login = cluster
        .plan()
        .desired(Kind::Secret, "image-registry-login")
        .cloned()
        .unwrap();
    assert_eq!(login.body["type"], "kubernetes.io/dockerconfigjson");
    let document: Value = serde_json::from_str(&text(&login.body, ".dockerconfigjson")).unwrap();
    let auths = document["auths"].as_object().unwrap();
    let mut hosts: Vec<_> = auths.keys().map(String::as_str).collect();
    hosts.sort_unstable();
    assert_eq!(
        hosts,
        [
            "10.9.9.9:5000",
            "[fd00::9]:5000",
            "blue.example",
            "hub.apps.example",
            "image-registry.openshift-image-registry.svc.cluster.local:5000",
            "image-registry.openshift-image-registry.svc:5000",
        ]
    );
    let auth = STANDARD.encode("registry:pass-word");
    let entry = json!({"username": "registry", "password": "pass-word", "auth": auth});
    assert!(auths.values().all(|found| *found == entry));
    // One that somebody else made is left alone.
    let foreign = secret(
        "image-registry-login",
        "kubernetes.io/dockerconfigjson",
        &login.body["data"],
    );
    let cluster = stock(None, &spec, [foreign]);
    assert!(cluster.plan().desired(Kind::Secret, "image-registry-login").is_none());
}

// The password of another registry must not become that of ours, and must not be sent to it.
#[test]
fn a_host_that_somebody_added_to_the_login_is_never_the_source_of_the_password() {
    let account = Account {
        user: "registry".to_owned(),
        password: Sensitive::new("pass:word"),
    };
    let (host, route) = ("image-registry.openshift-image-registry.svc:5000", "blue.example");
    let theirs = json!({"username": "AWS", "password": "foreign", "auth": STANDARD.encode("AWS:foreign")});
    let auth = STANDARD.encode("registry:pass:word");
    let ours = json!({"username": "registry", "password": "pass:word", "auth": auth});
    let spec = json!({"routes": [{"name": "blue", "hostname": route}]});
    let added = "0123456789.dkr.ecr.example";
    let login = |text: &str| {
        let mut login = login_secret(&account);
        login["data"][".dockerconfigjson"] = json!(STANDARD.encode(text));
        login
    };
    for auths in [
        json!({added: theirs, host: ours}),
        json!({added: theirs, host: {"auth": auth}}),
        json!({added: theirs, route: ours}),
        json!({added: theirs, host: {"auth": "!"}, route: {"username": "", "password": "", "auth": auth}}),
    ] {
        let login = login(&json!({"auths": auths}).to_string());
        let mut cluster = stock(None, &spec, [login, live_service()]);
        let plan = cluster.plan();
        assert!(plan.failures.is_empty(), "{:?}", plan.failures);
        let planned = plan.desired(Kind::Secret, "image-registry-login").unwrap();
        let document: Value = serde_json::from_str(&text(&planned.body, ".dockerconfigjson")).unwrap();
        let entries = document["auths"].as_object().unwrap();
        assert!(entries.contains_key(host) && entries.contains_key(route) && !entries.contains_key(added));
        assert!(entries.values().all(|entry| *entry == ours), "{auths}");
        cluster.remove(Kind::Secret, "openshift-image-registry", "image-registry-htpasswd");
        let found = missing(&cluster.resolved, &cluster.snapshot.objects);
        assert_eq!(found, Missing::Users(account.clone()), "{auths}");
    }
    for content in [
        json!({"auths": {added: theirs}}).to_string(),
        json!({"auths": {added: theirs, host: {"auth": STANDARD.encode("registry")}}}).to_string(),
        json!({"auths": {}}).to_string(),
        "{".to_owned(),
    ] {
        let mut cluster = stock(None, &spec, [login(&content), live_service()]);
        let plan = cluster.plan();
        assert!(
            plan.desired(Kind::Secret, "image-registry-login").is_none(),
            "{content}"
        );
        let [failure] = plan.failures.as_slice() else {
            panic!("{:?}", plan.failures)
        };
        let told = "delete Secret image-registry-login to get a new login";
        assert!(failure.message.contains(told), "{}", failure.message);
        assert!(!failure.message.contains("foreign") && !failure.message.contains("AWS"));
        // Nothing is made from it; after the deletion all that is missing is.
        cluster.remove(Kind::Secret, "openshift-image-registry", "image-registry-htpasswd");
        let missing = |cluster: &Cluster| missing(&cluster.resolved, &cluster.snapshot.objects);
        assert_eq!(missing(&cluster), Missing::Nothing, "{content}");
        cluster.remove(Kind::Secret, "openshift-image-registry", "image-registry-login");
        assert_eq!(missing(&cluster), Missing::Everything, "{content}");
    }
}

// kubernetes 19: never open unless the annotation asks for it
#[test]
fn only_the_two_documented_values_of_the_annotation_let_everybody_in() {
    for value in ["", "True", "TRUE", "yes", "1", "false", " true", "Exposed"] {
        assert!(asks(&stock(Some(value), &json!({}), [])), "{value:?}");
    }
    assert!(asks(&stock(None, &json!({}), [])));
    assert!(!asks(&stock(Some("true"), &json!({}), [])));
    assert!(!asks(&stock(Some("exposed"), &json!({}), [])));
    // The platform's registry knows its users by itself.
    let mut platform = stock(Some("exposed"), &json!({}), []);
    platform.snapshot.environment.program = Program::Platform;
    platform.resolved = resolve(&platform.snapshot.config().unwrap().unwrap(), &platform.snapshot).unwrap();
    assert_eq!(platform.resolved.login, Login::Required);
    assert_eq!(platform.env("REGISTRY_AUTH"), None);
    assert!(platform.plan().desired(Kind::Secret, COPY).is_none());
}

// kubernetes 19
#[test]
fn a_registry_without_logins_is_exposed_only_where_that_is_asked_for_by_name() {
    let spec = json!({"defaultRoute": true});
    let cluster = stock(Some("true"), &spec, [owned_route("default-route")]);
    let plan = cluster.plan();
    assert!(plan.desired(Kind::Route, "default-route").is_none());
    assert_eq!(plan.absent.len(), 1);
    assert_eq!(refused(&cluster.resolved).unwrap().reason, Reason::ExposureRefused);
    // The Route goes first: as long as it leads to the pods, they ask.
    assert!(asks(&cluster));
    let without = stock(Some("true"), &spec, []);
    assert!(!asks(&without));
    assert!(without.plan().desired(Kind::Route, "default-route").is_none());

    let exposed = stock(Some("exposed"), &spec, []);
    let plan = exposed.plan();
    assert!(!asks(&exposed) && plan.desired(Kind::Route, "default-route").is_some());
    let events: Vec<_> = plan.events.iter().map(|event| (event.warning, event.reason)).collect();
    assert_eq!(events, [(true, "ExposedWithoutLogin")]);
    assert!(refused(&exposed.resolved).is_none());
    assert!(stock(Some("exposed"), &json!({}), []).plan().events.is_empty());

    let closed = stock(None, &spec, []);
    assert!(closed.plan().events.is_empty() && refused(&closed.resolved).is_none());
    assert!(closed.plan().desired(Kind::Route, "default-route").is_some());
}

// kubernetes 19: the way back
#[test]
fn a_route_waits_for_the_last_pod_that_lets_everybody_in() {
    let spec = json!({"defaultRoute": true});
    let open = json!({"docker-registry": "default", "imageregistry.operator.openshift.io/anonymous": "true"});
    let waiting = |objects: Vec<Value>| {
        let plan = stock(None, &spec, objects).plan();
        let planned = plan.desired(Kind::Route, "default-route").is_some();
        assert_eq!(planned, plan.failures.is_empty(), "{:?}", plan.failures);
        !planned
    };
    let live = stock(Some("true"), &json!({}), []).deployment().body;
    assert!(waiting(vec![pod(&open)]));
    assert!(waiting(vec![live]), "its pods may be about to start");
    assert!(!waiting(vec![pod(&json!({"docker-registry": "default"}))]));
    assert!(!waiting(vec![stock(None, &json!({}), []).deployment().body]));
    // One that exists stays: it was asked for before.
    assert!(!waiting(vec![pod(&open), owned_route("default-route")]));
}

// kubernetes 5, in part: another program is a change of the storage, and gets no storage of the other
#[test]
fn a_switch_of_the_program_waits_for_its_preflight() {
    let platform = {
        let mut cluster = stock(None, &json!({}), []);
        cluster.snapshot.environment.program = Program::Platform;
        cluster.deployment().body
    };
    let own = stock(None, &json!({}), []).deployment().body;
    for (live, program, other) in [
        (&platform, Program::Distribution, true),
        (&platform, Program::Platform, false),
        (&own, Program::Distribution, false),
        (&own, Program::Platform, true),
    ] {
        let mut cluster = stock(None, &json!({}), [live.clone()]);
        cluster.snapshot.environment.program = program;
        for desired in cluster.plan().present {
            if desired.reference.kind == Kind::Secret {
                cluster.put(&desired.body);
            }
        }
        let differs = storage_differs(&cluster.resolved, &cluster.facts, &cluster.snapshot);
        assert_eq!(differs, other, "{program:?}");
        let held = cluster.held(Source::Live);
        let planned = held.desired(Kind::Deployment, "image-registry");
        assert_eq!(planned.is_none(), other, "{program:?}: {:?}", held.failures);
        if let Some(planned) = planned {
            assert_eq!(planned.body["spec"]["template"], live["spec"]["template"]);
        }
    }
}

// kubernetes 20, in part
#[test]
fn a_removal_takes_what_the_operator_made_and_leaves_what_others_made() {
    let account = Account {
        user: "registry".to_owned(),
        password: Sensitive::new("pass-word"),
    };
    let mut cluster = stock(None, &json!({}), [login_secret(&account), live_service()]);
    for desired in cluster.plan().present {
        if desired.reference.kind != Kind::Deployment {
            cluster.put(&desired.body);
        }
    }
    let deleted = |cluster: &Cluster| -> Vec<String> {
        let removal = removal(&cluster.snapshot, Some(cluster.snapshot.now));
        let own = removal.delete.iter().map(|reference| reference.name.clone());
        own.filter(|name| name.contains("htpasswd") || name.contains("login") || name.ends_with("-config"))
            .collect()
    };
    assert_eq!(
        deleted(&cluster),
        [
            "image-registry-config",
            COPY,
            "image-registry-login",
            "image-registry-htpasswd"
        ]
    );
    cluster.put(&users(USERS));
    assert_eq!(
        deleted(&cluster),
        ["image-registry-config", COPY, "image-registry-login"]
    );
}
