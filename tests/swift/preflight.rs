//! Changed storage is tried out as the registry's driver would use it.

use devcluster::stores::{Fault, Reply};
use image_registry_operator::status::judge::Preflight;
use serde_json::{Value, json};

use super::cluster::{SwiftCluster, changed_info, is_info};
use super::conformance::{BackendUnderTest as _, brought, owned};

/// `/info` with this version of Swift.
fn version(version: &'static str) -> Fault {
    changed_info(move |info| info["swift"]["version"] = json!(version))
}

// storage-decisions T14, T14a: a push in small, as the driver does it
#[tokio::test]
async fn a_push_in_small_is_what_the_driver_sends() {
    let mut site = SwiftCluster::new("push-p1", json!({"swift": {}})).await;
    site.converge().await;
    let asked = site.gate.asked();
    let account = site.cloud.account.path().to_owned();
    let container = format!("{account}/{}", site.generated());
    let key = "docker/registry/v2/_preflight/0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
    let wanted = [
        ("PUT", format!("{container}/files/{key}")),
        ("GET", format!("{container}/files/{key}")),
        ("PUT", format!("{container}/segments/{key}-upload/0000000000000001")),
        ("PUT", format!("{container}/files/{key}-upload")),
        ("HEAD", format!("{container}/files/{key}-upload")),
        ("PUT", format!("{container}/files/{key}-copy")),
        ("GET", format!("{container}/files/{key}-copy")),
        ("DELETE", account.clone()),
    ];
    let mut place = 0;
    for (method, path) in wanted {
        let found = asked[place..].iter().position(|a| a.method == method && a.path == path);
        place += found.unwrap_or_else(|| panic!("{method} {path} after {place}"));
    }
    let manifests: Vec<_> = asked
        .iter()
        .filter_map(|asked| asked.header("x-object-manifest"))
        .collect();
    let manifest = format!("{}/segments/{key}-upload", site.generated());
    assert_eq!(manifests, [manifest.as_str(); 2]);
    assert_eq!(site.cloud.objects(&site.generated()).await, Vec::<String>::new());
}

// issue 11: listings that lag
#[tokio::test]
async fn segments_that_show_up_late_are_waited_for() {
    let (mut site, name) = brought::<SwiftCluster>("lag-p2", Value::Null, 0).await;
    let mut looks = 0;
    site.disturb(move |asked| {
        let head = asked.operation() == "HeadObject" && asked.path.ends_with("-upload");
        looks += usize::from(head);
        (head && looks < 4).then(|| {
            Fault::change(|_, answer| {
                answer.headers_mut().insert("content-length", "0".parse().unwrap());
            })
        })
    });
    let outcome = site.converge().await;
    assert!(outcome.preflight.is_none() && site.running.is_some());
    assert_eq!(site.cloud.objects(&name).await.len(), 0);
}

// storage-swift section 8: a key for the URLs of pulls is written into the container's metadata
#[tokio::test]
async fn a_user_who_may_not_change_metadata_is_told_before_pulls_fail() {
    let (mut site, name) = brought::<SwiftCluster>("metadata-p3", Value::Null, 0).await;
    // With the version of Ceph, the registry takes the key of the account.
    site.disturb(|asked| match asked.operation().as_str() {
        "PostContainer" => Some(Fault::Answer(Reply::new(403, ""))),
        _ => is_info(asked).then(|| version("2.38.3")),
    });
    let mut failed = String::new();
    for _ in 0..3 {
        site.later(std::time::Duration::from_mins(6));
        if let Some(Preflight::Failed(message)) = site.pass().await.preflight {
            failed = message;
        }
    }
    for part in ["POST container denied", name.as_str(), "operator_roles"] {
        assert!(failed.contains(part), "{failed}");
    }
    assert!(site.running.is_none());
    // The key is there: nothing has to be written.
    let key = [("temp-url-key", "k")];
    site.cloud.account.set_metadata(&name, &key).await.unwrap();
    site.later(std::time::Duration::from_mins(6));
    site.converge().await;
    assert!(site.running.is_some());
}

// storage-decisions 18, 25
#[tokio::test]
async fn a_right_that_is_missing_is_named() {
    let (mut site, name) = owned::<SwiftCluster>("rights-p4").await;
    let running = site.running.clone();
    for (n, operation, action) in [
        (1, "PutObject", "PUT object denied"),
        (2, "GetObject", "GET object denied"),
        (3, "HeadObject", "HEAD object denied"),
    ] {
        let next = format!("{name}-{n}");
        site.create(&next).await;
        site.refuse(operation, 403);
        site.edit(json!({"storage": {"swift": {"container": next}}}));
        let mut failed = String::new();
        for _ in 0..3 {
            site.later(std::time::Duration::from_mins(6));
            if let Some(Preflight::Failed(message)) = site.pass().await.preflight {
                failed = message;
            }
        }
        assert!(
            failed.contains(action) && failed.contains(&next),
            "{operation}: {failed}"
        );
        assert_eq!(site.running, running);
        site.pass_all();
        assert_eq!(
            site.cloud.objects(&next).await.len(),
            0,
            "{operation}: no probe is left"
        );
    }
}

// storage-decisions T14: only reads
#[tokio::test]
async fn a_registry_that_refuses_pushes_is_tried_out_without_a_write() {
    let (mut site, _) = brought::<SwiftCluster>("reading-p5", Value::Null, 0).await;
    site.read_only = true;
    site.converge().await;
    assert!(site.running.is_some());
    let asked = site.gate.asked();
    assert!(asked.iter().all(super::cluster::is_read), "{:?}", site.operations());
}

// The registry looks for the type object-store alone; the operator is more lenient.
#[tokio::test]
async fn a_catalogue_that_the_registry_cannot_use_is_noticed() {
    let (mut site, _) = brought::<SwiftCluster>("typed-p6", Value::Null, 0).await;
    let undisturbed = site.undisturbed();
    site.gate.rule(move |asked| {
        let fault = undisturbed(asked);
        match (asked.path.ends_with("/auth/tokens"), fault) {
            (true, Fault::Change(change)) => Fault::change(move |asked, answer| {
                change(asked, answer);
                let text = String::from_utf8_lossy(answer.body()).replace("\"object-store\"", "\"container\"");
                *answer.body_mut() = text.into_bytes().into();
            }),
            (_, fault) => fault,
        }
    });
    let outcome = site.settle().await;
    assert!(site.condition("StorageExists").starts_with("True/"));
    let Some(Preflight::Failed(message)) = outcome.preflight else {
        panic!("{outcome:?}");
    };
    assert!(
        message.contains("EndpointNotFound") && message.contains(&format!("container/swift/{}", site.cloud.region)),
        "{message}"
    );
}

// The registry's bulk deletion is `DELETE` of the account with a parameter: a service without it could take the request as it
// stands.
#[tokio::test]
async fn the_account_is_not_asked_to_go_where_nobody_tells_of_bulk_deletion() {
    for (n, status, body) in [
        (1, 404, ""),
        (2, 503, ""),
        (3, 200, r#"{"swift": {}}"#),
        (4, 200, "<html>"),
    ] {
        let site = SwiftCluster::new(&format!("account-p7-{n}"), json!({"swift": {}})).await;
        let mut site = site;
        let undisturbed = site.undisturbed();
        site.gate.rule(move |asked| {
            if is_info(asked) {
                Fault::Answer(devcluster::stores::Reply::new(status, body))
            } else {
                undisturbed(asked)
            }
        });
        site.converge().await;
        assert!(site.running.is_some(), "{status}");
        let asked = site.gate.asked();
        let account = site.cloud.account.path().to_owned();
        assert!(
            !asked.iter().any(|a| a.method == "DELETE" && a.path == account),
            "{status} {body}"
        );
        assert_eq!(site.cloud.objects(&site.generated()).await, Vec::<String>::new());
    }
}

// The registry takes the key of the account where the text of Swift's version is less than 2.3.0, and ends if the account does not answer.
#[tokio::test]
async fn the_account_is_asked_where_the_registry_takes_its_key() {
    for (n, of_swift, denied) in [
        (1, "2.27.0", true),
        (2, "19.2.0", true),
        (3, "2.38.3", false),
        (4, "20.2.0", false),
    ] {
        let (mut site, _) = brought::<SwiftCluster>(&format!("version-p8-{n}"), Value::Null, 0).await;
        let undisturbed = site.undisturbed();
        site.gate.rule(move |asked| {
            if is_info(asked) {
                return version(of_swift);
            }
            match asked.operation().as_str() {
                "HeadAccount" => Fault::Answer(Reply::new(403, "").header("x-trans-id", "tx1")),
                _ => undisturbed(asked),
            }
        });
        let mut failed = None;
        for _ in 0..3 {
            if let Some(Preflight::Failed(message)) = site.pass().await.preflight {
                failed = Some(message);
            }
            site.later(std::time::Duration::from_mins(6));
        }
        assert_eq!(failed.is_some(), denied, "{of_swift}: {failed:?}");
        assert_eq!(site.running.is_none(), denied, "{of_swift}");
        assert!(failed.is_none_or(|failed| failed.contains("HEAD account denied")));
    }
}

// Swift's allowed_digests: the registry signs with SHA-1 alone
#[tokio::test]
async fn a_swift_that_refuses_the_signatures_of_pulls_is_told() {
    for (n, digests, redirects, told) in [
        (1, json!(["sha256", "sha512"]), true, true),
        (2, json!(["sha256", "sha512"]), false, false),
        (3, json!(["sha1", "sha256"]), true, false),
        (4, Value::Null, true, false),
    ] {
        let (mut site, _) = brought::<SwiftCluster>(&format!("digests-p9-{n}"), Value::Null, 0).await;
        site.edit(json!({"disableRedirect": !redirects}));
        site.change_info(move |info| info["tempurl"]["allowed_digests"] = digests.clone());
        site.converge().await;
        assert!(site.running.is_some());
        let events = site.told();
        let found = events
            .iter()
            .any(|event| event.starts_with("RedirectsRefused: ") && event.contains("spec.disableRedirect"));
        assert_eq!(found, told, "{n}: {events:?}");
    }
}
