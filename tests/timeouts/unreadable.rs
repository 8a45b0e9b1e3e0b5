//! A kind that the operator cannot read, and without which it works.

use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::{condition, is, is_up};

// lifecycle 32; section 3.13: without the cluster's TLS profile, the settings observed before stay
#[tokio::test]
async fn a_tls_profile_that_cannot_be_read_blocks_nothing_and_is_reported() {
    let cluster = empty_cluster().await;
    cluster.platform("Libvirt").await;
    let proxy = cluster.proxy().await;
    proxy.refuse(403, |request| request.path.contains("/apiservers"));
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    let config = cluster.until_config("created", |_| true).await;
    assert_eq!(config["spec"].get("observedConfig"), Some(&Value::Null));
    let config = cluster.until_config("up", is_up).await;
    assert!(is(&config, "ConfigObservationDegraded", "True", "Error"), "{config}");
    let (_, _, message) = condition(&config, "ConfigObservationDegraded");
    assert!(message.contains("APIServer cluster cannot be read"), "{message}");
    assert!(message.contains("403"), "{message}");
    assert_eq!(config["spec"].get("observedConfig"), Some(&Value::Null));

    // The right comes back.
    proxy.pass();
    let observed = |config: &Value| {
        config["spec"]["observedConfig"]["servingInfo"]["minTLSVersion"] == json!("VersionTLS12")
            && is(config, "ConfigObservationDegraded", "False", "")
    };
    cluster.until_config("with the profile", observed).await;

    operator.kill().await;
    cluster.clear_lease().await;
    proxy.refuse(403, |request| request.path.contains("/apiservers"));
    let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
    let reported = |config: &Value| is(config, "ConfigObservationDegraded", "True", "Error");
    let config = cluster.until_config("without the profile again", reported).await;
    let kept = &config["spec"]["observedConfig"]["servingInfo"]["minTLSVersion"];
    assert_eq!(kept, "VersionTLS12");
    assert!(operator.stop().await.success());
}
