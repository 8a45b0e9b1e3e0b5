//! What people hit.

use image_registry_operator::config::resolve::Reason;
use image_registry_operator::storage::model::error::ErrorClass;
use serde_json::json;

use super::cluster::IbmCluster;

// storage-ibmcos 5, issue 13
#[tokio::test]
async fn ibmcos_on_another_platform_is_told_without_a_request() {
    for platform in [
        json!({"type": "None"}),
        json!({"type": "AWS", "aws": {"region": "us-east-1"}}),
        json!({"type": "IBMCloud"}),
        json!({}),
    ] {
        let mut cluster = IbmCluster::new("elsewhere", json!({"ibmcos": {}})).await;
        cluster.edit_infrastructure(|status| status["platformStatus"] = platform);
        let error = cluster.settle().await.error.unwrap();
        assert_eq!(error.class, ErrorClass::Invalid(Reason::InvalidConfig));
        assert!(error.message.contains("spec.storage.ibmcos.location"), "{error}");
        assert_eq!(cluster.operations(), [] as [&str; 0]);
    }
}

// storage-ibmcos 3, 4, issue 13
#[tokio::test]
async fn power_vs_has_the_locations_of_its_regions() {
    let mut cluster = IbmCluster::new("power", json!({"ibmcos": {}})).await;
    let url = cluster.gate.url();
    let power = |region: &str| json!({"type": "PowerVS", "powervs": {"region": region, "resourceGroup": "blue-group"}});
    cluster.edit_infrastructure(|status| status["platformStatus"] = power("xyz"));
    let error = cluster.settle().await.error.unwrap();
    assert_eq!(error.class, ErrorClass::Invalid(Reason::InvalidConfig));
    assert!(error.message.contains("xyz"), "{error}");
    assert_eq!(cluster.operations(), [] as [&str; 0]);
    cluster.edit_infrastructure(|status| status["platformStatus"] = power("mad"));
    cluster.set_endpoints(&[
        ("COS", &url),
        ("IAM", &url),
        ("ResourceController", &url),
        ("ResourceManager", &url),
        ("Power", "x"),
    ]);
    cluster.converge().await;
    assert_eq!(cluster.field("location"), Some("eu-de"));
    assert_eq!(
        cluster.ibm.bucket(cluster.field("bucket").unwrap()).unwrap().1,
        "eu-de-smart"
    );
}

// storage-ibmcos 2, 6, 7, 8, issue 13
#[tokio::test]
async fn all_addresses_of_the_platform_are_accepted_and_ours_are_used() {
    for (number, (iam, version)) in [
        ("", ""),
        ("/", "/v2"),
        ("/identity/token", "/v2/"),
        ("/identity/token/", "/api/v2"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut cluster = IbmCluster::new(&format!("addresses-{number}"), json!({"ibmcos": {}})).await;
        let url = cluster.gate.url();
        let (iam, resources) = (format!("{url}{iam}"), format!("{url}{version}"));
        cluster.set_endpoints(&[
            ("IAM", &iam),
            ("ResourceController", &resources),
            ("ResourceManager", &resources),
            ("COS", &format!("{url}{version}")),
            ("DNSServices", "https://private.api.dns-svcs.cloud.ibm.com/v1"),
            (
                "GlobalSearch",
                "https://api.private.global-search-tagging.cloud.ibm.com",
            ),
            ("GlobalTagging", "not an address"),
            ("VPC", "https://us-east.private.iaas.cloud.ibm.com/v1"),
            ("cos", "https://lower-case.example"),
        ]);
        cluster.converge().await;
        let asked = cluster.gate.asked();
        let paths: std::collections::BTreeSet<_> = asked.iter().map(|asked| asked.path.clone()).collect();
        assert!(
            paths.contains("/identity/token") && paths.contains("/v2/resource_instances"),
            "{paths:?}"
        );
        assert!(
            !paths
                .iter()
                .any(|path| path.contains("/v2/v2") || path.contains("token/identity")),
            "{paths:?}"
        );
        assert_eq!(
            cluster.variable("REGISTRY_STORAGE_S3_REGIONENDPOINT").unwrap(),
            format!("Text({url:?})")
        );
    }
}
