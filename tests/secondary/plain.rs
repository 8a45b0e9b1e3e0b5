//! All controllers on a Kubernetes cluster without the platform's APIs, in memory. The time of day is the test's: it jumps by months.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use image_registry_operator::runtime::clock::Clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::memory::Server;
use crate::orders::operator;
use crate::support::{
    certificates_map, cluster_operator, config_ref, cron_job, default_route, deployment, image_pruner, is, operand,
};

/// APIs that only the platform serves.
const PLATFORM: [&str; 11] = [
    "/apis/config.openshift.io/v1/apiservers",
    CLUSTER_OPERATORS,
    "/apis/config.openshift.io/v1/clusterversions",
    "/apis/config.openshift.io/v1/featuregates",
    "/apis/config.openshift.io/v1/images",
    "/apis/config.openshift.io/v1/infrastructures",
    "/apis/config.openshift.io/v1/proxies",
    IMAGES,
    "/apis/operator.openshift.io",
    ROUTES,
    "/apis/security.openshift.io",
];
const IMAGES: &str = "/apis/image.openshift.io";
const ROUTES: &str = "/apis/route.openshift.io";
const CLUSTER_OPERATORS: &str = "/apis/config.openshift.io/v1/clusteroperators";

/// A clock that a test sets.
#[derive(Clone)]
struct Moving {
    began: (Timestamp, tokio::time::Instant),
    ahead: Arc<Mutex<SignedDuration>>,
}

impl Moving {
    fn new() -> Self {
        Self {
            began: (Timestamp::now(), tokio::time::Instant::now()),
            ahead: Arc::default(),
        }
    }

    fn jump(&self, days: i64) {
        *self.ahead.lock().unwrap() = SignedDuration::from_hours(24 * days);
    }
}

impl Clock for Moving {
    fn now(&self) -> Timestamp {
        let (start, instant) = self.began;
        start + SignedDuration::try_from(instant.elapsed()).unwrap() + *self.ahead.lock().unwrap()
    }
}

fn secret(name: &str) -> ObjectRef {
    operand(Kind::Secret, name)
}

struct Plain {
    server: Server,
    clock: Moving,
}

impl Plain {
    fn data(&self, reference: &ObjectRef, key: &str) -> String {
        let object = self
            .server
            .get(reference)
            .unwrap_or_else(|| panic!("{reference} is missing"));
        object["data"][key].as_str().unwrap_or_default().to_owned()
    }

    fn serving(&self) -> String {
        self.data(&secret(names::SERVING_CERT_SECRET), "tls.crt")
    }

    fn authority(&self) -> String {
        self.data(&secret(names::OPERATOR_CA_SECRET), "tls.crt")
    }

    /// Number of CAs that nodes trust for the registry.
    fn trusted(&self) -> usize {
        let key = "image-registry.openshift-image-registry.svc..5000";
        self.data(&certificates_map(), key).matches("BEGIN CERTIFICATE").count()
    }

    /// How often the pods were replaced, the first ones included.
    fn rollouts(&self) -> i64 {
        self.server.get(&deployment()).unwrap()["metadata"]["generation"]
            .as_i64()
            .unwrap()
    }

    /// Lets some minutes pass, in which the operator comes to rest.
    async fn rest(&self) {
        tokio::time::sleep(Duration::from_mins(25)).await;
        let writes = self.server.writes();
        tokio::time::sleep(Duration::from_mins(25)).await;
        assert_eq!(self.server.writes(), writes, "the operator does not stop writing");
    }
}

/// Runs the controllers on a cluster without the platform, with a Config of this spec if there is one, beside a script.
fn simulate(spec: Option<Value>, script: impl AsyncFnOnce(&Plain)) {
    let executor = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    executor.block_on(async {
        let server = Server::start(7);
        for path in PLATFORM {
            server.leave_out(path);
        }
        server.merge(&ObjectRef::new(Kind::Namespace, "", names::NAMESPACE), &json!({}));
        server.merge(&ObjectRef::new(Kind::Node, "", "a"), &json!({"spec": {}}));
        if let Some(spec) = spec {
            server.merge(&config_ref(), &json!({"spec": spec}));
        }
        let plain = Plain {
            server,
            clock: Moving::new(),
        };
        tokio::select! {
            ended = operator(&plain.server, Arc::new(plain.clock.clone())) => panic!("the operator ended: {ended:?}"),
            () = script(&plain) => {}
        }
    });
}

fn managed() -> Value {
    json!({"managementState": "Managed", "replicas": 1, "storage": {"emptyDir": {}}, "defaultRoute": true})
}

// In part: kubernetes 1 (the state of a new cluster)
#[test]
fn a_new_cluster_has_no_registry_and_no_certificates() {
    simulate(None, async |plain| {
        plain.rest().await;
        let config = plain.server.get(&config_ref()).expect("the Config is created");
        assert_eq!(config["spec"]["managementState"], "Removed");
        assert!(is(&config, "Available", "True", "Removed"), "{}", config["status"]);
        for name in [names::OPERATOR_CA_SECRET, names::SERVING_CERT_SECRET] {
            assert!(plain.server.get(&secret(name)).is_none(), "{name}");
        }
    });
}

// kubernetes 7
#[test]
fn a_certificate_is_renewed_after_60_days_and_a_ca_before_its_end_with_one_rollout_each() {
    simulate(Some(managed()), async |plain| {
        plain.rest().await;
        let (serving, authority) = (plain.serving(), plain.authority());
        assert_eq!((plain.rollouts(), plain.trusted()), (1, 1));
        plain.clock.jump(59);
        plain.rest().await;
        assert_eq!((plain.serving(), plain.rollouts()), (serving.clone(), 1));
        plain.clock.jump(60);
        plain.rest().await;
        assert_ne!(plain.serving(), serving);
        assert_eq!(
            (plain.authority(), plain.rollouts(), plain.trusted()),
            (authority.clone(), 2, 1)
        );
        // A year before the end of the CA. The certificate has ended, too: the cluster was off for years.
        plain.clock.jump(9 * 365 + 1);
        plain.rest().await;
        assert_ne!(plain.authority(), authority);
        assert_eq!(plain.trusted(), 2);
        let serving = plain.serving();
        plain.clock.jump(9 * 365 + 62);
        plain.rest().await;
        assert_ne!(plain.serving(), serving);
        plain.clock.jump(10 * 365 + 1);
        plain.rest().await;
        assert_eq!(plain.trusted(), 1, "the earlier CA has ended");
    });
}

// kubernetes 9
#[test]
fn a_deleted_ca_is_made_anew_with_one_rollout() {
    simulate(Some(managed()), async |plain| {
        plain.rest().await;
        let (serving, authority) = (plain.serving(), plain.authority());
        plain.server.delete(&secret(names::OPERATOR_CA_SECRET));
        plain.rest().await;
        assert_ne!(plain.authority(), authority);
        assert_eq!((plain.serving(), plain.trusted(), plain.rollouts()), (serving, 2, 2));
    });
}

// kubernetes 8
#[test]
fn a_certificate_of_others_is_used_and_never_written() {
    simulate(Some(managed()), async |plain| {
        plain.rest().await;
        let authority = plain.data(&secret(names::OPERATOR_CA_SECRET), "ca.crt");
        let theirs = json!({"tls.crt": "dGhlaXJz", "tls.key": "a2V5", "ca.crt": authority});
        plain.server.merge(
            &secret(names::SERVING_CERT_SECRET),
            &json!({"metadata": {"labels": null}, "data": theirs}),
        );
        plain.rest().await;
        plain.server.delete(&secret(names::OPERATOR_CA_SECRET));
        plain.rest().await;
        plain.clock.jump(100);
        plain.rest().await;
        let found = plain.server.get(&secret(names::SERVING_CERT_SECRET)).unwrap();
        assert_eq!(found["data"], theirs);
        assert!(plain.server.get(&secret(names::OPERATOR_CA_SECRET)).is_none());
        assert_eq!(plain.trusted(), 1, "their CA");
        plain.server.delete(&secret(names::SERVING_CERT_SECRET));
        plain.rest().await;
        assert_ne!(plain.serving(), "dGhlaXJz");
        assert_eq!(plain.trusted(), 1, "the operator's CA");
    });
}

#[test]
fn a_clock_that_jumps_to_and_fro_causes_few_rollouts() {
    simulate(Some(managed()), async |plain| {
        plain.rest().await;
        for _ in 0..60 {
            plain.clock.jump(11 * 365);
            tokio::time::sleep(Duration::from_secs(30)).await;
            plain.clock.jump(0);
            tokio::time::sleep(Duration::from_secs(30)).await;
        }
        // An hour with 120 jumps: every ten minutes a CA, which is published, then used, and the earlier one dropped.
        assert!(plain.rollouts() <= 20, "{}", plain.rollouts());
        plain.rest().await;
    });
}

#[test]
fn without_a_registry_its_certificate_is_gone_and_the_ca_stays() {
    simulate(Some(managed()), async |plain| {
        plain.rest().await;
        let authority = plain.authority();
        plain
            .server
            .merge(&config_ref(), &json!({"spec": {"managementState": "Removed"}}));
        plain.rest().await;
        let config = plain.server.get(&config_ref()).unwrap();
        assert!(is(&config, "Progressing", "False", "Removed"), "{}", config["status"]);
        assert!(plain.server.get(&secret(names::SERVING_CERT_SECRET)).is_none());
        assert_eq!(plain.authority(), authority);
    });
}

// kubernetes 21; section 6: the pruner with and without the image API
#[test]
fn apis_that_are_served_later_are_taken_up() {
    simulate(Some(managed()), async |plain| {
        plain.rest().await;
        for absent in [cron_job(), cluster_operator(), default_route()] {
            assert!(plain.server.get(&absent).is_none(), "{absent}");
        }
        // Nothing prunes, so that neither an odd age nor a wrong one is a fault.
        let odd = json!({"spec": {"keepYoungerThanDuration": "soon 5m"}});
        plain.server.merge(&image_pruner(), &odd);
        tokio::time::sleep(Duration::from_mins(2)).await;
        let pruner = plain.server.get(&image_pruner()).unwrap();
        for (condition, status, reason) in [
            ("Scheduled", "False", "Unsupported"),
            ("Available", "True", "AsExpected"),
            ("Degraded", "False", "AsExpected"),
        ] {
            assert!(is(&pruner, condition, status, reason), "{}", pruner["status"]);
        }
        plain
            .server
            .merge(&image_pruner(), &json!({"spec": {"keepYoungerThanDuration": null}}));
        for path in [IMAGES, ROUTES, CLUSTER_OPERATORS] {
            plain.server.serve(path);
        }
        tokio::time::sleep(Duration::from_mins(2)).await;
        for present in [cron_job(), cluster_operator(), default_route()] {
            assert!(plain.server.get(&present).is_some(), "{present}");
        }
        let pruner = plain.server.get(&image_pruner()).unwrap();
        assert!(is(&pruner, "Scheduled", "True", "Scheduled"), "{}", pruner["status"]);
        // Later it is gone again.
        plain.server.leave_out(IMAGES);
        tokio::time::sleep(Duration::from_mins(2)).await;
        plain.rest().await;
    });
}
