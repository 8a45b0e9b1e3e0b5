//! Alibaba Cloud: nothing by default, and OSS as soon as the administrator names it.

use devcluster::stores::{Authority, ForwardProxy, Gate, Hosts, Moto, ProxyOptions};
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::support::{condition, shared_cluster, simulated};
use crate::{environment, file, is_settled};

/// With this region, AWS asks for no LocationConstraint either.
const REGION: &str = "us-east-1";
const HOSTS: &str = "*.s3.oss-us-east-1-internal.aliyuncs.com";

// lifecycle 25, issue 13
#[tokio::test]
async fn a_cluster_on_alibaba_cloud_gets_a_registry_on_oss_when_the_spec_names_it() {
    let moto = Moto::shared().await.unwrap();
    let cluster = shared_cluster(simulated("cloud-storage")).await;
    cluster.delete_events().await;
    let authority = Authority::new("oss-ca").unwrap();
    let gate = Gate::start(moto.target(), Some(&authority), &[HOSTS.to_owned()]).unwrap();
    let proxy = ForwardProxy::start(ProxyOptions {
        hosts: Hosts::new().with(HOSTS, gate.target().address),
        credentials: None,
    })
    .unwrap();
    let roots = tempfile::tempdir().unwrap();
    let pem = roots.path().join("roots.pem");
    std::fs::write(&pem, authority.pem()).unwrap();
    let platform = json!({"type": "AlibabaCloud", "alibabaCloud": {"region": REGION}});
    let status = json!({"platform": "AlibabaCloud", "platformStatus": platform, "infrastructureName": "kw-oss"});
    let reference = ObjectRef::new(Kind::Infrastructure, "", names::CLUSTER);
    cluster.patch_status(&reference, json!({"status": status})).await;
    let reference = ObjectRef::new(Kind::Proxy, "", names::CLUSTER);
    let url = proxy.url();
    cluster.patch(&reference, json!({"spec": {"httpsProxy": url}})).await;
    let in_use = |object: Option<&Value>| object.is_some_and(|object| object["status"]["httpsProxy"] == json!(url));
    cluster.until(&reference, "in use", in_use).await;
    let statements = json!([{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]);
    let keys = moto.user("kw-oss", &statements).await.unwrap();
    let operator = cluster
        .operator_with(&[("HTTPS_PROXY", &url), ("SSL_CERT_FILE", &pem.display().to_string())])
        .await;
    let config = cluster
        .until_config("there", |config| config["spec"]["managementState"] == "Removed")
        .await;
    assert_eq!(config["spec"]["storage"], json!({}));
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::USER_SECRET, "namespace": names::NAMESPACE},
        "stringData": {
            "REGISTRY_STORAGE_OSS_ACCESSKEYID": keys.id, "REGISTRY_STORAGE_OSS_ACCESSKEYSECRET": keys.secret,
        },
    });
    cluster.create(secret).await;
    cluster
        .edit(json!({"managementState": "Managed", "storage": {"oss": {}}}))
        .await;
    let config = cluster.until_config("up", is_settled).await;
    let bucket = "kw-oss-image-registry-us-east-1";
    assert_eq!(config["spec"]["storage"]["oss"]["bucket"], bucket);
    assert_eq!(config["status"]["storage"]["managementState"], "Managed");
    let (status, reason, _) = condition(&config, "StorageExists");
    assert!(status == "True" && !reason.is_empty(), "{reason}");
    let variables = environment(&cluster).await;
    assert_eq!(variables["REGISTRY_STORAGE"], "s3");
    let endpoint = "https://s3.oss-us-east-1-internal.aliyuncs.com";
    assert_eq!(variables["REGISTRY_STORAGE_S3_REGIONENDPOINT"], endpoint);
    assert_eq!(variables["REGISTRY_STORAGE_S3_FORCEPATHSTYLE"], "false");
    assert_eq!(file(&cluster, "credentials").await.unwrap(), keys.profile());
    let metrics = operator.metrics().await;
    assert!(
        metrics.contains("image_registry_storage_type{storage=\"OSS\"} 1"),
        "{metrics}"
    );
    cluster.edit(json!({"managementState": "Removed"})).await;
    cluster
        .until_config("removed", |config| config["status"]["storage"] == json!({}))
        .await;
    assert!(gate.operations().contains(&"DeleteBucket".to_owned()));
    let log = cluster.devcluster.audit().unwrap();
    let ours = log.by_service_account(names::NAMESPACE, names::OPERATOR_DEPLOYMENT);
    assert!(ours.denied().is_empty(), "{}", ours.denied());
    let log = operator.log();
    operator.stop().await;
    assert!(!log.contains(&keys.secret), "the secret is in the log");
}
