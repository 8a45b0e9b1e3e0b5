//! An input of the Deployment that never arrives.

use std::time::Duration;

use devcluster::standin::{Control, StandIn};
use image_registry_operator::api::Kind;
use image_registry_operator::names;
use jiff::Timestamp;

use crate::empty_cluster;
use crate::support::{operand, resource_version};

// decision 9: the wait ends 30 s after the Service was made, a restart does not prolong it; a Deployment that exists never
// waits, and an input that comes late is the next rollout
#[tokio::test]
async fn a_missing_input_delays_the_deployment_until_the_service_is_thirty_seconds_old() {
    let cluster = empty_cluster().await;
    cluster.platform("Libvirt").await;
    let control = Control::hold([StandIn::ServingCertificate]);
    control.set(&cluster.client).await.unwrap();
    let recorder = cluster.record_rollout().await;
    let operator = cluster.operator().await;
    let service = cluster.until_present(&crate::support::service()).await;
    let created: Timestamp = service["metadata"]["creationTimestamp"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    cluster
        .until_waiting_for_inputs("waiting for the certificate", |message| {
            message.contains(names::SERVING_CERT_SECRET)
        })
        .await;
    // Nothing changes while the operator waits.
    let before = cluster.config().await;
    let age = Duration::try_from(Timestamp::now().duration_since(created)).unwrap();
    tokio::time::sleep(Duration::from_secs(20).saturating_sub(age)).await;
    assert_eq!(resource_version(&cluster.config().await), resource_version(&before));
    operator.kill().await;
    cluster.clear_lease().await;
    let operator = cluster.operator().await;
    cluster.until_up().await;
    let after = recorder.deployment_created() - created.as_microsecond();
    let after = Duration::from_micros(after.try_into().unwrap());
    // The API server truncates creation times to whole seconds.
    assert!(
        after >= Duration::from_secs(30) && after <= Duration::from_secs(32),
        "{after:?}"
    );
    assert_eq!(recorder.replica_sets().len(), 1);
    Control::default().set(&cluster.client).await.unwrap();
    let secret = cluster
        .until_present(&operand(Kind::Secret, names::SERVING_CERT_SECRET))
        .await;
    assert!(secret["data"]["tls.crt"].is_string());
    let second_rollout = async {
        while recorder.replica_sets().len() != 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), second_rollout)
        .await
        .expect("the late certificate causes a rollout");
    operator.kill().await;
}
