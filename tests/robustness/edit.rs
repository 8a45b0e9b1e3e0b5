//! Edits of the user in the middle of a reconcile.

use devcluster::stores::Latch;
use http::Method;
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::operator::Operator;
use crate::support::proxy::{Fault, ProxiedRequest, Proxy};
use crate::support::{TestCluster, config_ref, default_claim, deployment, is, operand, service, uid};
use crate::{config_with_claim, empty_cluster, registry_behind_proxy};

/// A bring-up that is stopped in its storage step: the proxy holds the request that creates the claim.
struct Slow {
    operator: Operator,
    proxy: Proxy,
    answer: Latch,
}

impl Slow {
    async fn start(cluster: &TestCluster) -> Self {
        let config = config_with_claim(cluster).await;
        cluster.create(config).await;
        let (proxy, answer) = (cluster.proxy().await, Latch::closed());
        let held = answer.clone();
        proxy.rule(move |request| {
            if request.is(&Method::POST, "/persistentvolumeclaims") {
                Fault::Hold(held.clone())
            } else {
                Fault::Pass
            }
        });
        let operator = cluster.operator_at(&proxy.kubeconfig(), &[]);
        let asks = |requests: &[ProxiedRequest]| {
            requests
                .iter()
                .any(|request| request.is(&Method::POST, "/persistentvolumeclaims"))
        };
        proxy.until("claim", asks).await;
        Self {
            operator,
            proxy,
            answer,
        }
    }
}

// lifecycle 71, 72; storage-core 23
#[tokio::test]
async fn whatever_the_user_edits_during_a_slow_storage_step_survives() {
    let cluster = empty_cluster().await;
    let slow = Slow::start(&cluster).await;
    let edit = json!({
        "replicas": 3,
        "logLevel": "Debug",
        "operatorLogLevel": "Trace",
        "logging": 1,
        "httpSecret": "the user's own",
        "defaultRoute": true,
        "routes": [{"name": "kites", "hostname": "kites.example.test"}],
        "disableRedirect": true,
        "readOnly": true,
        "proxy": {"noProxy": ".example.test"},
        "requests": {"read": {"maxRunning": 7}},
        "resources": {"requests": {"cpu": "30m"}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "kites", "operator": "Exists"}],
        "rolloutStrategy": "Recreate",
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 2, "topologyKey": "kubernetes.io/hostname",
                                       "whenUnsatisfiable": "ScheduleAnyway",
                                       "labelSelector": {"matchLabels": {"docker-registry": "default"}}}],
        "unsupportedConfigOverrides": {"deployment": {"annotations": {"kites": "fly"}}},
    });
    let labels = json!({"labels": {"kites": "fly"}, "annotations": {"kites": "fly"}});
    cluster
        .patch(&config_ref(), json!({"metadata": labels, "spec": edit}))
        .await;
    slow.answer.open();
    let config = cluster.until_up().await;
    for (field, value) in edit.as_object().unwrap() {
        assert_eq!(config["spec"][field], *value, "spec.{field}");
    }
    for kind in ["labels", "annotations"] {
        assert_eq!(config["metadata"][kind]["kites"], "fly");
    }
    let storage = json!({"pvc": {"claim": names::DEFAULT_CLAIM}, "managementState": "Managed"});
    assert_eq!(config["spec"]["storage"], storage);
    assert_eq!(config["status"]["storage"], storage);
    let deployment = cluster.get(&deployment()).await.unwrap();
    assert_eq!(deployment["spec"]["replicas"], 3);
    let created = |request: &&ProxiedRequest| request.is(&Method::POST, "/persistentvolumeclaims");
    assert_eq!(slow.proxy.requests().iter().filter(created).count(), 1);
    slow.operator.kill().await;
}

// lifecycle 71, 72
#[tokio::test]
async fn unmanaged_during_a_slow_storage_step_stops_the_bring_up_and_is_not_reverted() {
    let cluster = empty_cluster().await;
    let slow = Slow::start(&cluster).await;
    let configs = cluster.record(&config_ref()).await;
    let before = cluster.config().await["spec"].clone();
    cluster.edit(json!({"managementState": "Unmanaged"})).await;
    slow.answer.open();
    cluster
        .until_config("unmanaged", |c| is(c, "Available", "True", "Unmanaged"))
        .await;
    let states: Vec<Value> = configs
        .versions()
        .into_iter()
        .map(|(_, config)| config["spec"]["managementState"].clone())
        .collect();
    let reverted = states
        .iter()
        .skip_while(|state| *state != "Unmanaged")
        .any(|state| state != "Unmanaged");
    assert!(!reverted, "{states:?}");
    cluster.settle().await;
    // Only the user has changed the Config: what the held step found is not stored.
    let mut expected = before;
    expected["managementState"] = json!("Unmanaged");
    assert_eq!(cluster.config().await["spec"], expected);
    // Nothing is made that belongs to the registry.
    for object in [
        deployment(),
        service(),
        operand(Kind::Secret, names::PRIVATE_SECRET),
        operand(Kind::Secret, names::PULL_SECRET_COPY),
        operand(Kind::ServiceAccount, names::REGISTRY_SERVICE_ACCOUNT),
        operand(Kind::PodDisruptionBudget, names::REGISTRY),
        operand(Kind::NetworkPolicy, names::REGISTRY_NETWORK_POLICY),
    ] {
        assert_eq!(cluster.get(&object).await, None, "{object}");
    }
    slow.operator.kill().await;
}

// storage-core 23, for the storage itself: what was made for the old choice stays and is not used
#[tokio::test]
async fn other_storage_chosen_during_a_slow_storage_step_is_what_the_registry_gets() {
    let cluster = empty_cluster().await;
    let slow = Slow::start(&cluster).await;
    cluster.edit(json!({"storage": {"pvc": null, "emptyDir": {}}})).await;
    slow.answer.open();
    let config = cluster.until_up().await;
    let storage = json!({"emptyDir": {}, "managementState": "Managed"});
    assert_eq!(config["spec"]["storage"], storage);
    assert_eq!(config["status"]["storage"], storage);
    let deployment = cluster.get(&deployment()).await.unwrap();
    assert!(
        !deployment["spec"]["template"]
            .to_string()
            .contains("persistentVolumeClaim")
    );
    assert!(cluster.get(&default_claim()).await.is_some());
    slow.operator.kill().await;
}

// lifecycle 115
#[tokio::test]
async fn a_foreign_finalizer_that_goes_during_the_last_pass_of_a_removal_stays_away() {
    const THEIRS: &str = "example.com/theirs";
    let cluster = empty_cluster().await;
    let (proxy, operator) = registry_behind_proxy(&cluster).await;
    let config = cluster
        .patch(
            &config_ref(),
            json!({"metadata": {"finalizers": [THEIRS, names::FINALIZER]}}),
        )
        .await;
    cluster.settle().await;
    let answer = Latch::closed();
    let held = answer.clone();
    proxy.rule(move |request| {
        if request.is(&Method::PATCH, "/configs/cluster") {
            Fault::Hold(held.clone())
        } else {
            Fault::Pass
        }
    });
    let begun = proxy.requests().len();
    let configs = cluster.record(&config_ref()).await;
    cluster
        .api(&config_ref())
        .delete(names::CLUSTER, &DeleteParams::default())
        .await
        .unwrap();
    let releases = |request: &&ProxiedRequest| request.is(&Method::PATCH, "/configs/cluster");
    proxy
        .until("the removal of the finalizer", |requests| {
            requests.iter().skip(begun).any(|request| releases(&request))
        })
        .await;
    cluster
        .patch(&config_ref(), json!({"metadata": {"finalizers": [names::FINALIZER]}}))
        .await;
    answer.open();
    let another = |found: &Value| uid(found) != uid(&config);
    cluster.until_config("created again", another).await;
    // The operator names its own finalizer alone, so that nothing comes back and nothing is refused.
    let sent: Vec<_> = proxy
        .requests()
        .into_iter()
        .skip(begun)
        .filter(|request| releases(&request))
        .collect();
    assert!(
        sent.iter().all(|request| !request.body.to_string().contains(THEIRS)),
        "{sent:?}"
    );
    let failed = |(_, config): &(_, Value)| is(config, "Degraded", "True", "RemoveFailed");
    assert!(!configs.versions().iter().any(failed), "RemoveFailed was shown");
    operator.kill().await;
}
