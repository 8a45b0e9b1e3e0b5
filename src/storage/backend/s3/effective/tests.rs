#![allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.

use serde_json::{Value, json};

use super::*;
use crate::api::Kind;
use crate::config::snapshot::Objects;
use crate::names;

const CLUSTER_S3: &str = "https://s3.example.com";

fn cluster(platform: &str, aws: Value) -> Snapshot {
    let infrastructure = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
        "status": {"infrastructureName": "blue-x7k2p", "platformStatus": {"type": platform, "aws": aws}},
    });
    Snapshot {
        objects: Objects::from_values([infrastructure]).unwrap(),
        ..Snapshot::empty()
    }
}

/// A cluster on AWS in `example`, with its own addresses.
fn with_endpoints() -> Snapshot {
    let endpoints = json!([
        {"name": "ec2", "url": "https://ec2.example.com"},
        {"name": "s3", "url": CLUSTER_S3},
        {"name": "sts", "url": "https://sts.example.com/"},
    ]);
    cluster("AWS", json!({"region": "example", "serviceEndpoints": endpoints}))
}

fn in_region(region: &str) -> Snapshot {
    cluster("AWS", json!({"region": region}))
}

fn other_platform() -> Snapshot {
    cluster(
        "VSphere",
        json!({"region": "not-this-1", "serviceEndpoints": [{"name": "s3", "url": CLUSTER_S3}]}),
    )
}

fn s3_spec(spec: Value) -> S3Storage {
    serde_json::from_value(spec).unwrap()
}

fn of(spec: Value, snapshot: &Snapshot) -> Effective {
    Effective::of(&s3_spec(spec), snapshot, None).unwrap()
}

/// Address of STS as connections use it.
fn sts_url(effective: &Effective, fips: bool) -> Result<String, StorageError> {
    endpoint::sts_url(&effective.region, effective.sts_endpoint.as_deref(), fips)
}

fn refusal(spec: Value, snapshot: &Snapshot) -> String {
    let rejection = Effective::of(&s3_spec(spec), snapshot, None).unwrap_err();
    assert_eq!(rejection.reason, Reason::InvalidConfig);
    rejection.message
}

/// The registry, running on bucket `b1`, with these further variables.
fn running(snapshot: &mut Snapshot, further: &[(&str, &str)]) {
    let mut env = vec![json!({"name": "REGISTRY_STORAGE_S3_BUCKET", "value": "b1"})];
    env.extend(
        further
            .iter()
            .map(|(name, value)| json!({"name": name, "value": value})),
    );
    let deployment = json!({"spec": {"template": {"spec": {"containers": [{"name": "registry", "env": env}]}}}});
    let reference = crate::api::ObjectRef::new(Kind::Deployment, names::NAMESPACE, names::REGISTRY);
    snapshot.objects.insert(reference, deployment);
}

fn applied(snapshot: &mut Snapshot, s3: Value) {
    let config = json!({
        "metadata": {"name": "cluster"}, "spec": {"replicas": 1},
        "status": {"storage": {"s3": s3}, "storageManaged": false},
    });
    let reference = crate::api::ObjectRef::new(Kind::Config, "", names::CLUSTER);
    snapshot.objects.insert(reference, config);
    assert!(snapshot.config().unwrap().unwrap().status.unwrap().storage.s3.is_some());
}

// storage-s3 1
#[test]
fn an_empty_block_takes_the_region_of_the_cluster() {
    let effective = of(json!({}), &in_region("us-east-1"));
    assert_eq!(effective.spec, s3_spec(json!({"region": "us-east-1"})));
    assert_eq!(
        (effective.region.as_str(), effective.partition.name),
        ("us-east-1", "aws")
    );
    assert_eq!(
        (
            effective.endpoint,
            effective.rendered_endpoint,
            effective.virtual_hosted
        ),
        (None, None, false)
    );
}

// storage-s3 2
#[test]
fn an_empty_block_takes_the_endpoint_of_the_cluster() {
    let effective = of(json!({}), &with_endpoints());
    let expected = json!({"region": "example", "regionEndpoint": CLUSTER_S3, "virtualHostedStyle": true});
    assert_eq!(effective.spec, s3_spec(expected));
    assert_eq!(effective.endpoint.as_deref(), Some(CLUSTER_S3));
    assert_eq!(effective.rendered_endpoint.as_deref(), Some(CLUSTER_S3));
    assert!(effective.virtual_hosted);
    assert_eq!(sts_url(&effective, false).unwrap(), "https://sts.example.com");
}

// storage-s3 3
#[test]
fn another_region_than_the_cluster_s_is_public_for_operator_and_registry() {
    let effective = of(json!({"region": "us-west-1"}), &with_endpoints());
    assert_eq!(effective.spec, s3_spec(json!({"region": "us-west-1"})));
    assert_eq!((&effective.endpoint, &effective.rendered_endpoint), (&None, &None));
    assert_eq!(
        endpoint::s3_url(&effective.region, false).unwrap(),
        "https://s3.dualstack.us-west-1.amazonaws.com"
    );
    assert!(effective.dual_stack());
}

#[test]
fn the_cluster_s_region_written_out_takes_the_cluster_s_endpoint_too() {
    let effective = of(json!({"region": "example", "bucket": "b1"}), &with_endpoints());
    assert_eq!(effective, of(json!({"bucket": "b1"}), &with_endpoints()));
}

// storage-s3 4
#[test]
fn an_endpoint_alone_gets_a_region() {
    let endpoint = json!({"regionEndpoint": "https://minio.example.com:9000"});
    for (snapshot, from_credentials, region) in [
        (other_platform(), None, "us-east-1"),
        (Snapshot::empty(), None, "us-east-1"),
        (Snapshot::empty(), Some(""), "us-east-1"),
        (other_platform(), Some("eu-west-3"), "eu-west-3"),
        (in_region("eu-north-1"), Some("eu-west-3"), "eu-north-1"),
    ] {
        let effective = Effective::of(&s3_spec(endpoint.clone()), &snapshot, from_credentials).unwrap();
        assert_eq!(effective.region, region);
        assert_eq!(effective.spec.region.as_deref(), Some(region));
        assert_eq!(
            effective.rendered_endpoint.as_deref(),
            Some("https://minio.example.com:9000")
        );
    }
}

#[test]
fn the_region_of_the_credentials_counts_last() {
    let region = |spec: Value, snapshot: &Snapshot| {
        Effective::of(&s3_spec(spec), snapshot, Some("eu-west-3"))
            .unwrap()
            .region
    };
    assert_eq!(
        region(json!({"region": "us-west-1"}), &in_region("eu-north-1")),
        "us-west-1"
    );
    assert_eq!(region(json!({}), &in_region("eu-north-1")), "eu-north-1");
    assert_eq!(region(json!({}), &other_platform()), "eu-west-3");
    assert!(refusal(json!({}), &other_platform()).contains("spec.storage.s3.region"));
    assert!(refusal(json!({"region": ""}), &Snapshot::empty()).contains("spec.storage.s3.region"));
}

// storage-s3 5
#[test]
fn a_platform_without_its_own_member_has_no_region() {
    let without = cluster("AWS", Value::Null);
    assert!(refusal(json!({}), &without).contains("spec.storage.s3.region"));
    assert_eq!(of(json!({"region": "eu-west-1"}), &without).region, "eu-west-1");
}

#[test]
fn the_block_s_own_endpoint_wins_over_the_cluster_s() {
    let spec = json!({"regionEndpoint": "http://Minio.example.com:80/", "region": "example"});
    let effective = of(spec, &with_endpoints());
    assert_eq!(effective.endpoint.as_deref(), Some("http://minio.example.com"));
    assert_eq!(
        effective.rendered_endpoint.as_deref(),
        Some("http://Minio.example.com:80/")
    );
    assert!(!effective.virtual_hosted);
}

#[test]
fn what_is_no_endpoint_is_refused_and_no_password_is_repeated() {
    for url in [
        "minio.example.com",
        "minio:9000",
        "//minio",
        "ftp://minio",
        "https://",
        "https:///x",
        "https://minio/?a=b",
        "https://minio#x",
        "https://mi nio",
        " https://minio",
        "https:\\\\minio",
        "https://minio:99999",
        "https://me:hunter2@minio",
        "ftp://me:hunter2@minio",
    ] {
        let message = refusal(json!({"regionEndpoint": url}), &Snapshot::empty());
        assert!(message.contains("spec.storage.s3.regionEndpoint"), "{url}: {message}");
        assert!(
            message.contains("https://HOST") && !message.contains("hunter2"),
            "{message}"
        );
    }
    let bad = cluster(
        "AWS",
        json!({"region": "example", "serviceEndpoints": [{"name": "s3", "url": "s3.example"}]}),
    );
    assert!(refusal(json!({}), &bad).contains("infrastructures/cluster"));
    assert_eq!(of(json!({"region": "eu-west-1"}), &bad).endpoint, None);
}

#[test]
fn regions_and_buckets_that_would_lead_elsewhere_are_refused() {
    for region in [
        "evil.com/",
        "a.b",
        "test_region",
        "eu:west",
        "-a",
        "a-",
        "a b",
        "ü",
        &"a".repeat(64),
    ] {
        let message = refusal(json!({"region": region}), &Snapshot::empty());
        assert!(message.contains("region of spec.storage.s3"), "{message}");
        assert!(message.contains("regionEndpoint"), "{message}");
    }
    for bucket in ["a/b", "..", "a b", "a?b", "%2e", "b\n", &"b".repeat(256)] {
        let message = refusal(json!({"region": "eu-west-1", "bucket": bucket}), &Snapshot::empty());
        assert!(message.contains("spec.storage.s3.bucket"), "{message}");
    }
    for bucket in ["b", "my.bucket", "My_Bucket", "tenant:bucket", ""] {
        of(json!({"region": "eu-west-1", "bucket": bucket}), &Snapshot::empty());
    }
}

// storage-decisions 29, storage-decisions T14b
#[test]
fn at_an_endpoint_of_its_own_the_region_is_a_text_and_the_bucket_any_name_of_such_stores() {
    for region in [
        "test_region",
        "default",
        "us-east:1",
        "a.b",
        "eu.west_1:blue",
        "-a",
        "a-",
        "a b",
        "us-east-1,x",
        "1",
        "zone/1",
        &"a".repeat(64),
    ] {
        for url in ["http://store.example.com", "https://10.1.2.3:9000/s3"] {
            let spec = json!({"bucket": "test_bucket", "region": region, "regionEndpoint": url});
            let effective = of(spec, &Snapshot::empty());
            assert_eq!(effective.region, region);
            assert_eq!(effective.endpoint.as_deref(), Some(url));
        }
    }
    for region in ["ü", "a\nb", "a\u{7f}"] {
        let spec = json!({"region": region, "regionEndpoint": "http://store.example.com"});
        assert!(refusal(spec, &Snapshot::empty()).contains("signature"));
    }
    for bucket in [
        "test_bucket",
        "Test_Bucket.1",
        "tenant:bucket",
        "_x",
        "a",
        "x-",
        "..x",
        &"b".repeat(255),
        "1.2.3.4",
        "images--x-s3",
    ] {
        let spec = json!({"bucket": bucket, "region": "test_region", "regionEndpoint": "http://store.example.com"});
        assert_eq!(of(spec, &Snapshot::empty()).spec.bucket.as_deref(), Some(bucket));
    }
}

// storage-decisions T14a, storage-decisions T14b
#[test]
fn virtual_hosted_style_before_an_address_is_refused_because_the_registry_would_find_no_such_host() {
    for (url, bucket, refused) in [
        ("http://10.1.2.3:9000", "images", true),
        ("https://10.1.2.3", "", true),
        ("https://[fd00::1]:9000", "images", true),
        ("https://10.1.2.3", "my.images", false),
        ("http://10.1.2.3", "my.images", true),
        ("http://10.1.2.3", "test_bucket", false),
        ("http://store:9000", "images", false),
        ("https://store.example.com/v1", "images", false),
    ] {
        let spec = json!({"regionEndpoint": url, "bucket": bucket, "virtualHostedStyle": true});
        if refused {
            let message = refusal(spec.clone(), &Snapshot::empty());
            assert!(
                message.contains("virtualHostedStyle") && message.contains("regionEndpoint"),
                "{message}"
            );
        } else {
            of(spec.clone(), &Snapshot::empty());
        }
        let mut path = spec;
        path["virtualHostedStyle"] = json!(false);
        of(path, &Snapshot::empty());
    }
}

// storage-s3 10
// In part: 10 (which style).
#[test]
fn the_block_chooses_the_style_at_a_custom_endpoint() {
    for style in [false, true] {
        let spec = json!({"regionEndpoint": "https://minio", "virtualHostedStyle": style});
        assert_eq!(of(spec, &Snapshot::empty()).virtual_hosted, style);
    }
}

// storage-decisions 6
// In part: 6 (what makes it another location).
#[test]
fn the_location_is_the_endpoint_or_the_partition_and_the_bucket() {
    let location = |spec: Value, snapshot: &Snapshot| of(spec, snapshot).location();
    let at = |url: &str| location(json!({"regionEndpoint": url, "bucket": "b1"}), &Snapshot::empty()).unwrap();
    assert_eq!(
        at("https://minio.example.com:9000"),
        "https://minio.example.com:9000/b1"
    );
    for same in [
        "https://minio/",
        "HTTPS://MINIO",
        "https://minio:443",
        "https://minio//",
    ] {
        assert_eq!(at(same), "https://minio/b1");
    }
    // storage-decisions 24
    for same in [
        "https://minio/storage/v1/s3",
        "https://minio/storage//v1/s3/",
        "https://minio/x/../storage/v1/s3",
    ] {
        assert_eq!(at(same), "https://minio/storage/v1/s3/b1");
    }
    for other in [
        "http://minio",
        "https://minio:9000",
        "https://minio2",
        "https://minio/tenant",
    ] {
        assert_ne!(at(other), "https://minio/b1");
    }
    let named = json!({"bucket": "b1"});
    assert_eq!(location(named.clone(), &in_region("eu-west-1")).unwrap(), "aws/b1");
    assert_eq!(location(named.clone(), &in_region("us-east-1")).unwrap(), "aws/b1");
    assert_eq!(
        location(named.clone(), &in_region("us-gov-west-1")).unwrap(),
        "aws-us-gov/b1"
    );
    assert_eq!(location(named, &with_endpoints()).unwrap(), "https://s3.example.com/b1");
    assert_eq!(location(json!({}), &in_region("eu-west-1")), None);
    assert_eq!(location(json!({"bucket": ""}), &in_region("eu-west-1")), None);
}

#[test]
fn the_operator_s_own_name_holds_cluster_and_region() {
    let snapshot = in_region("eu-west-1");
    let name = of(json!({}), &snapshot).deterministic_bucket(&snapshot).unwrap();
    assert_eq!(name, "blue-x7k2p-image-registry-eu-west-1");
    let nameless = of(json!({"region": "eu-west-1"}), &Snapshot::empty());
    nameless.deterministic_bucket(&Snapshot::empty()).unwrap_err();
}

// storage-s3 39
// In part: 39 (what is compared).
#[test]
fn what_the_cluster_fills_in_is_no_difference_in_either_direction() {
    let same = |a: Value, b: Value, snapshot: &Snapshot| {
        let (a, b) = (s3_spec(a), s3_spec(b));
        let forth = Effective::same(&a, &b, snapshot, None);
        assert_eq!(forth, Effective::same(&b, &a, snapshot, None));
        forth
    };
    let public = in_region("eu-west-1");
    let bare = json!({"bucket": "b1"});
    assert!(same(
        bare.clone(),
        json!({"bucket": "b1", "region": "eu-west-1"}),
        &public
    ));
    assert!(!same(
        bare.clone(),
        json!({"bucket": "b1", "region": "eu-west-2"}),
        &public
    ));
    assert!(!same(
        bare.clone(),
        json!({"bucket": "b2", "region": "eu-west-1"}),
        &public
    ));
    assert!(!same(bare.clone(), json!({"bucket": "b1", "keyID": "k"}), &public));
    let zeros = json!({
        "bucket": "b1", "region": "eu-west-1", "encrypt": false, "virtualHostedStyle": false,
        "trustedCA": {"name": ""}, "regionEndpoint": "", "chunkSizeMiB": 0,
    });
    assert!(same(bare.clone(), zeros, &public));

    let own = with_endpoints();
    let full = json!({"bucket": "b1", "region": "example", "regionEndpoint": CLUSTER_S3, "virtualHostedStyle": true});
    assert!(same(bare.clone(), full.clone(), &own));
    assert!(same(json!({"bucket": "b1", "region": "example"}), full, &own));
    let elsewhere = json!({"bucket": "b1", "region": "example", "regionEndpoint": "https://old.example.com"});
    assert!(!same(bare.clone(), elsewhere, &own));
    // A spec that means nothing is still compared, as it is written.
    assert!(same(bare.clone(), bare.clone(), &Snapshot::empty()));
    assert!(!same(bare, json!({"bucket": "b2"}), &Snapshot::empty()));
}

#[test]
fn a_registry_that_runs_without_the_cluster_s_endpoint_keeps_doing_so_until_the_block_is_edited() {
    let spec = json!({"bucket": "b1", "region": "example"});
    let rendered = |spec: &Value, snapshot: &Snapshot| {
        let effective = of(spec.clone(), snapshot);
        assert_eq!(effective.endpoint.as_deref(), Some(CLUSTER_S3));
        assert!(effective.virtual_hosted && effective.dual_stack());
        (effective.rendered_endpoint.is_some(), effective.spec)
    };
    let full = json!({"bucket": "b1", "region": "example", "regionEndpoint": CLUSTER_S3, "virtualHostedStyle": true});

    let mut snapshot = with_endpoints();
    assert_eq!(rendered(&spec, &snapshot), (true, s3_spec(full.clone())));
    running(&mut snapshot, &[]);
    assert_eq!(rendered(&spec, &snapshot), (false, s3_spec(spec.clone())));
    applied(&mut snapshot, spec.clone());
    assert_eq!(rendered(&spec, &snapshot), (false, s3_spec(spec.clone())));
    assert_eq!(
        of(spec.clone(), &snapshot).location().unwrap(),
        "https://s3.example.com/b1"
    );

    let edited = json!({"bucket": "b1", "region": "example", "chunkSizeMiB": 10});
    assert!(rendered(&edited, &snapshot).0);
    assert_eq!(rendered(&full, &snapshot), (true, s3_spec(full.clone())));
    assert!(rendered(&json!({"bucket": "b2", "region": "example"}), &snapshot).0);

    running(&mut snapshot, &[("REGISTRY_STORAGE_S3_REGIONENDPOINT", CLUSTER_S3)]);
    assert_eq!(rendered(&spec, &snapshot), (true, s3_spec(full)));
}

#[test]
fn requests_are_signed_for_the_effective_region() {
    let signed = |region: &str| {
        let effective = of(json!({"region": region}), &Snapshot::empty());
        endpoint::signing_region(&effective.region).to_owned()
    };
    assert_eq!(signed("aws-global"), "us-east-1");
    assert_eq!(signed("eu-west-1"), "eu-west-1");
}

// storage-s3 16, storage-s3 17
// In part: 16 (where to); 17 (where to).
#[test]
fn sts_is_the_region_s_or_the_cluster_s_own() {
    let public = of(json!({}), &in_region("us-east-2"));
    assert_eq!(sts_url(&public, false).unwrap(), "https://sts.us-east-2.amazonaws.com");
    assert_eq!(
        sts_url(&of(json!({}), &with_endpoints()), true).unwrap(),
        "https://sts.example.com"
    );
    sts_url(&public, true).unwrap();
    let without_fips = of(json!({"region": "eu-west-1"}), &Snapshot::empty());
    endpoint::s3_url(&without_fips.region, true).unwrap_err();
}

// issue 13: a private endpoint of IBM Cloud Object Storage, used as any other S3 store
#[test]
fn a_private_endpoint_of_ibm_cloud_object_storage_is_a_store_with_a_region_of_its_own() {
    let endpoint = "https://s3.private.jp-tok.cloud-object-storage.appdomain.cloud";
    let effective = of(
        json!({"bucket": "b1", "region": "jp-tok", "regionEndpoint": endpoint, "virtualHostedStyle": false}),
        &other_platform(),
    );
    assert_eq!(effective.region, "jp-tok");
    assert_eq!(effective.endpoint.as_deref(), Some(endpoint));
    assert_eq!(effective.rendered_endpoint.as_deref(), Some(endpoint));
    assert!(!effective.virtual_hosted);
    assert_eq!(effective.location().as_deref(), Some(format!("{endpoint}/b1").as_str()));
}
