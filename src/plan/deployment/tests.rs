use serde_json::{Value, json};

use super::affinity_first;
use crate::api::Kind;
use crate::plan::fixture::{Cluster, merge, namespace, node, operand};

fn with(spec: &Value) -> Cluster {
    Cluster::new(spec, [])
}

fn spec(cluster: &Cluster) -> Value {
    cluster.deployment().body["spec"].clone()
}

// workload 39, storage-volumes 17
#[test]
fn storage_volumes_are_first() {
    let mut cluster = with(&json!({}));
    cluster.facts.volumes =
        vec![json!({"name": "registry-storage", "persistentVolumeClaim": {"claimName": "iceberg"}})];
    let pod = cluster.pod();
    let list = |value: &Value, member: &str| -> Vec<String> {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v[member].as_str().unwrap().to_owned())
            .collect()
    };
    let common = [
        "registry-tls",
        "ca-trust-extracted",
        "registry-certificates",
        "trusted-ca",
        "installation-pull-secrets",
        "bound-sa-token",
    ];
    let expected: Vec<String> = ["registry-storage"]
        .iter()
        .chain(&common)
        .map(ToString::to_string)
        .collect();
    assert_eq!(list(&pod["volumes"], "name"), expected);
    assert_eq!(list(&pod["containers"][0]["volumeMounts"], "name"), expected);
    assert_eq!(pod["containers"][0]["volumeMounts"][0]["mountPath"], "/registry");
    assert_eq!(pod["volumes"][0]["persistentVolumeClaim"]["claimName"], "iceberg");
    assert_eq!(pod["volumes"][4]["configMap"]["optional"], true);
    assert_eq!(pod["volumes"][5]["secret"]["optional"], true);
    assert!(!pod["volumes"][1].to_string().contains("optional"));
}

// workload 39: section 5.7.5
#[test]
fn the_volumes_and_mounts_of_the_default_config_equal_the_specification() {
    let projected = |source: Value| json!({"projected": {"sources": [source]}});
    let token = json!({"serviceAccountToken": {"audience": "openshift", "path": "token"}});
    let bundle = json!([{"key": "ca-bundle.crt", "path": "anchors/ca-bundle.crt"}]);
    let pulls = json!([{"key": ".dockerconfigjson", "path": "config.json"}]);
    // Name, source, path in the container, whether it is mounted for reading only.
    let table = [
        ("registry-storage", json!({"emptyDir": {}}), "/registry", false),
        (
            "registry-tls",
            projected(json!({"secret": {"name": "image-registry-tls"}})),
            "/etc/secrets",
            false,
        ),
        (
            "ca-trust-extracted",
            json!({"emptyDir": {}}),
            "/etc/pki/ca-trust/extracted",
            false,
        ),
        (
            "registry-certificates",
            json!({"configMap": {"name": "image-registry-certificates"}}),
            "/etc/pki/ca-trust/source/anchors",
            false,
        ),
        (
            "trusted-ca",
            json!({"configMap": {"name": "trusted-ca", "optional": true, "items": bundle}}),
            "/usr/share/pki/ca-trust-source",
            false,
        ),
        (
            "installation-pull-secrets",
            json!({"secret": {"secretName": "installation-pull-secrets", "optional": true, "items": pulls}}),
            "/var/lib/kubelet/",
            false,
        ),
        (
            "bound-sa-token",
            projected(token),
            "/var/run/secrets/openshift/serviceaccount",
            true,
        ),
    ];
    let pod = with(&json!({})).pod();
    let volumes = table.iter().map(|(name, source, _, _)| {
        let mut volume = json!({"name": name});
        merge(&mut volume, source);
        volume
    });
    assert_eq!(pod["volumes"], volumes.collect::<Value>());
    let mounts = table.iter().map(|(name, _, path, read_only)| {
        let mut mount = json!({"name": name, "mountPath": path});
        if *read_only {
            mount["readOnly"] = json!(true);
        }
        mount
    });
    assert_eq!(pod["containers"][0]["volumeMounts"], mounts.collect::<Value>());
}

// workload 40, storage-volumes 18
#[test]
fn the_fs_group_comes_from_the_namespace() {
    let annotated = |range: &str| {
        let mut cluster = with(&json!({}));
        let mut namespace = namespace();
        namespace["metadata"]["annotations"]["openshift.io/sa.scc.supplemental-groups"] = json!(range);
        cluster.put(&namespace);
        cluster
    };
    for (range, group) in [
        ("1000430000/10000", 1_000_430_000),
        ("1000650000/10000,5/6", 1_000_650_000),
        ("7-9", 7),
        (" 8/1", 8),
    ] {
        let security = annotated(range).pod()["securityContext"].clone();
        assert_eq!(
            security,
            json!({"fsGroup": group, "fsGroupChangePolicy": "OnRootMismatch"}),
            "{range}"
        );
    }
    for range in ["", "1000430000", "x/1", "/", "-5/3"] {
        let plan = annotated(range).plan();
        assert!(plan.desired(Kind::Deployment, "image-registry").is_none(), "{range}");
        let message = &plan.failures[0].message;
        assert!(message.contains("openshift-image-registry"), "{message}");
        assert!(message.contains("openshift.io/sa.scc.supplemental-groups"), "{message}");
        assert!(plan.desired(Kind::PodDisruptionBudget, "image-registry").is_some());
    }
    let mut plain = annotated("");
    plain.snapshot.security_api = false;
    assert!(plain.pod()["securityContext"].get("fsGroup").is_none());
    // The annotation counts even if the security API is not served yet.
    let mut without_api = annotated("7-9");
    without_api.snapshot.security_api = false;
    assert_eq!(without_api.pod()["securityContext"]["fsGroup"], 7);
}

// workload 41
#[test]
fn pods_have_probes_and_a_grace_period() {
    let pod = with(&json!({})).pod();
    let container = &pod["containers"][0];
    for (probe, delay) in [("livenessProbe", 5), ("readinessProbe", 15)] {
        let expected = json!({
            "initialDelaySeconds": delay, "timeoutSeconds": 5,
            "httpGet": {"scheme": "HTTPS", "path": "/healthz", "port": 5000},
        });
        assert_eq!(container[probe], expected);
    }
    assert_eq!(
        container["lifecycle"]["preStop"]["exec"]["command"],
        json!(["sleep", "25"])
    );
    assert_eq!(pod["terminationGracePeriodSeconds"], 55);
}

// workload 42
#[test]
fn resources_of_the_spec_replace_the_default() {
    let resources = |spec: &Value| with(spec).pod()["containers"][0]["resources"].clone();
    assert_eq!(resources(&json!({"resources": {}})), json!({}));
    assert_eq!(
        resources(&json!({"resources": null})),
        json!({"requests": {"cpu": "100m", "memory": "256Mi"}})
    );
    assert_eq!(
        resources(&json!({"resources": {"limits": {"cpu": "3"}}})),
        json!({"limits": {"cpu": "3"}})
    );
}

// workload 43
#[test]
fn the_node_selector_gets_the_operating_system_and_disables_spreading() {
    let pod = with(&json!({"nodeSelector": {"a": "b"}})).pod();
    assert_eq!(pod["nodeSelector"], json!({"a": "b", "kubernetes.io/os": "linux"}));
    assert!(pod.get("topologySpreadConstraints").is_none());
    let pod = with(&json!({"nodeSelector": {"kubernetes.io/os": "x"}})).pod();
    assert_eq!(pod["nodeSelector"], json!({"kubernetes.io/os": "x"}));
    assert!(
        with(&json!({"nodeSelector": {}}))
            .pod()
            .get("topologySpreadConstraints")
            .is_none()
    );
}

const HOST: &str = "kubernetes.io/hostname";
const WORKER: &str = "node-role.kubernetes.io/worker";
const ZONE: &str = "topology.kubernetes.io/zone";

fn spread_over(nodes: impl IntoIterator<Item = Value>) -> Vec<String> {
    spread_over_with(&json!({}), nodes)
}

fn spread_over_with(spec: &Value, objects: impl IntoIterator<Item = Value>) -> Vec<String> {
    let pod = Cluster::new(spec, objects).pod();
    let keys = pod["topologySpreadConstraints"].as_array().unwrap().iter();
    keys.map(|constraint| constraint["topologyKey"].as_str().unwrap().to_owned())
        .collect()
}

// workload 44
#[test]
fn pods_are_spread_over_hosts_workers_and_zones() {
    let worker = node("w", &json!({WORKER: ""}), &json!({}), "True");
    let control = json!({"node-role.kubernetes.io/control-plane": "", ZONE: "south"});
    let control = node("c", &control, &json!({"taints": [{"key": "x"}]}), "True");
    assert_eq!(spread_over([worker.clone()]), [HOST, WORKER]);
    assert_eq!(spread_over([worker, control]), [HOST, WORKER, ZONE]);
    let pod = with(&json!({})).pod();
    for constraint in pod["topologySpreadConstraints"].as_array().unwrap() {
        assert_eq!(constraint["matchLabelKeys"], json!(["pod-template-hash"]));
        assert_eq!(
            (&constraint["nodeAffinityPolicy"], &constraint["nodeTaintsPolicy"]),
            (&json!("Honor"), &json!("Honor"))
        );
        assert_eq!(
            (&constraint["maxSkew"], &constraint["whenUnsatisfiable"]),
            (&json!(1), &json!("DoNotSchedule"))
        );
        assert_eq!(constraint["labelSelector"]["matchLabels"]["docker-registry"], "default");
    }
}

// workload 61: builds of the Go operator before summer 2026
#[test]
fn constraints_without_the_later_fields_stay_until_something_else_replaces_the_pods() {
    let mut cluster = with(&json!({}));
    let newest = cluster.deployment().body;
    let mut former = newest.clone();
    let spread = |body: &Value| body["spec"]["template"]["spec"]["topologySpreadConstraints"].clone();
    for constraint in former["spec"]["template"]["spec"]["topologySpreadConstraints"]
        .as_array_mut()
        .unwrap()
    {
        for member in ["matchLabelKeys", "nodeAffinityPolicy", "nodeTaintsPolicy"] {
            constraint.as_object_mut().unwrap().remove(member).unwrap();
        }
    }
    // Defaults of the API server, and another number of replicas, replace no pod.
    let mut live = former.clone();
    live["spec"]["template"]["spec"]["schedulerName"] = json!("default-scheduler");
    live["spec"]["replicas"] = json!(7);
    let hash = "operator.openshift.io/spec-hash";
    live["metadata"]["annotations"][hash] = json!("of the Go operator");
    cluster.put(&live);
    let kept = cluster.deployment().body;
    assert_eq!(kept["spec"]["template"], former["spec"]["template"]);
    assert_eq!(
        kept["metadata"]["annotations"][hash],
        crate::plan::checksum::spec_hash(&former["spec"])
    );
    // Pods that are replaced anyway get the fields; so do those of other constraints.
    let mut changed = live.clone();
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = json!("former");
    cluster.put(&changed);
    assert_eq!(spread(&cluster.deployment().body), spread(&newest));
    for (member, value) in [
        ("affinity", json!({"nodeAffinity": {}, "podAffinity": {"x": 1}})),
        ("runtimeClassName", json!("kata")),
        ("tolerations", json!([{"key": "a"}])),
    ] {
        let mut changed = live.clone();
        changed["spec"]["template"]["spec"][member] = value;
        cluster.put(&changed);
        assert_eq!(spread(&cluster.deployment().body), spread(&newest), "{member}");
    }
    // An edit by hand of what this operator wrote is no former form.
    let mut edited = live.clone();
    edited["metadata"]["annotations"][hash] = newest["metadata"]["annotations"][hash].clone();
    cluster.put(&edited);
    assert_eq!(spread(&cluster.deployment().body), spread(&newest));
    for edit in [json!({"maxSkew": 2}), json!({"matchLabelKeys": ["a"]})] {
        let mut edited = live.clone();
        merge(
            &mut edited["spec"]["template"]["spec"]["topologySpreadConstraints"][0],
            &edit,
        );
        cluster.put(&edited);
        assert_eq!(spread(&cluster.deployment().body), spread(&newest), "{edit}");
    }
    // What the Config names is not the operator's.
    let given = spread(&former);
    let mut own = with(&json!({"topologySpreadConstraints": spread(&newest)}));
    own.put(&live);
    assert_eq!(spread(&own.deployment().body), spread(&newest));
    let mut own = with(&json!({"topologySpreadConstraints": given}));
    own.put(&live);
    assert_eq!(spread(&own.deployment().body), given);
}

#[test]
fn the_worker_constraint_is_omitted_only_without_worker_labels_and_with_a_schedulable_node() {
    let plain = |spec: &Value, ready: &str| node("n", &json!({}), spec, ready);
    assert_eq!(spread_over([plain(&json!({}), "True")]), [HOST]);
    // The worker nodes have not joined yet.
    assert_eq!(spread_over([]), [HOST, WORKER]);
    assert_eq!(spread_over([plain(&json!({}), "False")]), [HOST, WORKER]);
    assert_eq!(
        spread_over([plain(&json!({"unschedulable": true}), "True")]),
        [HOST, WORKER]
    );
    assert_eq!(
        spread_over([plain(
            &json!({"taints": [{"key": "x", "effect": "NoSchedule"}]}),
            "True"
        )]),
        [HOST, WORKER]
    );
    // One labelled node is enough, even if it is not schedulable.
    let labelled = node("w", &json!({WORKER: ""}), &json!({"unschedulable": true}), "False");
    assert_eq!(spread_over([plain(&json!({}), "True"), labelled]), [HOST, WORKER]);
}

/// The keys over which pods are spread, where the live Deployment spreads them over these keys.
fn spread_after(live: &[&str], spec: &Value, nodes: impl IntoIterator<Item = Value>) -> Vec<String> {
    let constraints: Vec<Value> = live.iter().map(|key| json!({"topologyKey": key})).collect();
    let template = json!({"spec": {"template": {"spec": {"topologySpreadConstraints": constraints}}}});
    let deployment = operand("apps/v1", "Deployment", "image-registry", &template);
    spread_over_with(spec, nodes.into_iter().chain([deployment]))
}

// In part: workload 44 (B: no rollout flips back and forth).
#[test]
fn without_worker_labels_a_node_that_goes_does_not_change_the_pods() {
    let plain = |spec: &Value, ready: &str| node("n", &json!({}), spec, ready);
    let taint = json!({"taints": [{"key": "x", "value": "y", "effect": "NoSchedule"}]});
    let gone = [
        vec![],
        vec![plain(&json!({"unschedulable": true}), "True")],
        vec![plain(&taint, "True")],
        vec![plain(&json!({}), "False")],
        vec![plain(&json!({}), "Unknown"), node("m", &json!({}), &taint, "True")],
    ];
    for nodes in gone {
        assert_eq!(spread_after(&[HOST], &json!({}), nodes.clone()), [HOST], "{nodes:?}");
        // Pods that wait for their workers go on waiting.
        let waiting = spread_after(&[HOST, WORKER], &json!({}), nodes.clone());
        assert_eq!(waiting, [HOST, WORKER], "{nodes:?}");
        assert_eq!(spread_over(nodes.clone()), [HOST, WORKER], "no Deployment: {nodes:?}");
    }
    // What the nodes show counts, whatever runs.
    let schedulable = plain(&json!({}), "True");
    assert_eq!(spread_after(&[HOST, WORKER], &json!({}), [schedulable]), [HOST]);
    let worker = node("w", &json!({WORKER: ""}), &json!({"unschedulable": true}), "True");
    assert_eq!(spread_after(&[HOST], &json!({}), [worker]), [HOST, WORKER]);
}

#[test]
fn a_tolerated_taint_is_no_obstacle() {
    let taint = json!({"key": "x", "value": "y", "effect": "NoSchedule"});
    let other = json!({"key": "z", "effect": "NoExecute"});
    for (toleration, taints, tolerated) in [
        (json!({"operator": "Exists"}), json!([taint, other]), true),
        (json!({"key": "x", "operator": "Exists"}), json!([taint]), true),
        (json!({"key": "x", "operator": "Exists"}), json!([taint, other]), false),
        (json!({"key": "x", "value": "y"}), json!([taint]), true),
        (
            json!({"key": "x", "value": "y", "operator": "Equal", "effect": "NoSchedule"}),
            json!([taint]),
            true,
        ),
        (json!({"key": "x", "value": "q"}), json!([taint]), false),
        (json!({"key": "x"}), json!([taint]), false),
        (json!({"key": "z"}), json!([other]), true),
        (
            json!({"key": "x", "operator": "Exists", "effect": "NoExecute"}),
            json!([taint]),
            false,
        ),
        (
            json!({"operator": "Exists", "effect": "NoExecute"}),
            json!([other]),
            true,
        ),
        (json!({}), json!([{"effect": "NoSchedule"}]), false),
        (
            json!({"key": "q"}),
            json!([{"key": "x", "effect": "PreferNoSchedule"}]),
            true,
        ),
    ] {
        let node = node("n", &json!({}), &json!({"taints": taints}), "True");
        let keys = spread_over_with(&json!({"tolerations": [toleration]}), [node]);
        assert_eq!(keys == [HOST], tolerated, "{toleration} {taints}: {keys:?}");
    }
}

// workload 45, workload 46
#[test]
fn topology_spread_constraints_of_the_spec_replace_the_default() {
    assert!(
        with(&json!({"topologySpreadConstraints": []}))
            .pod()
            .get("topologySpreadConstraints")
            .is_none()
    );
    let constraints = json!([{"topologyKey": "floe", "maxSkew": 2}]);
    let cluster = with(&json!({"topologySpreadConstraints": constraints, "nodeSelector": {"a": "b"}}));
    assert_eq!(cluster.pod()["topologySpreadConstraints"], constraints);
}

// workload 47
#[test]
fn two_replicas_run_on_different_hosts() {
    let affinity = |spec: &Value| with(spec).pod().get("affinity").cloned();
    let term = json!({
        "topologyKey": HOST, "namespaces": ["openshift-image-registry"],
        "labelSelector": {"matchLabels": {"docker-registry": "default"}},
    });
    let anti_affinity = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    assert_eq!(affinity(&json!({"replicas": 2})), Some(anti_affinity));
    assert_eq!(affinity(&json!({"replicas": 1})), None);
    assert_eq!(affinity(&json!({"replicas": 3})), None);
    assert_eq!(affinity(&json!({"replicas": 2, "affinity": {}})), Some(json!({})));
}

// workload 48
#[test]
fn tolerations_are_copied_from_the_spec() {
    let tolerations = json!([{"key": "ice", "operator": "Exists", "tolerationSeconds": 7}]);
    assert_eq!(
        with(&json!({"tolerations": tolerations})).pod()["tolerations"],
        tolerations
    );
    assert!(with(&json!({})).pod().get("tolerations").is_none());
}

// workload 49, workload 50, workload 51
#[test]
fn the_rollout_strategy_leaves_room_for_pods_with_anti_affinity() {
    for (replicas, unavailable, surge) in [
        (0, 0, json!("25%")),
        (1, 0, json!("25%")),
        (2, 1, json!(1)),
        (3, 2, json!("25%")),
        (6, 5, json!("25%")),
    ] {
        let spec = spec(&with(&json!({"replicas": replicas})));
        let rolling = json!({"maxUnavailable": unavailable, "maxSurge": surge});
        assert_eq!(
            spec["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": rolling}),
            "{replicas}"
        );
        assert_eq!(
            (&spec["replicas"], &spec["progressDeadlineSeconds"]),
            (&json!(replicas), &json!(120))
        );
    }
    assert_eq!(
        spec(&with(&json!({"rolloutStrategy": "Recreate"})))["strategy"],
        json!({"type": "Recreate"})
    );
}

// storage-volumes 16
#[test]
fn incompatible_replicas_and_strategy_keep_those_of_the_live_deployment() {
    let live = json!({"spec": {"replicas": 1, "strategy": {"type": "Recreate"}}});
    let live = operand("apps/v1", "Deployment", "image-registry", &live);
    let mut cluster = Cluster::new(&json!({"replicas": 2}), [live]);
    cluster.facts.unfit = Some("Claim iceberg is ReadWriteOnce".to_owned());
    let spec = spec(&cluster);
    assert_eq!(
        (&spec["replicas"], &spec["strategy"]),
        (&json!(1), &json!({"type": "Recreate"}))
    );
    assert!(spec["template"]["spec"].get("affinity").is_none());
    let budget = cluster
        .plan()
        .desired(Kind::PodDisruptionBudget, "image-registry")
        .unwrap()
        .body
        .clone();
    assert_eq!(budget["spec"]["minAvailable"], 0);
    cluster.remove(Kind::Deployment, "openshift-image-registry", "image-registry");
    assert!(
        cluster.plan().failures[0].message.contains("iceberg"),
        "no live Deployment to keep"
    );
}

// storage-volumes 16, workload 60
#[test]
fn while_the_claim_does_not_fit_a_deployment_scaled_by_hand_gets_what_the_claim_permits() {
    let recreate = json!({"type": "Recreate"});
    let rolling = json!({"type": "RollingUpdate"});
    // Replicas of the Config, of the live Deployment, its strategy, generation after the last write, and what is planned. The live
    // generation is 5.
    for (wanted, live, strategy, recorded, expected) in [
        (2, 2, &recreate, Some(4), (1, &recreate)),
        (2, 1, &rolling, Some(4), (1, &recreate)),
        (3, 0, &recreate, Some(4), (1, &recreate)),
        (0, 2, &rolling, Some(4), (0, &recreate)),
        // What an operator wrote last stays, also what the Go operator let pass.
        (2, 1, &recreate, Some(5), (1, &recreate)),
        (2, 0, &recreate, Some(5), (0, &recreate)),
        (2, 2, &rolling, Some(5), (2, &rolling)),
        // Nobody knows who wrote it.
        (2, 2, &rolling, None, (2, &rolling)),
    ] {
        let live = json!({"metadata": {"generation": 5}, "spec": {"replicas": live, "strategy": strategy}});
        let live = operand("apps/v1", "Deployment", "image-registry", &live);
        let mut cluster = Cluster::new(&json!({"replicas": wanted}), [live.clone()]);
        cluster.facts.unfit = Some("Claim iceberg is ReadWriteOnce".to_owned());
        cluster.recorded = recorded;
        let spec = spec(&cluster);
        let planned = (spec["replicas"].as_i64().unwrap(), &spec["strategy"]);
        assert_eq!(planned, expected, "{wanted} {recorded:?} {}", live["spec"]);
    }
}

// storage-volumes 24
#[test]
fn unusable_storage_gets_no_deployment() {
    let mut cluster = with(&json!({}));
    cluster.facts.not_usable = Some("Claim iceberg is being deleted".to_owned());
    let plan = cluster.plan();
    assert!(plan.desired(Kind::Deployment, "image-registry").is_none() && plan.absent.is_empty());
    assert_eq!(plan.failures[0].message, "Claim iceberg is being deleted");
    assert!(plan.desired(Kind::Service, "image-registry").is_some());
}

fn overridden(overrides: &Value) -> Cluster {
    with(&json!({"unsupportedConfigOverrides": {"deployment": overrides}}))
}

// workload 52
#[test]
fn overrides_are_added_and_removed() {
    const RECORD: &str = "imageregistry.operator.openshift.io/override-annotations";
    let mut cluster = overridden(&json!({"annotations": {"z": "1", "x": "y"}, "runtimeClassName": "kata"}));
    let body = cluster.deployment().body;
    let pod = &body["spec"]["template"];
    for annotations in [&body["metadata"]["annotations"], &pod["metadata"]["annotations"]] {
        assert_eq!((&annotations["x"], &annotations["z"]), (&json!("y"), &json!("1")));
    }
    assert_eq!(pod["spec"]["runtimeClassName"], "kata");
    assert_eq!(body["metadata"]["annotations"][RECORD], "x,z");
    assert!(pod["metadata"]["annotations"].get(RECORD).is_none());

    let mut live = body.clone();
    live["metadata"]["annotations"][RECORD] = json!("gone,release.openshift.io/version,x,z");
    cluster.put(&live);
    assert_eq!(
        cluster.deployment().drop_annotations,
        ["gone"],
        "keys of the operator are never removed"
    );
    let mut after = with(&json!({}));
    after.put(&body);
    let desired = after.deployment();
    assert_eq!(desired.drop_annotations, ["x", "z", RECORD]);
    assert!(
        desired.body["spec"]["template"]["spec"]
            .get("runtimeClassName")
            .is_none()
    );
    assert!(
        desired.body["spec"]["template"]["metadata"]["annotations"]
            .get("x")
            .is_none()
    );
}

// workload 53
#[test]
fn reserved_keys_are_not_overridden_and_cause_a_warning() {
    let keys = json!({"release.openshift.io/version": "0", "openshift.io/required-scc": "privileged", "x": "y"});
    let cluster = overridden(&json!({"annotations": keys}));
    let body = cluster.deployment().body;
    assert_eq!(body["metadata"]["annotations"]["release.openshift.io/version"], "7.7.7");
    assert_eq!(
        body["spec"]["template"]["metadata"]["annotations"]["openshift.io/required-scc"],
        "restricted-v2"
    );
    let events = cluster.plan().events;
    assert_eq!(events.len(), 1);
    assert!(
        events[0].warning && events[0].message.contains("release.openshift.io/version"),
        "{}",
        events[0].message
    );
}

// workload 54
#[test]
fn a_new_release_changes_only_metadata() {
    let mut cluster = with(&json!({}));
    let before = cluster.deployment().body;
    cluster.snapshot.environment.release_version = "8.8.8".to_owned();
    let after = cluster.deployment().body;
    assert_eq!(
        after["metadata"]["annotations"]["release.openshift.io/version"],
        "8.8.8"
    );
    assert_eq!(after["spec"], before["spec"]);
    let hash = "operator.openshift.io/spec-hash";
    assert_eq!(
        after["metadata"]["annotations"][hash],
        before["metadata"]["annotations"][hash]
    );
    assert_eq!(after["metadata"]["annotations"][hash].as_str().unwrap().len(), 64);
}

// workload 62
#[test]
fn affinity_is_removed_first_only_if_replicas_are_added() {
    let body = |replicas: u32| with(&json!({"replicas": replicas})).deployment().body;
    let live = |replicas: u32| {
        let mut live = body(replicas);
        merge(
            &mut live,
            &json!({"metadata": {"resourceVersion": "5"}, "spec": {"template": {"spec": {"storage": "old"}}}}),
        );
        live
    };
    let first = affinity_first(&body(3), &live(2)).unwrap();
    let mut expected = live(2);
    expected["spec"]["template"]["spec"]
        .as_object_mut()
        .unwrap()
        .remove("affinity");
    assert_eq!(first, expected);
    assert_eq!(
        affinity_first(&body(3), &first),
        None,
        "the second update changes the rest"
    );
    assert_eq!(affinity_first(&body(1), &live(2)), None);
    assert_eq!(affinity_first(&body(2), &live(2)), None);
    assert_eq!(affinity_first(&body(3), &live(1)), None, "no affinity to remove");
    let with_affinity = with(&json!({"replicas": 3, "affinity": {"podAffinity": {"a": 1}}}))
        .deployment()
        .body;
    assert_eq!(affinity_first(&with_affinity, &live(2)), None);
    let mut unset = live(2);
    unset["spec"].as_object_mut().unwrap().remove("replicas");
    let mut one = body(1);
    one["spec"]["replicas"] = json!(2);
    assert!(affinity_first(&one, &unset).is_some(), "absent replicas count as one");
}

// spec/README 12
#[test]
fn a_refused_field_is_named_as_that_of_the_config() {
    let cluster = with(&json!({}));
    let deployment = cluster.deployment();
    let pod = "spec.template.spec";
    let overrides = "spec.unsupportedConfigOverrides.deployment";
    for (field, source) in [
        (
            format!("{pod}.tolerations[0].operator"),
            "spec.tolerations[0].operator".to_owned(),
        ),
        (format!("{pod}.tolerations[12]"), "spec.tolerations[12]".to_owned()),
        (format!("{pod}.nodeSelector"), "spec.nodeSelector".to_owned()),
        (
            format!("{pod}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]"),
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]".to_owned(),
        ),
        (
            format!("{pod}.topologySpreadConstraints[1].maxSkew"),
            "spec.topologySpreadConstraints[1].maxSkew".to_owned(),
        ),
        (
            format!("{pod}.containers[0].resources.limits[memory]"),
            "spec.resources.limits[memory]".to_owned(),
        ),
        (
            format!("{pod}.containers[0].resources.requests"),
            "spec.resources.requests".to_owned(),
        ),
        (
            format!("{pod}.volumes[0].persistentVolumeClaim.claimName"),
            "spec.storage".to_owned(),
        ),
        (
            format!("{pod}.runtimeClassName"),
            format!("{overrides}.runtimeClassName"),
        ),
        ("metadata.annotations".to_owned(), format!("{overrides}.annotations")),
        (
            "spec.template.annotations".to_owned(),
            format!("{overrides}.annotations"),
        ),
        ("spec.replicas".to_owned(), "spec.replicas".to_owned()),
        ("spec.strategy.type".to_owned(), "spec.rolloutStrategy".to_owned()),
    ] {
        let found = deployment.explain(std::slice::from_ref(&field));
        assert_eq!(found, [format!("{source} of Config cluster")], "{field}");
    }
    for field in [
        "",
        "spec",
        "spec.template.spec",
        "spec.template.spec.tolerationsX",
        "spec.template.spec.containers[1].resources",
        "spec.template.spec.containers[0].image",
        "spec.template.labels",
        "status.replicas",
    ] {
        assert!(deployment.explain(&[field.to_owned()]).is_empty(), "{field}");
    }
    // Several causes: each source once, in the order of the API server.
    let fields = ["nodeSelector", "tolerations[0]", "nodeSelector", "hostname"].map(|field| format!("{pod}.{field}"));
    assert_eq!(
        deployment.explain(&fields),
        [
            "spec.nodeSelector of Config cluster",
            "spec.tolerations[0] of Config cluster"
        ]
    );
    let plan = cluster.plan();
    let copy = plan.desired(Kind::Secret, "installation-pull-secrets").unwrap();
    assert_eq!(
        copy.explain(&["data[.dockerconfigjson]".to_owned()]),
        ["key .dockerconfigjson of Secret openshift-config/pull-secret"]
    );
}
