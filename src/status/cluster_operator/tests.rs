use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

/// Type, status, reason and message of a condition of Config or ImagePruner.
type Input<'a> = (&'a str, &'a str, &'a str, &'a str);

/// A Config or an ImagePruner.
fn object(spec: &Value, conditions: &[Input<'_>]) -> Value {
    let conditions: Vec<_> = conditions
        .iter()
        .map(|(type_, status, reason, message)| json!({"type": type_, "status": status, "reason": reason, "message": message}))
        .collect();
    json!({"metadata": {"name": "cluster"}, "spec": spec, "status": {"conditions": conditions}})
}

/// Conditions of a Config without any problem.
fn normal() -> Vec<Input<'static>> {
    vec![
        ("Available", "True", "Ready", "The registry is ready"),
        ("Progressing", "False", "Ready", "The registry is ready"),
        ("Degraded", "False", "", ""),
        ("Removed", "False", "", ""),
        ("StorageExists", "True", "S3 Bucket Exists", "there"),
        ("NodeCADaemonAvailable", "True", "AsExpected", "node-ca\nserves"),
        ("NodeCADaemonProgressing", "False", "AsExpected", ""),
        ("NodeCADaemonControllerDegraded", "False", "AsExpected", ""),
    ]
}

/// [`normal`] with these conditions replaced or added.
fn with<'a>(changes: &[Input<'a>]) -> Vec<Input<'a>> {
    let mut all: Vec<Input<'a>> = normal();
    for change in changes {
        match all.iter_mut().find(|c| c.0 == change.0) {
            Some(present) => *present = *change,
            None => all.push(*change),
        }
    }
    all
}

fn sources(config: &Value) -> Sources<'_> {
    Sources {
        config: Some(config),
        pruner: None,
        deployment: None,
        live: None,
        release_version: "",
        bootstrap: None,
        awaited: AWAITED,
        now: at(0),
    }
}

/// `status/reason` of a condition of the ClusterOperator; `absent` if the condition does not exist.
fn shown(status: &Value, type_: &str) -> String {
    let found = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == type_);
    found.map_or_else(
        || "absent".to_owned(),
        |c| format!("{}/{}", text(c, "status"), text(c, "reason")),
    )
}

fn message<'a>(status: &'a Value, type_: &str) -> &'a str {
    let found = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == type_);
    found.map_or("", |c| text(c, "message"))
}

// lifecycle 106
// lifecycle 112
#[test]
fn normal_inputs_are_available_and_messages_name_the_source_condition() {
    let config = object(&json!({}), &normal());
    let status = desired(&sources(&config)).unwrap();
    let types: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| text(c, "type"))
        .collect();
    assert_eq!(types, ["Available", "Progressing", "Degraded"]);
    assert_eq!(shown(&status, "Available"), "True/Ready");
    assert_eq!(shown(&status, "Progressing"), "False/Ready");
    assert_eq!(shown(&status, "Degraded"), "False/AsExpected");
    assert_eq!(
        message(&status, "Available"),
        "Available: The registry is ready\nNodeCADaemonAvailable: node-ca\nNodeCADaemonAvailable: serves"
    );
    assert_eq!(message(&status, "Progressing"), "Progressing: The registry is ready");
    assert_eq!(message(&status, "Degraded"), "");
}

// lifecycle 107
#[test]
fn unknown_takes_precedence_over_normal_and_abnormal_over_unknown() {
    let unknown = ("NodeCADaemonAvailable", "Unknown", "Unknown", "cannot be read");
    let config = object(&json!({}), &with(&[unknown]));
    assert_eq!(
        shown(&desired(&sources(&config)).unwrap(), "Available"),
        "Unknown/NodeCADaemonUnknown::Ready"
    );
    let abnormal = ("Available", "False", "NoReplicasAvailable", "none");
    let config = object(&json!({}), &with(&[unknown, abnormal]));
    let status = desired(&sources(&config)).unwrap();
    assert_eq!(
        shown(&status, "Available"),
        "False/NoReplicasAvailable::NodeCADaemonUnknown"
    );
}

// lifecycle 87: the ClusterOperator
// lifecycle 108
// lifecycle 101: the ClusterOperator
#[test]
fn one_abnormal_input_is_enough_and_reasons_are_sorted_and_joined() {
    let node_ca = ("NodeCADaemonAvailable", "False", "NoAvailableReplicas", "none");
    let config = object(&json!({}), &with(&[node_ca]));
    let status = desired(&sources(&config)).unwrap();
    assert_eq!(
        shown(&status, "Available"),
        "False/NodeCADaemonNoAvailableReplicas::Ready"
    );
    let degraded = [
        ("NodeCADaemonControllerDegraded", "True", "Error", "e"),
        ("ConfigObservationDegraded", "True", "Error", "a\nb"),
        ("example.com/OtherDegraded", "False", "Foreign", ""),
    ];
    let config = object(&json!({}), &with(&degraded));
    let failed = [
        ("Available", "True", "AsExpected", ""),
        ("Degraded", "True", "JobFailed", "m"),
        ("Failed", "True", "F", ""),
    ];
    let pruner = object(&json!({}), &failed);
    let status = desired(&Sources {
        pruner: Some(&pruner),
        ..sources(&config)
    })
    .unwrap();
    assert_eq!(
        shown(&status, "Degraded"),
        "True/ConfigObservationError::ImagePrunerJobFailed::NodeCADaemonControllerError::example.com/OtherForeign"
    );
    assert_eq!(
        message(&status, "Degraded"),
        "NodeCADaemonControllerDegraded: e\nConfigObservationDegraded: a\nConfigObservationDegraded: b\nImagePrunerDegraded: m"
    );
}

fn deployment(change: impl FnOnce(&mut Value)) -> Value {
    let mut deployment = json!({
        "metadata": {"generation": 3, "annotations": {"release.openshift.io/version": "4.99"}},
        "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1},
    });
    change(&mut deployment);
    deployment
}

// lifecycle 109
#[test]
fn the_version_is_reported_after_its_rollout() {
    let config = object(&json!({"managementState": "Managed"}), &normal());
    let forced = object(&json!({"managementState": "Force"}), &normal());
    let rolled_out = deployment(|_| ());
    for config in [&config, &forced] {
        let reached = Sources {
            deployment: Some(&rolled_out),
            release_version: "5.0",
            ..sources(config)
        };
        assert_eq!(
            desired(&reached).unwrap()["versions"],
            json!([{"name": "operator", "version": "4.99"}])
        );
    }
    for incomplete in [
        None,
        Some(deployment(|d| d["status"]["updatedReplicas"] = json!(1))),
        Some(deployment(|d| d["status"]["availableReplicas"] = json!(0))),
        Some(deployment(|d| d["metadata"]["generation"] = json!(4))),
        Some(deployment(|d| {
            d["metadata"]["annotations"] = json!({"release.openshift.io/version": ""});
        })),
        Some(deployment(|d| d["metadata"]["annotations"] = Value::Null)),
    ] {
        let live = json!({"status": {"versions": [{"name": "operator", "version": "old"}]}});
        let early = Sources {
            deployment: incomplete.as_ref(),
            live: Some(&live),
            release_version: "5.0",
            ..sources(&config)
        };
        assert_eq!(
            desired(&early).unwrap().get("versions"),
            None,
            "unchanged: {incomplete:?}"
        );
    }
}

// lifecycle 110
#[test]
fn an_unmanaged_or_removed_registry_reports_the_release() {
    for state in ["Removed", "Unmanaged"] {
        let config = object(&json!({"managementState": state}), &normal());
        let live =
            json!({"status": {"versions": [{"name": "operator", "version": "4"}, {"name": "x", "version": "1"}]}});
        let known = Sources {
            release_version: "5.0",
            live: Some(&live),
            ..sources(&config)
        };
        assert_eq!(
            desired(&known).unwrap()["versions"],
            json!([{"name": "operator", "version": "5.0"}])
        );
        let unknown = Sources {
            release_version: "",
            ..known
        };
        assert_eq!(desired(&unknown).unwrap().get("versions"), None);
    }
}

// lifecycle 111: the status of one that was made anew
// api 27: `relatedObjects`
#[test]
fn a_new_cluster_operator_gets_conditions_version_and_six_related_objects_in_order() {
    let config = object(&json!({"managementState": "Removed"}), &normal());
    let live = skeleton();
    let status = desired(&Sources {
        live: Some(&live),
        release_version: "5.0",
        ..sources(&config)
    })
    .unwrap();
    assert_eq!(
        status["relatedObjects"],
        json!([
            {"group": "imageregistry.operator.openshift.io", "resource": "configs", "name": "cluster"},
            {"group": "imageregistry.operator.openshift.io", "resource": "imagepruners", "name": "cluster"},
            {"group": "rbac.authorization.k8s.io", "resource": "clusterroles", "name": "system:registry"},
            {"group": "rbac.authorization.k8s.io", "resource": "clusterrolebindings", "name": "registry-registry-role"},
            {"group": "rbac.authorization.k8s.io", "resource": "clusterrolebindings", "name": "openshift-image-registry-pruner"},
            {"group": "", "resource": "namespaces", "name": "openshift-image-registry"},
        ])
    );
    assert_eq!(status["conditions"].as_array().unwrap().len(), 3);
    assert_eq!(status["versions"][0]["version"], "5.0");
    assert_eq!(live["metadata"]["name"], "image-registry");
}

#[test]
fn an_unchanged_status_is_not_written_and_transition_times_change_only_with_the_status() {
    let config = object(&json!({"managementState": "Removed"}), &normal());
    let first = desired(&Sources {
        release_version: "5.0",
        ..sources(&config)
    })
    .unwrap();
    let mut live = json!({"status": first});
    live["status"]["extension"] = Value::Null;
    let settled = Sources {
        live: Some(&live),
        release_version: "5.0",
        now: at(50),
        ..sources(&config)
    };
    assert_eq!(desired(&settled), None);
    let rolling = object(
        &json!({"managementState": "Removed"}),
        &with(&[("Progressing", "True", "DeploymentNotCompleted", "m")]),
    );
    let status = desired(&Sources {
        config: Some(&rolling),
        ..settled
    })
    .unwrap();
    let times: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| text(c, "lastTransitionTime"))
        .collect();
    assert_eq!(
        times,
        ["2027-01-15T08:00:00Z", "2027-01-15T08:00:50Z", "2027-01-15T08:00:00Z"]
    );
}

#[test]
fn conditions_of_other_writers_stay() {
    let config = object(&json!({}), &normal());
    let foreign = json!({"type": "Upgradeable", "status": "True", "reason": "AsExpected", "future": 1,
                         "lastTransitionTime": "2020-01-01T00:00:00Z"});
    let live = json!({"status": {"conditions": [foreign, {"type": "Available", "status": "False", "future": 1}]}});
    let status = desired(&Sources {
        live: Some(&live),
        ..sources(&config)
    })
    .unwrap();
    assert_eq!(status["conditions"][0], foreign);
    assert_eq!(shown(&status, "Available"), "True/Ready");
    assert_eq!(status["conditions"].as_array().unwrap().len(), 4);
}

#[test]
fn unsupported_overrides_block_the_upgrade_while_they_are_set() {
    let set = object(
        &json!({"unsupportedConfigOverrides": {"deployment": {"runtimeClassName": "x"}}}),
        &normal(),
    );
    let status = desired(&sources(&set)).unwrap();
    assert_eq!(shown(&status, "Upgradeable"), "False/UnsupportedConfigOverridesSet");
    let live = json!({"status": status});
    assert_eq!(
        desired(&Sources {
            live: Some(&live),
            ..sources(&set)
        }),
        None
    );
    for cleared in [
        json!({}),
        json!({"unsupportedConfigOverrides": null}),
        json!({"unsupportedConfigOverrides": {}}),
    ] {
        let config = object(&cleared, &normal());
        let status = desired(&Sources {
            live: Some(&live),
            ..sources(&config)
        })
        .unwrap();
        assert_eq!(shown(&status, "Upgradeable"), "absent");
    }
    let blocked = json!({"status": {"conditions": [{"type": "Upgradeable", "status": "False", "reason": "Foreign"}]}});
    for config in [&set, &object(&json!({}), &normal())] {
        let status = desired(&Sources {
            live: Some(&blocked),
            ..sources(config)
        })
        .unwrap();
        assert_eq!(
            shown(&status, "Upgradeable"),
            "False/Foreign",
            "the condition of another writer stays"
        );
    }
}

// lifecycle 34
#[test]
fn each_attempt_to_create_the_config_replaces_what_the_last_one_reported() {
    let unused = Value::Null;
    let mut live = json!({"status": {}});
    let mut attempt = |delay: BootstrapDelay| {
        let status = desired(&Sources {
            config: None,
            live: Some(&live),
            bootstrap: Some(&delay),
            ..sources(&unused)
        });
        let status = status.unwrap();
        live = json!({"status": status});
        status
    };
    let status = attempt(BootstrapDelay::Failed("a".to_owned()));
    assert_eq!(shown(&status, "Degraded"), "True/BootstrapFailed");
    assert_eq!(shown(&status, "Progressing"), "absent");
    let status = attempt(BootstrapDelay::Pending("b".to_owned()));
    assert_eq!(shown(&status, "Degraded"), "False/AsExpected");
    assert_eq!(message(&status, "Degraded"), "");
    assert_eq!(shown(&status, "Progressing"), "True/BootstrapPending");
    let status = attempt(BootstrapDelay::Failed("c".to_owned()));
    assert_eq!(shown(&status, "Degraded"), "True/BootstrapFailed");
    assert_eq!(shown(&status, "Progressing"), "True/BootstrapPending");
    for type_ in ["Degraded", "Progressing"] {
        assert!(message(&status, type_).ends_with(": c"), "{type_}");
    }
    // A restart of the operator withdraws no error that goes on.
    let status = attempt(BootstrapDelay::Retrying("d".to_owned()));
    assert_eq!(shown(&status, "Degraded"), "True/BootstrapFailed");
    assert!(message(&status, "Degraded").ends_with(": d"));
    let status = attempt(BootstrapDelay::Pending("e".to_owned()));
    assert_eq!(shown(&status, "Degraded"), "False/AsExpected");
    let status = attempt(BootstrapDelay::Retrying("f".to_owned()));
    assert_eq!(shown(&status, "Degraded"), "False/AsExpected");
    assert!(message(&status, "Progressing").ends_with(": f"));
}

// lifecycle 34
#[test]
fn without_a_config_only_a_failed_bootstrap_is_reported() {
    let unused = Value::Null;
    let absent = Sources {
        config: None,
        ..sources(&unused)
    };
    assert_eq!(desired(&absent), None, "nothing to report");
    let pending = BootstrapDelay::Pending("a class is missing".to_owned());
    let status = desired(&Sources {
        bootstrap: Some(&pending),
        ..absent
    });
    let status = status.unwrap();
    assert_eq!(shown(&status, "Progressing"), "True/BootstrapPending");
    assert!(message(&status, "Progressing").contains("a class is missing"));
    assert_eq!(shown(&status, "Degraded"), "absent");
    let cause = BootstrapDelay::Failed("authentication failed".to_owned());
    let failed = Sources {
        bootstrap: Some(&cause),
        ..absent
    };
    let status = desired(&failed).unwrap();
    assert_eq!(shown(&status, "Degraded"), "True/BootstrapFailed");
    assert!(message(&status, "Degraded").contains("authentication failed"));
    assert_eq!(shown(&status, "Available"), "absent");
    let live = json!({"status": status});
    assert_eq!(
        desired(&Sources {
            live: Some(&live),
            ..failed
        }),
        None,
        "written once"
    );
    // A new Config without conditions does not change the status yet.
    let new = json!({"spec": {"replicas": 1}});
    let status = desired(&Sources {
        live: Some(&live),
        ..sources(&new)
    });
    assert_eq!(status, None);
}

// api 29: the conditions that the pass wrote are told, whatever the spec
#[test]
fn a_config_whose_spec_does_not_decode_is_reported() {
    let invalid = ("Degraded", "True", "InvalidConfig", "spec.replicas is text");
    let config = object(&json!({"replicas": "many"}), &with(&[invalid]));
    assert_eq!(
        shown(&desired(&sources(&config)).unwrap(), "Degraded"),
        "True/InvalidConfig"
    );
}

#[test]
fn while_a_registry_starts_no_condition_returns_to_an_earlier_status() {
    let waiting = ("Available", "False", "DeploymentNotFound", "m");
    let rolling = ("Progressing", "True", "WaitingForDeployment", "m");
    let not_degraded = ("Degraded", "False", "", "");
    let ready = ("Available", "True", "Ready", "m");
    let done = ("Progressing", "False", "Ready", "m");
    let no_ca = ("NodeCADaemonAvailable", "False", "NotFound", "m");
    let new_ca = ("NodeCADaemonProgressing", "True", "NotFound", "m");
    let ca = ("NodeCADaemonAvailable", "True", "AsExpected", "m");
    let old_ca = ("NodeCADaemonProgressing", "False", "AsExpected", "m");
    // Conditions of Config and ImagePruner at each step. Those of node-ca and of the pruner appear late.
    let steps: Vec<(Vec<Input<'_>>, Option<Vec<Input<'_>>>)> = vec![
        (vec![], None),
        (vec![], Some(vec![])),
        (vec![waiting, rolling, not_degraded], Some(vec![])),
        (vec![ready, done, not_degraded], Some(vec![])),
        (vec![ready, done, not_degraded, no_ca, new_ca], Some(vec![])),
        (vec![ready, done, not_degraded, ca, new_ca], Some(vec![])),
        (vec![ready, done, not_degraded, ca, old_ca], Some(vec![])),
        (
            vec![ready, done, not_degraded, ca, old_ca],
            Some(vec![("Available", "False", "Error", "m"), not_degraded]),
        ),
        (
            vec![ready, done, not_degraded, ca, old_ca],
            Some(vec![("Available", "True", "AsExpected", "m"), not_degraded]),
        ),
    ];
    let mut live = skeleton();
    let mut seen = vec![Vec::new(); 3];
    for (config, pruner) in steps {
        let (config, pruner) = (object(&json!({}), &config), pruner.map(|p| object(&json!({}), &p)));
        if let Some(status) = desired(&Sources {
            pruner: pruner.as_ref(),
            live: Some(&live),
            ..sources(&config)
        }) {
            live["status"] = status;
        }
        for (history, output) in seen.iter_mut().zip(&OUTPUTS) {
            let conditions = stored_conditions(&live["status"]);
            history.extend(
                conditions
                    .into_iter()
                    .find(|c| c.type_ == output.suffix)
                    .map(|c| c.status),
            );
            history.dedup();
        }
    }
    assert_eq!(seen, [vec!["False", "True"], vec!["True", "False"], vec!["False"]]);
}
