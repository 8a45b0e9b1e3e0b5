//! Credentials, tokens, universes, and the way to the cloud.

use std::cell::Cell;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use devcluster::stores::{Asked, Fault, ForwardProxy, Hosts, ProxyOptions, Reply, TokenIssuer, gcs_error};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use image_registry_operator::status::judge::Preflight;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::cluster::{GcsCluster, MINTED_KEY, answer, call, cluster, project};
use super::conformance::RESYNC;
use super::stores::{self, allow, cloud, key_file, permissions, store};

const OPERATOR: &str = "system:serviceaccount:openshift-image-registry:cluster-image-registry-operator";
const REGISTRY: &str = "system:serviceaccount:openshift-image-registry:registry";
/// Where the pods find their token.
const TOKEN_FILE: &str = "/var/run/secrets/openshift/serviceaccount/token";

/// Requests for tokens.
fn tokens(world: &GcsCluster) -> Vec<Asked> {
    let asked = world.gate.asked().into_iter();
    asked.filter(|asked| super::cluster::is_token(&call(asked))).collect()
}

fn names_of(asked: &[Asked]) -> Vec<String> {
    asked.iter().map(call).collect()
}

// storage-gcs 1, 2: the same for the registry
#[tokio::test]
async fn the_administrators_credentials_replace_the_platforms_for_operator_and_registry() {
    let mut world = cluster("blue-cred1", json!({"gcs": {}})).await;
    world.converge().await;
    let minted = key_file().await.to_string();
    let file = |world: &GcsCluster| {
        let files = &world.running.as_ref().unwrap().files;
        files["REGISTRY_STORAGE_GCS_KEYFILE"].expose().to_owned()
    };
    assert_eq!(file(&world), minted);
    // Members that nobody knows and white space are kept.
    let mut own = key_file().await;
    own["private_key"] = json!(cloud().await.key.pkcs1());
    own["new_member"] = json!({"a": [1, null]});
    let own = format!(" {own:#}\n");
    world.set_user_text(&own);
    world.gate.forget();
    world.converge().await;
    assert_eq!(file(&world), own);
    assert!(!tokens(&world).is_empty(), "a changed secret needs a token of its own");
}

// storage-gcs 3, 4, 5, 49
#[tokio::test]
async fn credentials_that_cannot_be_used_are_told_and_nothing_is_asked() {
    let cases: [(&str, Option<&str>, &[&str]); 5] = [
        (
            "missing",
            None,
            &["openshift-image-registry/installer-cloud-credentials"],
        ),
        ("empty", Some(""), &[names::USER_SECRET, super::cluster::USER_KEY]),
        ("typeless", Some("{\"client_email\": \"a@p\"}"), &["no member type"]),
        (
            "program",
            Some(
                "{\"type\": \"external_account\", \"credential_source\": {\"executable\": {\"command\": \"/bin/sh\"}}}",
            ),
            &["credential_source.file"],
        ),
        ("broken", Some("{\"private_key\": hunter2"), &["not JSON"]),
    ];
    for (name, text, parts) in cases {
        let mut world = cluster(&format!("blue-nocr-{name}"), json!({"gcs": {}})).await;
        match text {
            // The platform's credentials are complete, and not used.
            Some(text) => world.set_user_text(text),
            None => world.remove_object(Kind::Secret, names::MINTED_SECRET),
        }
        let error = world.pass().await.error.unwrap();
        for part in parts {
            assert!(error.message.contains(part), "{part}: {error}");
        }
        assert!(!error.message.contains("hunter2"));
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        assert_eq!(world.gate.asked().len(), 0, "{name}");
    }
}

// storage-gcs section 3: one token for many calls, renewed before it ends
#[tokio::test]
async fn a_token_serves_many_calls_and_a_refused_one_is_replaced() {
    let mut world = cluster("blue-tokn1", json!({"gcs": {}})).await;
    world.converge().await;
    // One of the operator and one of the registry, which has another scope.
    let asked = tokens(&world);
    assert_eq!(names_of(&asked), ["token", "token"]);
    assert!(asked.iter().all(|asked| asked.host == "oauth2.googleapis.com"));
    // The service forgets the token before its time.
    world.gate.forget();
    let mut refused = false;
    world.gate.rule(move |asked| {
        let first = call(asked) == "buckets.get" && !std::mem::replace(&mut refused, true);
        if first {
            super::cluster::error(401, "authError")
        } else {
            Fault::Pass
        }
    });
    world.edit(json!({"replicas": 3}));
    let outcome = world.settle().await;
    assert!(outcome.error.is_none());
    assert_eq!(world.calls(), ["buckets.get", "buckets.get"]);
    assert_eq!(names_of(&tokens(&world)), ["token"]);
}

/// Tokens live a second, of a clock that goes fast ([`GcsCluster::hurry`]): each call needs one of its own.
fn short_lived() -> Fault {
    Fault::change(|_, response| {
        let mut body: Value = serde_json::from_slice(response.body()).unwrap();
        body["expires_in"] = json!(1);
        let text = body.to_string();
        response.headers_mut().remove("content-length");
        *response.body_mut() = text.into();
    })
}

// storage-gcs section 9: within two minutes, however often it would be tried
#[tokio::test]
async fn a_token_service_that_is_silent_is_not_waited_for_again_and_again() {
    let mut world = cluster("blue-tokn4", json!({"gcs": {}})).await;
    world.hurry();
    // An attempt takes 80 seconds of its clock.
    world.give_up_after(Duration::from_millis(400));
    world.gate.rule(|asked| {
        if call(asked) == "token" {
            Fault::Hang
        } else {
            Fault::Pass
        }
    });
    assert!(world.pass().await.error.is_some());
    assert_eq!(tokens(&world).len(), 1);
}

// storage-gcs section 3: the key signs for whoever answers
#[tokio::test]
async fn a_token_service_without_tls_is_not_asked() {
    let mut world = cluster("blue-http1", json!({"gcs": {}})).await;
    let mut file = key_file().await;
    file["token_uri"] = json!("http://oauth2.googleapis.com/token");
    world.mint(&file);
    let error = world.pass().await.error.unwrap();
    for part in ["without https", MINTED_KEY] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(world.gate.asked().len(), 0);
}

// storage-gcs section 3: what a token service answers
#[tokio::test]
async fn a_token_that_is_refused_is_told_without_a_secret() {
    for (n, fault, part) in [
        (
            1,
            answer(
                400,
                "{\"error\": \"invalid_grant\", \"error_description\": \"Invalid JWT Signature.\"}",
            ),
            "invalid_grant",
        ),
        (2, answer(401, "gone"), "401"),
        (
            3,
            answer(200, "{\"access_token\": \"ya29.x\", \"expires_in\": 0}"),
            "expired",
        ),
        (4, answer(200, "<html>"), "access_token"),
        (5, answer(503, "busy"), "503"),
        (6, Fault::Reset, "oauth2"),
    ] {
        let name = format!("blue-refu{n}");
        let mut world = cluster(&name, json!({"gcs": {}})).await;
        world.gate.rule(move |asked| {
            if call(asked) == "token" {
                fault.clone()
            } else {
                Fault::Pass
            }
        });
        let error = world.pass().await.error.unwrap();
        assert!(error.message.contains(part), "{part}: {error}");
        assert_eq!(world.condition("StorageExists"), "Unknown/Unknown Error Occurred");
        assert_eq!(world.calls(), Vec::<String>::new());
    }
    // A key that is none.
    let mut world = cluster("blue-refu9", json!({"gcs": {}})).await;
    let mut file = key_file().await;
    file["private_key"] = json!("hunter2-hunter2");
    world.mint(&file);
    let error = world.pass().await.error.unwrap();
    assert!(
        error.message.contains("private_key") && error.message.contains(MINTED_KEY),
        "{error}"
    );
    assert_eq!(world.gate.asked().len(), 0);
}

/// Federation of a cluster: the pool trusts this issuer.
struct Federated {
    issuer: TokenIssuer,
    root: TempDir,
    /// Seconds that the operator's next token lives, less one.
    lives: Cell<i64>,
    world: GcsCluster,
}

impl Federated {
    /// A cluster without keys. `impersonates`: the tokens become the service account.
    async fn start(name: &str, impersonates: bool, format: Value) -> Self {
        let project = project(name);
        let mut world = cluster(name, json!({"gcs": {}})).await;
        allow(&project, &[]).await;
        let gcs = store().await;
        let issuer = TokenIssuer::new().unwrap();
        let federation = gcs
            .federation(&project, "okd", issuer.key().unwrap(), "openshift")
            .unwrap();
        let email = cloud().await.key.email.clone();
        let granted = permissions();
        let granted: Vec<&str> = granted.iter().map(String::as_str).collect();
        for subject in [OPERATOR, REGISTRY] {
            let principal = federation.principal(subject);
            if impersonates {
                gcs.let_impersonate(&principal, &email);
            } else {
                gcs.allow(&principal, &project, &granted);
            }
        }
        if impersonates {
            gcs.allow(&email, &project, &granted);
        }
        let mut file = federation.public_file(Path::new(TOKEN_FILE), impersonates.then_some(email.as_str()));
        file["credential_source"]["format"] = format;
        world.mint(&file);
        let root = TempDir::new().unwrap();
        let of_registry = issuer.token(REGISTRY, "openshift", 600).unwrap();
        world.set_tokens(root.path(), &of_registry);
        Self {
            issuer,
            root,
            lives: Cell::new(600),
            world,
        }
    }

    /// The kubelet writes the operator's token, another each time.
    fn rotate(&self, wrap: impl FnOnce(String) -> String) {
        let place = self.root.path().join(TOKEN_FILE.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        let lives = self.lives.get() + 1;
        self.lives.set(lives);
        let token = self.issuer.token(OPERATOR, "openshift", lives).unwrap();
        fs::write(place, wrap(token)).unwrap();
    }
}

// storage-gcs section 3
#[tokio::test]
async fn a_token_of_short_life_is_renewed() {
    let mut federated = Federated::start("blue-tokn2", false, json!({"type": "text"})).await;
    federated.rotate(|token| token);
    let world = &mut federated.world;
    // A fast clock signs no key file: the service would find the signatures to be of the future.
    world.hurry();
    world.gate.rule(|asked| {
        if call(asked) == "sts" {
            short_lived()
        } else {
            Fault::Pass
        }
    });
    world.converge().await;
    assert!(tokens(world).len() > 4, "{}", tokens(world).len());
}

// storage-core 48
#[tokio::test]
async fn a_response_that_repeats_old_tokens_is_told_without_them() {
    let mut federated = Federated::start("blue-tokn3", false, json!({"type": "text"})).await;
    federated.rotate(|token| token);
    let world = &mut federated.world;
    world.converge().await;
    let mut used: Vec<String> = Vec::new();
    world.gate.rule(move |asked| {
        if call(asked) == "sts" {
            return short_lived();
        }
        let token = asked.header("authorization").unwrap_or_default();
        used.push(token.trim_start_matches("Bearer ").to_owned());
        if used.len() < 9 {
            return Fault::Pass;
        }
        let words: Vec<&str> = used.iter().map(String::as_str).collect();
        Fault::Answer(gcs_error(403, "forbidden", &words.join(" ")))
    });
    world.hurry();
    for replicas in 3..15 {
        world.edit(json!({"replicas": replicas}));
        if let Some(error) = world.settle().await.error {
            // Which has no token in it: each step is checked for that.
            assert!(error.message.contains("<redacted>"), "{error}");
            return;
        }
    }
    panic!("nothing was refused");
}

// storage-gcs 47: issue 12, a federation file in place of a key reaches the registry
#[tokio::test]
async fn a_federation_works_with_and_without_impersonation_and_reaches_the_registry() {
    for (name, impersonates) in [("blue-wif1", false), ("blue-wif2", true)] {
        let mut federated = Federated::start(name, impersonates, json!({"type": "text"})).await;
        federated.rotate(|token| format!("{token}\n"));
        let world = &mut federated.world;
        let outcome = world.converge().await;
        assert!(outcome.error.is_none());
        assert_eq!(world.buckets().await.len(), 1);
        let asked = tokens(world);
        let expected: &[&str] = if impersonates {
            &["sts", "impersonate"]
        } else {
            &["sts"]
        };
        let twice: Vec<String> = [expected, expected].concat().iter().map(ToString::to_string).collect();
        assert_eq!(names_of(&asked), twice, "one of the operator, and one of the registry");
        // The operator's token comes from its file, the registry's from its ServiceAccount.
        let of_registry = world.cluster.token.borrow().clone();
        let exchanges: Vec<bool> = asked
            .iter()
            .filter(|asked| call(asked) == "sts")
            .map(|asked| asked.text().contains(&of_registry))
            .collect();
        assert_eq!(exchanges, [false, true]);
        assert_eq!(*world.cluster.tokens.borrow(), ["openshift"]);
        let scopes: Vec<bool> = asked
            .iter()
            .filter(|asked| call(asked) == "sts")
            .map(|asked| asked.text().contains("auth%2Fcloud-platform"))
            .collect();
        assert_eq!(scopes, [true, impersonates]);
        let file = &world.running.as_ref().unwrap().files["REGISTRY_STORAGE_GCS_KEYFILE"];
        assert!(file.expose().contains("external_account"));
        assert_eq!(
            world.variable("REGISTRY_STORAGE_GCS_KEYFILE").as_deref(),
            Some("Text(\"/gcs/keyfile\")")
        );
    }
}

// storage-gcs 47
#[tokio::test]
async fn the_token_file_is_read_at_each_exchange_and_told_if_it_cannot_be_read() {
    let mut federated = Federated::start(
        "blue-wif3",
        false,
        json!({"type": "json", "subject_token_field_name": "id"}),
    )
    .await;
    // The registry's library reads the same form, and the pods have a plain token.
    let error = federated.world.pass().await.error.unwrap();
    for part in [TOKEN_FILE, "bound-sa-token"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
    assert_eq!(federated.world.gate.asked().len(), 0);
    federated.rotate(|token| json!({"id": token}).to_string());
    federated.world.later(RESYNC);
    federated.world.pass().await;
    assert_eq!(federated.world.buckets().await.len(), 1);
    federated.world.pass().await;
    // The same process: the next exchange is for the token that the file holds then.
    let of_file = |exchange: &Asked| {
        let form = exchange.text();
        let token = form
            .split('&')
            .find_map(|pair| pair.strip_prefix("subject_token="))
            .unwrap();
        token.to_owned()
    };
    let mut sent: Vec<String> = Vec::new();
    // The token of before lives for an hour.
    federated.world.hurry();
    for replicas in 3..5 {
        let mut written = String::new();
        federated.rotate(|token| {
            written.clone_from(&token);
            json!({"id": format!("{token}\n")}).to_string()
        });
        federated.world.gate.forget();
        federated.world.gate.rule(|asked| {
            if call(asked) == "sts" {
                short_lived()
            } else {
                Fault::Pass
            }
        });
        federated.world.edit(json!({"replicas": replicas}));
        federated.world.later(RESYNC);
        assert!(federated.world.pass().await.error.is_none());
        let asked = tokens(&federated.world);
        assert_eq!(names_of(&asked), ["sts"], "STS, and no impersonation without its URL");
        assert_eq!(of_file(&asked[0]), written);
        sent.push(written);
    }
    assert_ne!(sent[0], sent[1]);
    federated.rotate(|_| String::new());
    federated.world.restart();
    federated.world.edit(json!({"replicas": 4}));
    let error = federated.world.pass().await.error.unwrap();
    assert!(error.message.contains(TOKEN_FILE), "{error}");
}

// storage-gcs 50
#[tokio::test]
async fn a_token_of_replaced_credentials_is_not_used_again() {
    let mut world = cluster("blue-repl1", json!({"gcs": {}})).await;
    world.converge().await;
    // The next service account may do nothing.
    let gcs = store().await;
    let other = gcs.service_account(&project("blue-repl1"), "powerless", &[]).unwrap();
    let file = other.json("https://oauth2.googleapis.com/token");
    world.mint(&file);
    world.gate.forget();
    let outcome = world.settle().await;
    assert!(outcome.error.is_some_and(|error| error.message.contains("403")));
    assert!(!tokens(&world).is_empty());
    // The registry keeps what works.
    let running = &world.running.as_ref().unwrap().files["REGISTRY_STORAGE_GCS_KEYFILE"];
    assert!(!running.expose().contains("powerless"));
}

// storage-gcs 48
#[tokio::test]
async fn in_another_universe_keys_sign_for_themselves_and_all_hosts_are_of_that_universe() {
    let mut world = cluster("blue-univ1", json!({"gcs": {}})).await;
    world.set_tags(&["9001/team/blue"]).await;
    let mut file = key_file().await;
    file["universe_domain"] = json!("example-universe.goog");
    world.mint(&file);
    world.edit_platform(|gcp| gcp["universeDomain"] = json!("cluster-universe.goog"));
    // The registry starts its uploads at a fixed host, which is the public universe: only the operator's part works.
    world.read_only = true;
    world.converge().await;
    assert!(tokens(&world).is_empty(), "no token service takes part");
    let mut hosts: Vec<String> = world.gate.asked().iter().map(|asked| asked.host.clone()).collect();
    hosts.sort();
    hosts.dedup();
    assert_eq!(
        hosts,
        [
            "europe-west3-cloudresourcemanager.example-universe.goog",
            "storage.example-universe.goog"
        ]
    );
    assert_eq!(world.condition("StorageTagged"), "True/SuccessTaggingBucket");
    assert!(world.created().unwrap().starts_with("example-universe.goog/"));
    let told = world.told();
    assert!(
        told.iter()
            .any(|event| event.starts_with("UniverseDomainDiffers") && event.contains("cluster-universe.goog"))
    );
    // The registry's driver starts its uploads at a host of the public universe, which does not know this key.
    world.read_only = false;
    world.running = None;
    world.gate.rule(|asked| {
        if asked.host == "www.googleapis.com" {
            super::cluster::error(401, "authError")
        } else {
            Fault::Pass
        }
    });
    world.later(RESYNC);
    let told = match world.pass().await.preflight {
        Some(Preflight::Failed(message) | Preflight::Waiting(message)) => message,
        other => panic!("{other:?}"),
    };
    assert!(told.contains("https://www.googleapis.com"), "{told}");
    assert!(world.running.is_none());
}

/// Calls that were refused for want of a right.
fn refused(world: &GcsCluster) -> Vec<String> {
    let asked = world.gate.asked();
    let mut refused: Vec<String> = asked.iter().filter(|asked| asked.status == 403).map(call).collect();
    refused.dedup();
    refused
}

// storage-gcs section 12: each permission of the CredentialsRequest is needed, and the call without it is told
#[tokio::test]
async fn the_permissions_that_are_asked_for_are_enough_and_each_is_needed() {
    // Permission, the first call that is refused without it, and the condition that tells; none: the preflight.
    let needed: [(&str, &str, Option<&str>); 11] = [
        ("storage.buckets.get", "buckets.get", Some("StorageExists")),
        ("storage.buckets.create", "buckets.insert", Some("StorageExists")),
        ("storage.buckets.delete", "buckets.delete", Some("StorageExists")),
        (
            "storage.buckets.createTagBinding",
            "tagBindings.create",
            Some("StorageTagged"),
        ),
        ("storage.buckets.listEffectiveTags", "effectiveTags.list", None),
        (
            "resourcemanager.tagValueBindings.create",
            "tagBindings.create",
            Some("StorageTagged"),
        ),
        (
            "resourcemanager.tagValues.get",
            "tagBindings.create",
            Some("StorageTagged"),
        ),
        ("storage.objects.create", "objects.insert", None),
        ("storage.objects.get", "download", None),
        ("storage.objects.list", "objects.list", Some("StorageExists")),
        // A second upload replaces an object.
        ("storage.objects.delete", "uploads.begin", None),
    ];
    let mut requested = permissions();
    requested.sort();
    // For a bucket that exists under the generated name (its own test), and for compatibility.
    let others = ["storage.buckets.list", "resourcemanager.tagValues.list"];
    let mut known: Vec<&str> = needed
        .iter()
        .map(|(permission, ..)| *permission)
        .chain(others)
        .collect();
    known.sort_unstable();
    assert_eq!(requested, known);

    let mut world = cluster("blue-perm-all", json!({"gcs": {}})).await;
    world.set_tags(&["9001/team/blue"]).await;
    world.converge().await;
    let bucket = world.bucket().await;
    store().await.put(&bucket, "image", b"layer").await.unwrap();
    world.edit(json!({"managementState": "Removed"}));
    assert!(world.settle().await.done);
    assert_eq!(refused(&world), Vec::<String>::new(), "they are enough");

    for (missing, first, condition) in needed {
        let name = format!("blue-perm-{}", missing.to_lowercase().replace('.', "-"));
        let mut world = cluster(&name, json!({"gcs": {}})).await;
        world.set_tags(&["9001/team/blue"]).await;
        let fewer: Vec<String> = requested.iter().filter(|one| *one != missing).cloned().collect();
        allow(&project(&name), &fewer).await;
        let mut told = String::new();
        let mut preflight = String::new();
        for _ in 0..2 {
            let outcome = world.pass().await;
            preflight = format!("{preflight}{:?}", outcome.preflight);
            let tell = |type_: &str| world.message(type_);
            told = format!("{told}{}", condition.map(tell).unwrap_or_default());
        }
        world.edit(json!({"managementState": "Removed"}));
        for _ in 0..2 {
            world.pass().await;
            told = format!(
                "{told}{}",
                condition.map(|type_| world.message(type_)).unwrap_or_default()
            );
            world.later(RESYNC);
        }
        assert_eq!(refused(&world).first().map(String::as_str), Some(first), "{missing}");
        match condition {
            Some(_) => assert!(told.contains(missing), "{missing}: {told}"),
            // Bound tags are a success, and so are those that are bound again.
            None if first == "effectiveTags.list" => {}
            None => assert!(preflight.contains(missing), "{missing}: {preflight}"),
        }
    }
}

// storage-gcs section 4
#[tokio::test]
async fn requests_take_the_proxy_of_the_operator() {
    let mut world = cluster("blue-prox1", json!({"gcs": {}})).await;
    let gate = world.gate.target().address;
    let hosts = Hosts::new().with("*.googleapis.com", gate);
    let proxy = ForwardProxy::start(ProxyOptions {
        hosts,
        ..ProxyOptions::default()
    });
    let proxy = proxy.unwrap();
    world.go_through(&proxy.url());
    // The registry's pods have no proxy.
    world.converge().await;
    let targets: Vec<_> = proxy.seen().into_iter().map(|seen| seen.target).collect();
    for host in ["storage.googleapis.com:443", "oauth2.googleapis.com:443"] {
        assert!(targets.iter().any(|target| target == host), "{host}: {targets:?}");
    }
    assert!(!targets.iter().any(|target| target.starts_with("www.")), "{targets:?}");
    proxy.refuse(Some(407));
    world.restart();
    world.edit(json!({"replicas": 3}));
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("proxy"), "{error}");
}

#[tokio::test]
async fn a_quota_project_is_named_in_each_request() {
    let mut world = cluster("blue-quot1", json!({"gcs": {}})).await;
    let mut file = stores::key_file().await;
    file["quota_project_id"] = json!("pays-for-all");
    world.mint(&file);
    world.converge().await;
    let asked = world.gate.asked();
    let mut of_storage = asked.iter().filter(|asked| call(asked) != "token");
    assert!(of_storage.all(|asked| asked.header("x-goog-user-project") == Some("pays-for-all")));
    let agent = asked[0].header("user-agent").unwrap();
    assert!(agent.contains("cluster-image-registry-operator/4.99.0-test"), "{agent}");
}

// storage-gcs section 4: an emulator gets no token
#[tokio::test]
async fn an_emulator_gets_no_token() {
    let mut world = cluster("blue-emul1", json!({"gcs": {}})).await;
    world.emulate(&world.gate.url());
    world.gate.rule(|asked| {
        assert!(asked.header("authorization").is_none());
        Fault::Answer(Reply::new(401, ""))
    });
    let error = world.pass().await.error.unwrap();
    assert!(error.message.contains("401"), "{error}");
    let asked = world.gate.asked();
    assert!(!asked.is_empty() && asked.iter().all(|asked| asked.header("authorization").is_none()));
}

// A response is not trusted to be sane.
#[tokio::test]
async fn a_lifetime_of_any_size_is_understood() {
    for (n, lifetime) in [json!(u64::MAX), json!(i64::MAX), json!("3600")]
        .into_iter()
        .enumerate()
    {
        let mut world = cluster(&format!("blue-life{n}"), json!({"gcs": {}})).await;
        let change = Fault::change(move |_, response| {
            let mut body: Value = serde_json::from_slice(response.body()).unwrap();
            body["expires_in"] = lifetime.clone();
            let text = body.to_string();
            response.headers_mut().remove("content-length");
            *response.body_mut() = text.into();
        });
        world.gate.rule(move |asked| {
            if call(asked) == "token" {
                change.clone()
            } else {
                Fault::Pass
            }
        });
        let outcome = world.settle().await;
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(
            tokens(&world).len(),
            2,
            "one of the operator, one with the registry's scope"
        );
    }
}

// storage-decisions T8: a token may take long, and another process may lead meanwhile
#[tokio::test]
async fn a_request_is_not_sent_after_leadership_ended_during_the_login() {
    let mut world = cluster("blue-lead1", json!({"gcs": {}})).await;
    let leads = world.leads();
    let mut refused = false;
    world.gate.rule(move |asked| match call(asked).as_str() {
        "buckets.insert" => {
            refused = true;
            super::cluster::error(401, "authError")
        }
        "token" if refused => {
            let leads = leads.clone();
            Fault::change(move |_, _| leads.store(false, Ordering::Relaxed))
        }
        _ => Fault::Pass,
    });
    for _ in 0..4 {
        world.pass().await;
    }
    assert_eq!(world.changed(), ["buckets.insert"]);
}
