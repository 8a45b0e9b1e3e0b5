//! A container goes, with everything in it, and only where that is wanted.

use std::time::Duration;

use devcluster::stores::{Fault, Reply};
use http::Method;
use serde_json::{Value, json};

use super::cloud::cloud;
use super::cluster::{LONGEST_NAME, PAGE, SwiftCluster, is_info};
use super::conformance::{BackendUnderTest as _, owned};

fn removed(site: &mut SwiftCluster) {
    site.edit(json!({"managementState": "Removed"}));
}

/// What bulk deletions answer.
fn bulk(status: &str, errors: Value) -> Fault {
    let body = json!({"Number Deleted": 0, "Number Not Found": 0, "Response Status": status, "Response Body": "",
        "Errors": errors});
    Fault::Answer(Reply::new(200, &body.to_string()).header("x-trans-id", "tx1"))
}

fn answer_bulk(site: &SwiftCluster, status: &'static str, errors: Value) {
    site.disturb(move |asked| (asked.operation() == "BulkDelete").then(|| bulk(status, errors.clone())));
}

// storage-swift 40, storage-core 40: segments too
#[tokio::test]
async fn pages_are_deleted_together_until_nothing_is_left() {
    let (mut site, name) = owned::<SwiftCluster>("pages-r1").await;
    site.fill(&name, 2 * PAGE).await;
    for n in 0..PAGE {
        let segment = format!("segments/abc/{n:016}");
        cloud().await.account.put(&name, &segment, b"x").await.unwrap();
    }
    removed(&mut site);
    assert!(site.settle().await.done && !site.exists(&name).await);
    assert_eq!((site.count("BulkDelete"), site.count("DeleteObject")), (3, 0));
    assert_eq!(site.count("DeleteContainer"), 1);
    assert_eq!(site.condition("StorageExists"), "False/Swift Container Deleted");
    assert_eq!(
        (site.status(), site.storage_spec()),
        (&json!({}), &json!({"swift": {}}))
    );
    let asked = site.gate.asked();
    let first = asked.iter().find(|asked| asked.operation() == "BulkDelete").unwrap();
    assert_eq!(
        (&first.method, first.header("content-type")),
        (&Method::POST, Some("text/plain"))
    );
    assert_eq!(first.text().lines().count(), PAGE);
    assert!(
        first.text().starts_with(&format!("{name}/files%2Fdocker")),
        "{}",
        first.text()
    );
}

// storage-swift 41
#[tokio::test]
async fn an_object_that_stays_keeps_the_container_and_is_named() {
    let (mut site, name) = owned::<SwiftCluster>("kept-r2").await;
    site.fill(&name, 1).await;
    answer_bulk(
        &site,
        "400 Bad Request",
        json!([[format!("{name}/obj0"), "Internal Error"]]),
    );
    removed(&mut site);
    let outcome = site.settle().await;
    let message = outcome.error.unwrap().message;
    for part in [name.as_str(), "obj0", "Internal Error"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!outcome.done && site.count("DeleteContainer") == 0);
    assert_eq!(site.status()["swift"]["container"], json!(name));
    assert_eq!(site.condition("StorageExists"), "Unknown/Unknown error occurred");
    site.pass_all();
    assert!(site.converge().await.done && !site.exists(&name).await);
}

// storage-swift 42
#[tokio::test]
async fn a_status_in_the_body_that_is_no_success_is_an_error() {
    for (n, status) in ["502 Bad Gateway", "400 Bad Request", "507 Insufficient Storage", "what"]
        .into_iter()
        .enumerate()
    {
        let (mut site, name) = owned::<SwiftCluster>(&format!("status-r3-{n}")).await;
        site.fill(&name, 1).await;
        answer_bulk(&site, status, json!([]));
        removed(&mut site);
        let outcome = site.pass().await;
        assert!(outcome.error.is_some() && !outcome.done, "{status}");
        assert_eq!(
            (site.count("DeleteContainer"), site.cloud.objects(&name).await.len()),
            (0, 1)
        );
        site.pass_all();
        assert!(site.converge().await.done, "{status}");
    }
}

// storage-swift 44
#[tokio::test]
async fn without_bulk_deletion_objects_go_one_by_one() {
    for (n, status, body) in [
        (1, 501, ""),
        (2, 404, ""),
        (3, 405, ""),
        (4, 412, ""),
        // Without the middleware, Swift takes the request for another one.
        (5, 204, ""),
        (6, 200, "<html>"),
    ] {
        let (mut site, name) = owned::<SwiftCluster>(&format!("single-r4-{n}")).await;
        site.fill(&name, PAGE + 1).await;
        site.disturb(move |asked| {
            let answer = || Fault::Answer(Reply::new(status, body).header("x-trans-id", "tx1"));
            (asked.operation() == "BulkDelete").then(answer)
        });
        removed(&mut site);
        assert!(site.settle().await.done && !site.exists(&name).await, "{status}");
        assert_eq!(site.count("DeleteObject"), PAGE + 1, "{status}");
    }
}

// A real Swift without the middleware, which /info tells.
#[tokio::test]
async fn a_swift_that_tells_that_it_has_no_bulk_deletion_is_not_asked_for_one() {
    let (mut site, name) = owned::<SwiftCluster>("bare-r5").await;
    site.restart();
    site.fill(&name, 3).await;
    let undisturbed = site.undisturbed();
    site.gate.rule(move |asked| {
        if is_info(asked) {
            Fault::Answer(Reply::new(200, r#"{"swift": {"version": "2.38"}}"#))
        } else {
            undisturbed(asked)
        }
    });
    removed(&mut site);
    assert!(site.settle().await.done && !site.exists(&name).await);
    assert_eq!((site.count("BulkDelete"), site.count("DeleteObject")), (0, 3));
}

// storage-swift 45
#[tokio::test]
async fn a_container_that_is_not_empty_yet_is_emptied_again() {
    let (mut site, name) = owned::<SwiftCluster>("late-r6").await;
    let mut first = true;
    site.disturb(move |asked| {
        let once = asked.operation() == "DeleteContainer" && std::mem::take(&mut first);
        once.then(|| Fault::Answer(Reply::new(409, "").header("x-trans-id", "tx1")))
    });
    removed(&mut site);
    let outcome = site.pass().await;
    assert!(!outcome.done && outcome.error.unwrap().message.contains("emptied again"));
    assert!(site.converge().await.done && !site.exists(&name).await);
    assert_eq!(site.count("DeleteContainer"), 2);
    // A real one, which answers so itself.
    let (mut site, name) = owned::<SwiftCluster>("late-r6b").await;
    site.fill(&name, 1).await;
    let mut listings = 0;
    site.disturb(move |asked| {
        listings +=
            usize::from(asked.operation() == "GetContainer" && asked.parameter("limit").as_deref() != Some("1"));
        let hides =
            asked.operation() == "GetContainer" && listings == 1 && asked.parameter("limit").as_deref() != Some("1");
        hides.then(|| Fault::Answer(Reply::new(200, "[]").header("x-trans-id", "tx1")))
    });
    removed(&mut site);
    assert!(site.pass().await.error.is_some() && site.exists(&name).await);
    assert!(site.converge().await.done && !site.exists(&name).await);
}

// storage-swift 43, storage-decisions T2: only Swift itself can say that the container is gone
#[tokio::test]
async fn a_container_is_gone_only_when_swift_itself_says_so() {
    let (mut site, name) = owned::<SwiftCluster>("between-r7").await;
    site.disturb(|_| Some(Fault::Answer(Reply::new(404, "<html>no such backend</html>"))));
    removed(&mut site);
    let outcome = site.pass().await;
    assert!(!outcome.done && outcome.error.is_some());
    assert_eq!(site.status()["swift"]["container"], json!(name));
    site.pass_all();
    site.later(std::time::Duration::from_mins(11));
    // The listing says 404 in the middle: gone is a success.
    cloud().await.account.delete(&name).await.unwrap();
    assert!(site.converge().await.done);
    assert_eq!(site.status(), &json!({}));
}

/// Swift's answers while the servers of the account are down: 404 for each container, and 503 for the account.
fn without_account_servers(site: &SwiftCluster) {
    site.disturb(|asked| {
        let operation = asked.operation();
        let status = if operation.ends_with("Account") { 503 } else { 404 };
        let of_swift = operation.ends_with("Account") || operation.ends_with("Container");
        of_swift.then(|| Fault::Answer(Reply::new(status, "").header("x-trans-id", "tx1")))
    });
}

// storage-decisions T2, T4; Swift asks the account before the container
#[tokio::test]
async fn an_account_whose_servers_are_down_has_not_lost_its_containers() {
    let (mut site, name) = owned::<SwiftCluster>("down-r20").await;
    site.put(&name, "image").await;
    let running = site.running.clone();
    site.restart();
    without_account_servers(&site);
    for _ in 0..3 {
        site.pass().await;
        site.later(Duration::from_mins(11));
    }
    assert!(site.condition("StorageExists").starts_with("Unknown/"));
    assert_eq!(site.count_events("StorageLost"), 0);
    assert_eq!((&site.running, site.count("PutContainer")), (&running, 0));
    // Before and while the container is emptied.
    removed(&mut site);
    for _ in 0..3 {
        assert!(!site.pass().await.done);
        site.later(Duration::from_mins(11));
    }
    assert_eq!(site.status()["swift"]["container"], json!(name));
    let mut marks = 0;
    site.disturb(move |asked| {
        marks += usize::from(asked.operation() == "GetContainer");
        let down = marks > 1;
        let status = if asked.operation().ends_with("Account") {
            503
        } else {
            404
        };
        down.then(|| Fault::Answer(Reply::new(status, "").header("x-trans-id", "tx1")))
    });
    assert!(!site.pass().await.done);
    assert_eq!(site.status()["swift"]["container"], json!(name));
    site.pass_all();
    site.later(Duration::from_mins(11));
    assert!(site.converge().await.done && !site.exists(&name).await);
}

// storage-decisions T1: the same for a container that a user brings, and that is not in use yet
#[tokio::test]
async fn a_container_that_is_hidden_while_the_account_is_down_is_not_marked_as_the_operators() {
    let name = "down-r22-mine";
    let mut site = SwiftCluster::new("down-r22", SwiftCluster::storage_with(Some(name), Value::Null)).await;
    site.create(name).await;
    without_account_servers(&site);
    for _ in 0..3 {
        site.pass().await;
        site.later(Duration::from_mins(11));
    }
    assert_eq!((site.intent(), site.count("PutContainer")), (None, 0));
    assert!(
        site.condition("StorageExists").starts_with("Unknown/"),
        "{}",
        site.condition("StorageExists")
    );
    site.pass_all();
    site.converge().await;
    assert_eq!(site.state(), Some("Unmanaged"));
    assert_eq!(site.mark(name).await, None);
}

// A second container with the mark stays as long as it is not known whether it exists
#[tokio::test]
async fn segments_that_are_hidden_while_the_account_is_down_do_not_stay() {
    let (mut site, name) = owned::<SwiftCluster>("down-r23").await;
    let segments = format!("{name}_segments");
    site.create(&segments).await;
    let mark = [("openshiftclusterid", "down-r23")];
    site.cloud.account.set_metadata(&segments, &mark).await.unwrap();
    let hidden = segments.clone();
    site.disturb(move |asked| {
        let status = match asked.operation().as_str() {
            "HeadAccount" => 503,
            "GetContainer" | "HeadContainer" if asked.path.ends_with(&hidden) => 404,
            _ => return None,
        };
        Some(Fault::Answer(Reply::new(status, "").header("x-trans-id", "tx1")))
    });
    removed(&mut site);
    for _ in 0..3 {
        assert!(!site.pass().await.done);
        site.later(Duration::from_mins(11));
    }
    assert!(site.exists(&name).await);
    site.pass_all();
    assert!(site.converge().await.done);
    assert!(!site.exists(&name).await && !site.exists(&segments).await);
}

// `/info` is closed, and the service permits fewer objects at once than is assumed.
#[tokio::test]
async fn a_bulk_deletion_of_too_many_objects_is_done_one_by_one() {
    let (mut site, name) = owned::<SwiftCluster>("fewer-r21").await;
    site.fill(&name, PAGE + 1).await;
    site.disturb(|asked| {
        let body = json!({"Number Deleted": 0, "Number Not Found": 0, "Response Status": "413 Request Entity Too Large",
            "Response Body": "Maximum Bulk Deletes: 2 per request", "Errors": []});
        match asked.operation().as_str() {
            "BulkDelete" => Some(Fault::Answer(
                Reply::new(200, &body.to_string()).header("x-trans-id", "tx1"),
            )),
            _ if is_info(asked) => Some(Fault::Answer(Reply::new(403, ""))),
            _ => None,
        }
    });
    removed(&mut site);
    assert!(site.converge().await.done && !site.exists(&name).await);
}

// storage-swift 43
#[tokio::test]
async fn a_listing_that_says_404_does_not_keep_the_container() {
    let (mut site, name) = owned::<SwiftCluster>("listless-r7").await;
    site.forget();
    site.disturb(|asked| {
        let lists = asked.operation() == "GetContainer" && asked.parameter("limit").as_deref() != Some("1");
        lists.then(|| Fault::Answer(Reply::new(404, "").header("x-trans-id", "tx1")))
    });
    removed(&mut site);
    assert!(site.converge().await.done);
    assert!(site.count("DeleteContainer") > 0 && !site.exists(&name).await);
}

// storage-swift 46, storage-core 41
#[tokio::test]
async fn an_unmanaged_container_stays_without_a_request() {
    let (mut site, name) = owned::<SwiftCluster>("released-r8").await;
    site.edit(json!({"storage": {"managementState": "Unmanaged"}}));
    site.settle().await;
    site.forget();
    removed(&mut site);
    assert!(site.settle().await.done);
    assert_eq!(site.gate.asked().len(), 0);
    assert_eq!(site.storage_spec()["swift"]["container"], json!(name));
    assert!(site.exists(&name).await);
    // Managed again: it is found and used.
    site.edit(json!({"managementState": "Managed"}));
    site.converge().await;
    assert_eq!(site.status()["swift"]["container"], json!(name));
}

// storage-swift 47, 48, storage-core 42
#[tokio::test]
async fn the_container_in_use_goes_whatever_the_spec_says_meanwhile() {
    for (infrastructure, storage) in [
        ("spec-r9", json!({"swift": {"container": "spec-r9-next"}})),
        ("spec-r9n", json!({"swift": null})),
    ] {
        let (mut site, name) = owned::<SwiftCluster>(infrastructure).await;
        site.create("spec-r9-next").await;
        site.edit(json!({"managementState": "Removed", "storage": storage}));
        assert!(site.settle().await.done && !site.exists(&name).await);
        assert!(site.exists("spec-r9-next").await);
        site.delete("spec-r9-next").await;
    }
}

// issue 11: Swift 401 in the middle of a removal, in the status of a response and in its body
#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_replaced_once() {
    for in_body in [false, true] {
        let (mut site, name) = owned::<SwiftCluster>(&format!("expired-r10-{in_body}")).await;
        site.fill(&name, PAGE + 1).await;
        let mut first = true;
        site.disturb(move |asked| {
            let once = asked.operation() == "BulkDelete" && std::mem::take(&mut first);
            once.then(|| {
                if in_body {
                    bulk("401 Unauthorized", json!([["x/y", "401 Unauthorized"]]))
                } else {
                    Fault::Answer(Reply::new(401, ""))
                }
            })
        });
        removed(&mut site);
        assert!(site.settle().await.done && !site.exists(&name).await);
        assert_eq!(site.logins(), ["POST /v3/auth/tokens"], "one new login");
    }
}

// issue 11: segments that other tools put into a second container
#[tokio::test]
async fn a_second_container_with_segments_goes_only_with_the_mark() {
    for marked in [true, false] {
        let (mut site, name) = owned::<SwiftCluster>(&format!("second-r11-{marked}")).await;
        let second = format!("{name}_segments");
        site.create(&second).await;
        let mark = site.infrastructure().to_owned();
        site.set_mark(&second, marked.then_some(mark.as_str())).await;
        for n in 0..=PAGE {
            site.put(&second, &format!("part-{n}")).await;
        }
        site.fill(&name, 2).await;
        removed(&mut site);
        assert!(site.settle().await.done && !site.exists(&name).await);
        assert_eq!(site.exists(&second).await, !marked);
    }
}

// Names that a URL would take for something else; a removal must not reach anything else.
#[tokio::test]
async fn names_that_look_like_paths_go_and_nothing_beside_them() {
    for bulk in [true, false] {
        let (mut site, name) = owned::<SwiftCluster>(&format!("names-r12-{bulk}")).await;
        let neighbour = format!("{name}-neighbour");
        site.create(&neighbour).await;
        site.put(&neighbour, "image").await;
        for object in [
            "../x",
            "a b?c#d%2e",
            "ü/%zz",
            "a//b",
            &format!("x/../../{neighbour}/image"),
        ] {
            cloud().await.account.put(&name, object, b"x").await.unwrap();
        }
        if !bulk {
            site.refuse("BulkDelete", 501);
        }
        removed(&mut site);
        assert!(site.settle().await.done && !site.exists(&name).await, "{bulk}");
        assert_eq!(site.cloud.objects(&neighbour).await, ["image"]);
    }
}

// Versions that an administrator turned on go, too; also after they were turned off again.
#[tokio::test]
async fn versions_go_with_their_container() {
    for is_suspended in [false, true] {
        let (mut site, name) = owned::<SwiftCluster>(&format!("versions-r13-{is_suspended}")).await;
        let path = format!("/{name}");
        let enable = async |value| {
            let enabled = [("x-versions-enabled", value)];
            let answer = cloud().await.account.call(Method::POST, &path, &enabled, b"").await;
            let answer = answer.unwrap();
            assert!(answer.status < 300, "{}", answer.text());
        };
        enable("true").await;
        for _ in 0..2 {
            site.fill(&name, 3).await;
        }
        if is_suspended {
            enable("false").await;
        }
        removed(&mut site);
        assert!(site.converge().await.done && !site.exists(&name).await);
    }
}

// storage-core 44; the credentials are gone, or nobody knows them any more: the removal ends in the cluster
#[tokio::test]
async fn without_credentials_the_cause_is_told_and_the_container_is_left() {
    let (mut site, name) = owned::<SwiftCluster>("gone-r14").await;
    site.remove_object(
        image_registry_operator::api::Kind::Secret,
        "installer-cloud-credentials",
    );
    removed(&mut site);
    let outcome = site.pass().await;
    let error = outcome.error.unwrap();
    assert_eq!(
        error.class,
        image_registry_operator::storage::model::error::ErrorClass::NoAccess
    );
    assert!(error.message.contains("installer-cloud-credentials"), "{error}");
    assert!(site.message("StorageExists").contains("is left with its images"));
    assert!(site.exists(&name).await);
}

// A listing lags behind deletions: it shows objects that are gone. Deleting them again and again without a pause helps nobody.
#[tokio::test]
async fn objects_that_only_the_listing_shows_do_not_make_the_removal_run_in_circles() {
    for bulk in [true, false] {
        let (mut site, name) = owned::<SwiftCluster>(&format!("ghost-r15-{bulk}")).await;
        site.disturb(move |asked| {
            let page = asked.operation() == "GetContainer" && asked.parameter("limit").as_deref() != Some("1");
            let none = asked.operation() == "BulkDelete" && !bulk;
            let ghosts = json!([{"name": "files/ghost-1"}, {"name": "files/ghost-2"}]).to_string();
            match (page, none) {
                (true, _) => Some(Fault::Answer(Reply::new(200, &ghosts).header("x-trans-id", "tx1"))),
                (_, true) => Some(Fault::Answer(Reply::new(501, "").header("x-trans-id", "tx1"))),
                _ => None,
            }
        });
        removed(&mut site);
        let outcome = site.pass().await;
        let error = outcome.error.expect("the next attempt is not at once");
        assert!(error.message.contains("tried again"), "{bulk}: {error}");
        assert_eq!(
            error.class,
            image_registry_operator::storage::model::error::ErrorClass::Transient
        );
        site.pass_all();
        assert!(site.converge().await.done && !site.exists(&name).await, "{bulk}");
    }
}

// storage-decisions T2: every service of OpenStack but Swift has this header alone
#[tokio::test]
async fn another_service_of_the_cloud_does_not_make_the_container_gone() {
    let (mut site, name) = owned::<SwiftCluster>("other-service-r16").await;
    site.disturb(|asked| {
        let reply = Reply::new(404, "").header("x-openstack-request-id", "req-1");
        (!super::cluster::is_of_keystone(asked)).then_some(Fault::Answer(reply))
    });
    removed(&mut site);
    let outcome = site.pass().await;
    assert!(!outcome.done && outcome.error.is_some());
    assert_eq!(site.status()["swift"]["container"], json!(name));
}

// A container of the registry, which status.storage does not name, may be called like the segments of another one.
#[tokio::test]
async fn an_earlier_container_of_the_registry_is_no_container_of_segments() {
    let (mut site, name) = owned::<SwiftCluster>("earlier-r17").await;
    let earlier = format!("{name}_segments");
    site.create(&earlier).await;
    // As the operator marks the registry's containers.
    let mark = [
        ("openshiftclusterid", site.infrastructure()),
        ("name", earlier.as_str()),
    ];
    site.cloud.account.set_metadata(&earlier, &mark).await.unwrap();
    site.put(&earlier, "files/image").await;
    site.fill(&name, 1).await;
    removed(&mut site);
    assert!(site.settle().await.done && !site.exists(&name).await);
    assert_eq!(site.cloud.objects(&earlier).await, ["files/image"]);
}

// A service may refuse a name that is too long, and then no such container exists.
#[tokio::test]
async fn a_container_with_the_longest_name_goes() {
    let name = format!("long-r18-{}", "x".repeat(LONGEST_NAME - "long-r18-".len()));
    let storage = json!({"swift": {"container": name}, "managementState": "Managed"});
    let mut site = SwiftCluster::new("long-r18", storage).await;
    site.converge().await;
    assert!(site.exists(&name).await);
    // Ceph's gateway answers so itself: its names have one byte less.
    site.disturb(|asked| {
        let second = LONGEST_NAME == 256 && asked.path.ends_with("_segments");
        second.then(|| Fault::Answer(Reply::new(400, "InvalidBucketName").header("x-trans-id", "tx1")))
    });
    removed(&mut site);
    assert!(site.settle().await.done && !site.exists(&name).await);
}

// One line of a bulk deletion has a longest length, below that of the longest name encoded.
#[tokio::test]
async fn the_longest_names_of_objects_go() {
    let (mut site, name) = owned::<SwiftCluster>("lines-r19").await;
    for object in ["ü".repeat(512), "x".repeat(1024), format!("short\n{}", "y".repeat(9))] {
        cloud().await.account.put(&name, &object, b"x").await.unwrap();
    }
    removed(&mut site);
    assert!(site.settle().await.done && !site.exists(&name).await);
}

// storage-swift 51: what a bulk deletion says of an object is a text of the service, too
#[tokio::test]
async fn what_a_bulk_deletion_says_shows_no_secret_and_is_short() {
    let (mut site, name) = owned::<SwiftCluster>("told-r20").await;
    site.fill(&name, 1).await;
    let status = format!("500 {}{}", site.cloud.project.password, " again".repeat(10_000));
    let (status, object): (&'static str, _) = (status.leak(), format!("{name}/obj0"));
    site.disturb(move |asked| {
        let errors = json!([[object.as_str(), status]]);
        (asked.operation() == "BulkDelete").then(|| bulk("400 Bad Request", errors))
    });
    removed(&mut site);
    let message = site.pass().await.error.unwrap().message;
    assert!(
        message.contains("obj0: ") || message.contains("obj0 is one"),
        "{message}"
    );
    assert!(
        message.contains("<redacted> again") && message.len() < 2000,
        "{}",
        message.len()
    );
}
