use super::*;
use crate::api::Kind;
use crate::testing::fake_api::{FakeApi, Fault};

impl Caches {
    /// Caches that no watch fills, with these objects: what the operator writes itself is all that is added.
    pub(crate) fn unwatched(client: Client, environment: Environment, now: Now, objects: Objects) -> Self {
        let state = State {
            objects,
            ..State::default()
        };
        Self::new(client, environment, now, state)
    }
}

/// Caches whose watches are forbidden, but have delivered an empty initial list.
fn synced() -> Caches {
    let api = FakeApi::default();
    api.fault(Fault::NoWatch);
    let caches = Caches::start(api.client(), Environment::default(), Arc::new(jiff::Timestamp::now));
    for spec in watch_specs(&Environment::default()) {
        caches.list_completed(&spec, &BTreeSet::new());
    }
    caches
}

fn secret(name: &str) -> ObjectRef {
    ObjectRef::new(Kind::Secret, crate::names::NAMESPACE, name)
}

// workload 66, 73
#[tokio::test]
async fn an_invalid_object_name_is_not_waited_for() {
    let caches = synced();
    let wanted = ["tls,metadata.namespace=x", "a=b", "a\\b", "No Name", "-a", ""];
    caches.watch_referenced(&wanted.map(secret).into(), &[Controller::Registry]);
    assert!(caches.is_synced(Controller::Registry));
}

#[tokio::test]
async fn a_controller_waits_for_its_own_watches_only() {
    let caches = synced();
    caches.watch_referenced(&[secret("tls")].into(), &[Controller::Registry]);
    assert!(!caches.is_synced(Controller::Registry));
    assert!(caches.is_synced(Controller::Certificates));
}

// storage-volumes 4: volumes are watched only for the claim of a new cluster
#[tokio::test]
async fn volumes_are_cached_only_while_they_are_watched() {
    let caches = synced();
    let volume = ObjectRef::new(Kind::PersistentVolume, "", "v");
    caches.watch_volumes(true);
    assert!(!caches.is_synced(Controller::Registry));
    caches.applied(
        &volumes(),
        volume.clone(),
        serde_json::json!({"metadata": {"name": "v"}, "spec": {}}),
    );
    caches.list_completed(&volumes(), &[volume.clone()].into());
    assert!(caches.is_synced(Controller::Registry));
    caches.watch_referenced(&BTreeSet::new(), &[Controller::Registry]);
    caches.watch_volumes(true);
    assert!(caches.is_synced(Controller::Registry) && caches.latest(&volume).is_some());
    caches.watch_volumes(false);
    assert!(caches.latest(&volume).is_none());
    caches.watch_volumes(false);
}

#[tokio::test]
async fn the_list_of_one_watch_of_pods_does_not_remove_those_of_the_other() {
    let caches = synced();
    let specs: Vec<_> = [("docker-registry=default", "r"), ("name=node-ca", "n")]
        .map(|(labels, name)| {
            let (key, value) = labels.split_once('=').unwrap();
            let pods = ObjectRef::new(Kind::Pod, crate::names::NAMESPACE, name);
            let known = watch_specs(&Environment {
                node_ca: crate::names::NodeCa::Containerd,
                ..Environment::default()
            });
            let spec = known.into_iter().find(|spec| spec.labels == Some(labels)).unwrap();
            let pod = serde_json::json!({"metadata": {"name": name, "resourceVersion": "1", "labels": {key: value}}});
            caches.applied(&spec, pods.clone(), pod);
            (spec, pods)
        })
        .into();
    let known = |pod: &ObjectRef| caches.latest(pod).is_some();
    caches.list_completed(&specs[0].0, &[specs[0].1.clone()].into());
    assert!(known(&specs[0].1) && known(&specs[1].1));
    caches.list_completed(&specs[1].0, &BTreeSet::new());
    assert!(known(&specs[0].1) && !known(&specs[1].1));
}

// lifecycle 32: it may be a moment until the API server knows a new right, so that nothing is decided by the first denial
#[tokio::test(start_paused = true)]
async fn passes_go_on_without_a_tls_profile_that_cannot_be_read_for_a_while() {
    let api = FakeApi::default();
    api.fault(Fault::NoWatch);
    let caches = Caches::start(api.client(), Environment::default(), Arc::new(jiff::Timestamp::now));
    let is_profile = |spec: &WatchSpec| spec.kind == Kind::ApiServer;
    for spec in watch_specs(&Environment::default())
        .iter()
        .filter(|spec| !is_profile(spec))
    {
        caches.list_completed(spec, &BTreeSet::new());
    }
    let began = tokio::time::Instant::now();
    assert!(!caches.is_synced(Controller::Registry));
    caches.wait_synced().await;
    assert!(began.elapsed() >= std::time::Duration::from_secs(10));
    let readable = |kind| caches.snapshot().objects.unreadable(kind).is_none();
    assert!(!readable(Kind::ApiServer) && readable(Kind::Infrastructure));
    assert!(caches.snapshot().objects.served(Kind::ApiServer));
    let mut specs = watch_specs(&Environment::default());
    specs.retain(is_profile);
    caches.list_completed(&specs[0], &BTreeSet::new());
    assert!(readable(Kind::ApiServer));
}

// Without the rights for Ingresses the operator works as if the cluster served none.
#[tokio::test(start_paused = true)]
async fn kinds_that_are_optional_and_may_not_be_read_count_as_not_served() {
    let caches = synced();
    caches.watch_exposure(true);
    assert!(!caches.is_synced(Controller::Registry));
    while !caches.is_synced(Controller::Registry) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let served = |kind| caches.snapshot().objects.served(kind);
    assert!(!served(Kind::Ingress) && !served(Kind::HttpRoute));
    assert!(served(Kind::Route), "all others are waited for");
    // Their own watches are not taken for those of references.
    caches.watch_referenced(&BTreeSet::new(), &[Controller::Registry]);
    let ca = ObjectRef::new(Kind::Secret, crate::names::NAMESPACE, crate::names::BACKEND_CA);
    let watches = |object: &ObjectRef| caches.state().running.keys().any(|spec| spec.covers(object));
    assert!(watches(&ca));
    caches.watch_exposure(false);
    assert!(!watches(&ca) && served(Kind::Ingress));
    // A Secret of this name that a spec names is watched like any other.
    caches.watch_referenced(&[ca.clone()].into(), &[Controller::Registry]);
    assert!(watches(&ca));
}

/// Whether a pass of the controller was triggered since the last call.
async fn is_triggered(caches: &Caches, controller: Controller) -> bool {
    let changed = caches.changed(controller);
    tokio::time::timeout(std::time::Duration::ZERO, changed).await.is_ok()
}

// lifecycle, section 3.4: ConfigMaps of openshift-config with any name
#[tokio::test(start_paused = true)]
async fn an_object_that_several_controllers_watch_triggers_all_of_them() {
    let cloud = ObjectRef::new(
        Kind::ConfigMap,
        crate::names::CONFIG_NAMESPACE,
        crate::names::CLOUD_PROVIDER_CONFIG,
    );
    let both = ObjectRef::new(Kind::ConfigMap, crate::names::CONFIG_NAMESPACE, "both");
    for (map, others) in [
        (cloud, &[Controller::AzureStack, Controller::Registry][..]),
        (both, &[Controller::Registry]),
    ] {
        let caches = synced();
        if others.len() == 1 {
            caches.watch_referenced(&[map.clone()].into(), &[Controller::Registry]);
        }
        caches.watch_referenced(&[map.clone()].into(), &[Controller::Certificates]);
        let mut watches: Vec<WatchSpec> = caches.state().running.keys().cloned().collect();
        watches.retain(|watch| watch.covers(&map));
        watches.sort_by_key(|watch| watch.triggers == [Controller::Certificates]);
        assert_eq!(watches.len(), 2);
        for watch in &watches {
            caches.list_completed(watch, &BTreeSet::new());
        }
        let all = || others.iter().copied().chain([Controller::Certificates]);
        for (version, (first, second)) in [(1, (0, 1)), (2, (1, 0))] {
            for controller in all() {
                is_triggered(&caches, controller).await;
            }
            let version = version.to_string();
            let object = serde_json::json!({"metadata": {"name": map.name, "resourceVersion": version}, "data": {"ca": version}});
            caches.applied(&watches[first], map.clone(), object.clone());
            for controller in all() {
                assert!(
                    is_triggered(&caches, controller).await,
                    "{map} {version} {controller:?}"
                );
            }
            caches.applied(&watches[second], map.clone(), object);
            for controller in all() {
                assert!(
                    !is_triggered(&caches, controller).await,
                    "{map} {version} {controller:?}"
                );
            }
        }
        let object = serde_json::json!({"metadata": {"name": map.name, "resourceVersion": "3"}});
        for (first, second) in [(0, 1), (1, 0)] {
            // A deletion is reported by an event, or by a list that lacks the object.
            for is_listed in [false, true] {
                caches.applied(&watches[0], map.clone(), object.clone());
                for controller in all() {
                    is_triggered(&caches, controller).await;
                }
                if is_listed {
                    caches.list_completed(&watches[first], &BTreeSet::new());
                } else {
                    caches.deleted(&watches[first], &map, None);
                }
                for controller in all() {
                    assert!(is_triggered(&caches, controller).await, "{map} {controller:?}");
                }
                caches.list_completed(&watches[second], &BTreeSet::new());
                caches.deleted(&watches[second], &map, None);
                for controller in all() {
                    assert!(!is_triggered(&caches, controller).await, "{map} {controller:?}");
                }
            }
        }
        caches.applied(&watches[0], map.clone(), object);
        // What the others still watch stays known.
        caches.watch_referenced(&BTreeSet::new(), &[Controller::Certificates]);
        assert!(caches.latest(&map).is_some());
    }
}
