use std::process::Command;

use serde_json::{Value, json};

use super::{SCRIPT, pruner, short_age};
use crate::api::{ImagePrunerSpec, Kind};
use crate::config::snapshot::Snapshot;
use crate::names;
use crate::plan::drift::{differs, merged};
use crate::plan::fixture::{Cluster, merge};
use crate::plan::{Desired, Plan};

const HOST: &str = "image-registry.openshift-image-registry.svc:5000";

fn cluster(state: &str, host: &str) -> Cluster {
    let image = json!({
        "apiVersion": "config.openshift.io/v1", "kind": "Image", "metadata": {"name": "cluster"},
        "status": {"internalRegistryHostname": host},
    });
    Cluster::new(&json!({"managementState": state}), [image])
}

fn plan(spec: &Value, snapshot: &Snapshot) -> Plan {
    pruner(
        &serde_json::from_value::<ImagePrunerSpec>(spec.clone()).unwrap(),
        snapshot,
    )
}

fn job(spec: &Value, snapshot: &Snapshot) -> Desired {
    plan(spec, snapshot)
        .desired(Kind::CronJob, "image-pruner")
        .cloned()
        .unwrap()
}

fn spec_of(spec: &Value) -> Value {
    job(spec, &cluster("Managed", HOST).snapshot).body["spec"].clone()
}

fn pod_of(spec: &Value) -> Value {
    spec_of(spec)["jobTemplate"]["spec"]["template"]["spec"].clone()
}

fn arguments(spec: &Value, snapshot: &Snapshot) -> Vec<String> {
    let job = job(spec, snapshot);
    let arguments = job
        .body
        .pointer("/spec/jobTemplate/spec/template/spec/containers/0/args")
        .cloned();
    serde_json::from_value(arguments.unwrap()).unwrap()
}

fn flag(spec: &Value, name: &str) -> String {
    let prefix = format!("--{name}=");
    let all = arguments(spec, &cluster("Managed", HOST).snapshot);
    all.iter()
        .find_map(|argument| argument.strip_prefix(&prefix))
        .unwrap()
        .to_owned()
}

#[test]
fn the_plan_contains_all_objects_in_order() {
    let plan = plan(&json!({}), &cluster("Managed", HOST).snapshot);
    let order: Vec<String> = plan
        .present
        .iter()
        .map(|desired| format!("{} {}", desired.reference.kind.kind(), desired.reference.name))
        .collect();
    assert_eq!(
        order,
        [
            "ClusterRole system:image-pruner",
            "ClusterRoleBinding openshift-image-registry-pruner",
            "ServiceAccount pruner",
            "ConfigMap serviceca",
            "NetworkPolicy image-pruner-networkpolicy",
            "CronJob image-pruner",
        ]
    );
}

// lifecycle 127
#[test]
fn the_default_log_level_is_one_so_that_no_stack_traces_hide_the_error() {
    assert_eq!(flag(&json!({"logLevel": "Normal"}), "loglevel"), "1");
    assert_eq!(flag(&json!({"logLevel": ""}), "loglevel"), "1");
}

// deploy 42
#[test]
fn the_network_policy_allows_all_egress() {
    let plan = plan(&json!({}), &cluster("Managed", HOST).snapshot);
    let policy = plan.desired(Kind::NetworkPolicy, names::PRUNER_NETWORK_POLICY).unwrap();
    assert_eq!(policy.body["spec"]["policyTypes"], json!(["Egress"]));
    assert_eq!(policy.body["spec"]["egress"][0], json!({}));
}

// workload 91
#[test]
fn an_empty_spec_gets_defaults() {
    let spec = spec_of(&json!({}));
    assert_eq!(
        (&spec["schedule"], &spec["suspend"]),
        (&json!("0 0 * * *"), &json!(false))
    );
    assert_eq!(
        (&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]),
        (&json!(3), &json!(3))
    );
    assert_eq!(
        arguments(&json!({}), &cluster("Managed", HOST).snapshot)[2..],
        [
            "pruner",
            "oc",
            "adm",
            "prune",
            "images",
            "--confirm=true",
            "--certificate-authority=/var/run/configmaps/serviceca/service-ca.crt",
            "--keep-tag-revisions=3",
            "--keep-younger-than=60m",
            "--ignore-invalid-refs=false",
            "--loglevel=1",
            "--prune-registry=true",
            "--registry-url=https://image-registry.openshift-image-registry.svc:5000",
        ]
    );
    assert_eq!(
        flag(&json!({"ignoreInvalidImageReferences": true}), "ignore-invalid-refs"),
        "true"
    );
}

// workload 92
// api 17
#[test]
fn ages_are_formatted_as_go_durations() {
    let age = |spec: Value| flag(&spec, "keep-younger-than");
    let hour = json!({"keepYoungerThan": 3_600_000_000_000_i64});
    assert_eq!(age(hour.clone()), "1h0m0s");
    assert_eq!(
        age(json!({"keepYoungerThan": hour["keepYoungerThan"], "keepYoungerThanDuration": "2h"})),
        "2h0m0s"
    );
    assert_eq!(age(json!({})), "60m");
    assert_eq!(age(json!({"keepYoungerThan": 10_000_000_000_i64})), "10s");
    assert_eq!(age(json!({"keepYoungerThanDuration": "1h"})), "1h0m0s");
    assert_eq!(
        age(json!({"keepYoungerThanDuration": "1h", "keepYoungerThan": 5})),
        "1h0m0s"
    );
    let failed = plan(
        &json!({"keepYoungerThanDuration": "soon"}),
        &cluster("Managed", HOST).snapshot,
    );
    assert!(failed.failures[0].message.contains("keepYoungerThanDuration"));
    assert_eq!(failed.present.len(), 5, "the rest is planned");
}

// workload 93
#[test]
fn log_levels_map_to_numbers() {
    let all = [
        ("Normal", "1"),
        ("", "1"),
        ("Loud", "1"),
        ("Debug", "4"),
        ("Trace", "6"),
        ("TraceAll", "8"),
    ];
    for (level, expected) in all {
        assert_eq!(flag(&json!({"logLevel": level}), "loglevel"), expected, "{level}");
    }
}

// workload 94
#[test]
fn an_explicit_zero_is_kept() {
    let zero = json!({"keepTagRevisions": 0, "successfulJobsHistoryLimit": 0, "failedJobsHistoryLimit": 0});
    assert_eq!(flag(&zero, "keep-tag-revisions"), "0");
    let spec = spec_of(&zero);
    assert_eq!(
        (&spec["successfulJobsHistoryLimit"], &spec["failedJobsHistoryLimit"]),
        (&json!(0), &json!(0))
    );
}

// workload 95
#[test]
fn blobs_are_pruned_only_while_the_registry_is_managed() {
    let tail = |cluster: &Cluster| arguments(&json!({}), &cluster.snapshot)[13..].to_vec();
    let enabled = [
        "--prune-registry=true".to_owned(),
        format!("--registry-url=https://{HOST}"),
    ];
    for state in ["Managed", "Force", ""] {
        assert_eq!(tail(&cluster(state, HOST)), enabled, "{state}");
    }
    for (state, host) in [("Managed", ""), ("Removed", HOST), ("Removed", ""), ("Unmanaged", HOST)] {
        assert_eq!(
            tail(&cluster(state, host)),
            ["--prune-registry=false"],
            "{state} {host}"
        );
    }
    for kind in [Kind::Config, Kind::Image] {
        let mut without = cluster("Managed", HOST);
        without.remove(kind, "", "cluster");
        assert_eq!(tail(&without), ["--prune-registry=false"], "no {}", kind.kind());
    }
}

// workload 96
#[test]
fn schedule_and_suspend_are_copied_from_the_spec() {
    let spec = spec_of(&json!({"suspend": true, "schedule": "10 10 * * *"}));
    assert_eq!(
        (&spec["schedule"], &spec["suspend"]),
        (&json!("10 10 * * *"), &json!(true))
    );
}

/// Runs the script with a command that fails `failures` times and a `sleep` that does not wait. Returns the exit code and a
/// log of the tries and pauses.
fn run(failures: u32) -> (Option<i32>, String) {
    let prelude = format!(
        "sleep() {{ echo \"sleep $1\"; }}; i=0; try() {{ i=$((i + 1)); echo \"try $i\"; [ $i -gt {failures} ] || return 7; }}\n"
    );
    let done = Command::new("/bin/sh")
        .args(["-c", &(prelude + SCRIPT), "pruner", "try"])
        .output()
        .unwrap();
    (
        done.status.code(),
        String::from_utf8(done.stdout).unwrap().replace('\n', ";"),
    )
}

// workload 97
#[test]
fn the_command_runs_at_most_six_times_with_growing_pauses() {
    assert_eq!(run(0), (Some(0), "try 1;".to_owned()));
    assert_eq!(run(2), (Some(0), "try 1;sleep 30;try 2;sleep 60;try 3;".to_owned()));
    let always = "try 1;sleep 30;try 2;sleep 60;try 3;sleep 90;try 4;sleep 120;try 5;sleep 150;try 6;";
    assert_eq!(run(100), (Some(7), always.to_owned()));
}

// workload 98
#[test]
fn pod_settings_of_the_spec_replace_the_defaults() {
    let spec = json!({
        "tolerations": [{"key": "ice", "operator": "Exists"}], "nodeSelector": {"a": "b"},
        "affinity": {"nodeAffinity": {"x": 1}}, "resources": {"limits": {"cpu": "3"}},
    });
    let pod = pod_of(&spec);
    for member in ["tolerations", "nodeSelector", "affinity"] {
        assert_eq!(pod[member], spec[member]);
    }
    assert_eq!(pod["containers"][0]["resources"], spec["resources"]);
    let pod = pod_of(&json!({}));
    assert_eq!(
        (&pod["tolerations"], &pod["nodeSelector"], &pod["affinity"]),
        (&json!([]), &json!({}), &json!({}))
    );
    assert_eq!(
        pod["containers"][0]["resources"],
        json!({"requests": {"cpu": "100m", "memory": "256Mi"}})
    );
}

// workload 99
#[test]
fn jobs_and_pods_have_their_labels_and_the_scc_annotation() {
    let job = &spec_of(&json!({}))["jobTemplate"];
    assert_eq!(job["metadata"], json!({"labels": {"created-by": "image-pruner"}}));
    assert_eq!(job["spec"]["backoffLimit"], 0);
    let expected =
        json!({"labels": {"app": "image-pruner"}, "annotations": {"openshift.io/required-scc": "restricted-v2"}});
    assert_eq!(job["spec"]["template"]["metadata"], expected);
}

/// A CronJob as the API server stores it, with defaults.
fn stored(desired: &Desired) -> Value {
    let mut live = merged(desired, &Value::Null, Some("sha256:x"));
    let pod = live.pointer_mut("/spec/jobTemplate/spec/template/spec").unwrap();
    merge(
        pod,
        &json!({
            "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "securityContext": {},
            "serviceAccount": "pruner", "terminationGracePeriodSeconds": 30,
        }),
    );
    merge(
        &mut pod["containers"][0],
        &json!({"imagePullPolicy": "IfNotPresent", "terminationMessagePath": "/dev/termination-log"}),
    );
    pod["volumes"][0]["configMap"]["defaultMode"] = json!(420);
    for member in ["tolerations", "nodeSelector"] {
        if crate::plan::drift::is_empty(&pod[member]) {
            pod.as_object_mut().unwrap().remove(member);
        }
    }
    live
}

// workload 101
#[test]
fn an_edited_cron_job_is_restored_and_defaults_are_not_an_edit() {
    let mut cluster = cluster("Managed", HOST);
    let spec = json!({"resources": {"requests": {"cpu": "0.5"}}, "tolerations": [{"key": "a", "value": ""}]});
    let mut live = stored(&job(&spec, &cluster.snapshot));
    live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["resources"] =
        json!({"requests": {"cpu": "500m"}});
    cluster.put(&live);
    assert!(!differs(&job(&spec, &cluster.snapshot), &live, None));
    let pod = |pod: Value| json!({"jobTemplate": {"spec": {"template": {"spec": pod}}}});
    let container = |patch: &Value| {
        let mut container = live["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0].clone();
        merge(&mut container, patch);
        pod(json!({"containers": [container]}))
    };
    for edit in [
        json!({"schedule": "1 1 * * *"}),
        json!({"suspend": true}),
        json!({"timeZone": "Etc/UTC"}),
        json!({"jobTemplate": {"spec": {"ttlSecondsAfterFinished": 5}}}),
        pod(json!({"nodeSelector": {"a": "b"}})),
        pod(json!({"affinity": {"nodeAffinity": {"x": 1}}})),
        pod(json!({"tolerations": []})),
        container(&json!({"image": "other"})),
        container(&json!({"env": [{"name": "A"}]})),
        container(&json!({"resources": {"limits": {"cpu": "1"}}})),
        container(&json!({"securityContext": {"privileged": true}})),
    ] {
        let mut edited = live.clone();
        merge(&mut edited["spec"], &edit);
        cluster.put(&edited);
        let desired = job(&spec, &cluster.snapshot);
        assert!(differs(&desired, &edited, None), "{edit}");
        let written = merged(&desired, &edited, Some("sha256:x"));
        cluster.put(&written);
        assert!(!differs(&job(&spec, &cluster.snapshot), &written, None), "{edit}");
    }
}

/// A pod with a member of each kind inside an element of a list.
fn with_elements() -> Value {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let name = json!({"key": "metadata.name", "operator": "In", "values": ["ridge"]});
    let node = json!({"matchExpressions": [{"key": "zone", "operator": "Exists"}], "matchFields": [name]});
    let pods = json!({
        "topologyKey": "zone", "namespaces": ["harbour"], "labelSelector": {"matchLabels": {"boat": "red", "crew": "two"}},
    });
    let everywhere = json!({"topologyKey": "zone", "labelSelector": {}, "namespaceSelector": {}});
    json!({
        "tolerations": [{"key": "ice", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {required: {"nodeSelectorTerms": [node]}},
            "podAffinity": {required: [pods]},
            "podAntiAffinity": {required: [everywhere]},
        },
        "resources": {"claims": [{"name": "crane", "request": "small"}]},
    })
}

// workload 101
#[test]
fn a_member_of_an_element_of_a_list_is_removed_and_restored() {
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    let full = with_elements();
    for pointer in [
        "/tolerations/0/effect".to_owned(),
        format!("/affinity/nodeAffinity/{required}/nodeSelectorTerms/0/matchFields"),
        format!("/affinity/podAffinity/{required}/0/namespaces"),
        format!("/affinity/podAffinity/{required}/0/labelSelector/matchLabels/crew"),
        format!("/affinity/podAffinity/{required}/0/labelSelector"),
        // An empty selector selects all; an absent one none, or the own namespace.
        format!("/affinity/podAntiAffinity/{required}/0/labelSelector"),
        format!("/affinity/podAntiAffinity/{required}/0/namespaceSelector"),
        "/resources/claims/0/request".to_owned(),
    ] {
        let mut less = full.clone();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        less.pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(member);
        let container = if pointer.starts_with("/resources") {
            "/containers/0"
        } else {
            ""
        };
        // An edit of the ImagePruner; and, seen from the other side, one of the CronJob by hand.
        for (from, to) in [(&full, &less), (&less, &full)] {
            let mut cluster = cluster("Managed", HOST);
            let live = stored(&job(from, &cluster.snapshot));
            cluster.put(&live);
            assert!(!differs(&job(from, &cluster.snapshot), &live, None), "{pointer}");
            let desired = job(to, &cluster.snapshot);
            assert!(differs(&desired, &live, None), "{pointer}");
            let written = merged(&desired, &live, None);
            assert!(!written.to_string().contains("null"), "{written}");
            let pod = written.pointer("/spec/jobTemplate/spec/template/spec").unwrap();
            let found = pod.pointer(&format!("{container}{pointer}"));
            assert_eq!(found, to.pointer(&pointer), "{pointer}");
            let written = stored(&desired);
            cluster.put(&written);
            assert!(!differs(&job(to, &cluster.snapshot), &written, None), "{pointer}");
        }
    }
}

// issue 10, row 13
#[test]
fn an_age_under_a_minute_is_told_with_its_meaning_and_the_field_to_set() {
    let told = |given: Value| short_age(&serde_json::from_value(given).unwrap());
    for (nanoseconds, meaning, remedy) in [
        (604_800_i64, "604.8µs", "to 168h0m0s"),
        (3600, "3.6µs", "to 1h0m0s"),
        (86_400, "86.4µs", "to 24h0m0s"),
        (60, "60ns", "to 1m0s"),
        (59, "59ns", "such as 60m"),
        (1, "1ns", "such as 60m"),
        (0, "is 0s", "such as 60m"),
        (-5, "-5ns", "such as 60m"),
        (i64::MIN, "-2562047h47m16.854775808s", "such as 60m"),
        (10_000_000_000, "10s", "such as 60m"),
        (9_000_000_000, "9s", "such as 60m"),
        (59_999_999_999, "59.999999999s", "such as 60m"),
    ] {
        let text = told(json!({"keepYoungerThan": nanoseconds})).unwrap();
        assert!(text.contains("counts nanoseconds"), "{text}");
        assert!(text.contains(&nanoseconds.to_string()), "{text}");
        assert!(text.contains(meaning) && text.contains(remedy), "{text}");
        assert!(
            text.contains("right after their push") && text.contains("keepYoungerThanDuration"),
            "{text}"
        );
    }
    for (duration, meaning) in [("30s", "30s"), ("0s", "0s"), ("-5m", "-5m0s"), ("59999ms", "59.999s")] {
        let text =
            told(json!({"keepYoungerThanDuration": duration, "keepYoungerThan": 3_600_000_000_000_i64})).unwrap();
        assert!(
            text.contains(meaning) && text.contains("spec.keepYoungerThanDuration"),
            "{text}"
        );
        assert!(!text.contains("nanoseconds"), "{text}");
    }
    for fine in [
        json!({}),
        json!({"keepYoungerThan": 60_000_000_000_i64}),
        json!({"keepYoungerThan": i64::MAX}),
        json!({"keepYoungerThanDuration": "1m"}),
        json!({"keepYoungerThanDuration": "1h", "keepYoungerThan": 5}),
        json!({"keepYoungerThanDuration": "", "keepYoungerThan": 3_600_000_000_000_i64}),
        json!({"keepYoungerThanDuration": "soon", "keepYoungerThan": 5}), // refused anyway
    ] {
        assert_eq!(told(fine.clone()), None, "{fine}");
    }
}

// spec/README 12
#[test]
fn a_refused_field_of_the_cron_job_is_named_as_that_of_the_image_pruner() {
    let planned = plan(&json!({}), &cluster("Managed", HOST).snapshot);
    let desired = planned.desired(Kind::CronJob, names::PRUNER_CRON_JOB).unwrap();
    let pod = "spec.jobTemplate.spec.template.spec";
    for (field, source) in [
        ("spec.schedule".to_owned(), Some("spec.schedule")),
        (
            "spec.failedJobsHistoryLimit".to_owned(),
            Some("spec.failedJobsHistoryLimit"),
        ),
        (
            "spec.successfulJobsHistoryLimit".to_owned(),
            Some("spec.successfulJobsHistoryLimit"),
        ),
        (
            format!("{pod}.tolerations[1].operator"),
            Some("spec.tolerations[1].operator"),
        ),
        (format!("{pod}.nodeSelector"), Some("spec.nodeSelector")),
        (
            format!("{pod}.affinity.nodeAffinity"),
            Some("spec.affinity.nodeAffinity"),
        ),
        (
            format!("{pod}.containers[0].resources.requests[memory]"),
            Some("spec.resources.requests[memory]"),
        ),
        (format!("{pod}.containers[0].image"), None),
        ("spec.scheduleX".to_owned(), None),
        ("metadata.name".to_owned(), None),
    ] {
        let expected: Vec<_> = source
            .map(|source| format!("{source} of ImagePruner cluster"))
            .into_iter()
            .collect();
        assert_eq!(desired.explain(std::slice::from_ref(&field)), expected, "{field}");
    }
}

/// The live ClusterRole, with rules added, and whether it must be written.
fn role_differs(added: Value, changed: &Value) -> bool {
    let mut cluster = cluster("Managed", HOST);
    let role = |cluster: &Cluster| {
        let plan = plan(&json!({}), &cluster.snapshot);
        plan.desired(Kind::ClusterRole, "system:image-pruner").cloned().unwrap()
    };
    let mut live = role(&cluster).body;
    let Value::Array(added) = added else {
        panic!("no list of rules: {added}")
    };
    live["rules"].as_array_mut().unwrap().extend(added);
    merge(&mut live, changed);
    cluster.put(&live);
    let desired = role(&cluster);
    let differs = differs(&desired, &live, None);
    if differs {
        // The operator may not grant more than it has.
        cluster.put(&merged(&desired, &live, Some("sha256:x")));
        assert_eq!(role(&cluster).body["rules"].as_array().unwrap().len(), 9);
    }
    differs
}

#[test]
fn the_rules_that_openshift_apiserver_appends_for_the_legacy_group_stay_and_other_edits_do_not() {
    let legacy = |groups: &[&str], resource: &str, verb: &str| json!({"apiGroups": groups, "resources": [resource], "verbs": [verb]});
    let appended = json!([
        legacy(&[""], "buildconfigs", "get"),
        legacy(&[""], "imagestreams/status", "update"),
        legacy(&["extensions"], "deployments", "list"),
        {"apiGroups": [""], "resources": ["images", "imagestreams"], "verbs": ["get", "list", "watch"]},
    ]);
    assert!(!role_differs(json!([]), &json!({})));
    assert!(!role_differs(appended.clone(), &json!({})));
    assert!(role_differs(
        appended,
        &json!({"aggregationRule": {"clusterRoleSelectors": [{}]}})
    ));
    for edit in [
        legacy(&[""], "secrets", "get"),
        legacy(&[""], "pods", "delete"),
        legacy(&[""], "*", "get"),
        legacy(&[""], "images", "*"),
        legacy(&["image.openshift.io"], "images", "get"),
        legacy(&["", "apps"], "deployments", "get"),
        json!({"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get"]}),
        json!({"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get"]}),
        json!({"nonResourceURLs": ["/metrics"], "verbs": ["get"]}),
    ] {
        assert!(role_differs(json!([edit.clone()]), &json!({})), "{edit}");
    }
    assert!(role_differs(json!([]), &json!({"rules": []})));
    assert!(role_differs(json!([]), &json!({"rules": null})));
}
