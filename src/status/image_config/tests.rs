use super::*;

fn sources<'a>() -> Sources<'a> {
    Sources {
        image: None,
        service: None,
        routes: Vec::new(),
        import_mode: false,
        cluster_version: None,
        keep: false,
    }
}

fn service(port: i64) -> Value {
    json!({
        "metadata": {"name": "image-registry", "namespace": "openshift-image-registry"},
        "spec": {"ports": [{"port": port}, {"port": 1}]},
    })
}

fn route(name: &str, hosts: &[&str]) -> Value {
    let ingress: Vec<_> = hosts
        .iter()
        .map(|host| json!({"host": host, "conditions": [{"type": "Admitted", "status": "True"}]}))
        .collect();
    json!({
        "metadata": {"name": name, "annotations": {"imageregistry.openshift.io": ""}},
        "status": {"ingress": ingress},
    })
}

// lifecycle 117
#[test]
fn the_internal_host_name_follows_the_service() {
    for (service, expected) in [
        (Some(service(5000)), "image-registry.openshift-image-registry.svc:5000"),
        (Some(service(443)), "image-registry.openshift-image-registry.svc"),
        (Some(json!({"spec": {}})), "image-registry.openshift-image-registry.svc"),
        (None, ""),
    ] {
        assert_eq!(internal_hostname(service.as_ref()), expected);
    }
}

// lifecycle 118
#[test]
fn hosts_are_unique_and_sorted_with_the_default_host_first() {
    let prefix = DEFAULT_HOST_PREFIX;
    let routes = [
        route("x", &["b.example.com", "a.example.com"]),
        route(
            "default-route",
            &[
                "zz.example.com",
                &format!("{prefix}.apps.two"),
                &format!("{prefix}.apps.one"),
                "",
            ],
        ),
        route("y", &["a.example.com", &format!("{prefix}.other")]),
    ];
    let expected = [
        format!("{prefix}.apps.one"),
        format!("{prefix}.apps.two"),
        "zz.example.com".to_owned(),
        format!("{prefix}.other"),
        "a.example.com".to_owned(),
        "b.example.com".to_owned(),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        assert_eq!(external_hostnames(&order.map(|index| &routes[index])), expected);
    }
}

// lifecycle 119
// api 40
#[test]
fn only_admitted_hosts_of_owned_routes_are_listed() {
    let mut foreign = route("foreign", &["foreign.example.com"]);
    foreign["metadata"]["annotations"] = json!({"other": "true"});
    let mut refused = route("refused", &["refused.example.com"]);
    refused["status"]["ingress"][0]["conditions"][0]["status"] = json!("False");
    let mut pending = route("pending", &["pending.example.com"]);
    pending["status"]["ingress"][0]
        .as_object_mut()
        .unwrap()
        .remove("conditions");
    let mut fresh = route("fresh", &[]);
    fresh.as_object_mut().unwrap().remove("status");
    let admitted = route("admitted", &["admitted.example.com"]);
    assert_eq!(
        external_hostnames(&[&foreign, &refused, &pending, &fresh, &admitted]),
        ["admitted.example.com"]
    );
}

// lifecycle 120
#[test]
fn without_service_and_routes_both_host_names_are_cleared_once() {
    let image = json!({"status": {"internalRegistryHostname": "i", "externalRegistryHostnames": ["e"], "future": 1}});
    let (patch, mode) = status_patch(&Sources {
        image: Some(&image),
        ..sources()
    });
    assert_eq!(
        patch,
        Some(json!({"status": {"internalRegistryHostname": "", "externalRegistryHostnames": []}}))
    );
    assert_eq!(mode, Ok(()));
    for settled in [
        json!({}),
        json!({"status": {"externalRegistryHostnames": [], "internalRegistryHostname": ""}}),
    ] {
        assert_eq!(
            status_patch(&Sources {
                image: Some(&settled),
                ..sources()
            })
            .0,
            None,
            "absent equals empty"
        );
    }
}

// lifecycle 121
// api 35
#[test]
fn the_import_mode_follows_the_spec_then_the_architecture_if_the_gate_is_enabled() {
    let multi = json!({"status": {"desired": {"architecture": "Multi"}, "availableUpdates": null}});
    let single = json!({"status": {"desired": {}, "availableUpdates": null}});
    let given = json!({"spec": {"imageStreamImportMode": "Legacy"}});
    let empty = json!({"spec": {"imageStreamImportMode": ""}, "status": {"imageStreamImportMode": "Other"}});
    for (image, version, expected) in [
        (&empty, &multi, "PreserveOriginal"),
        (&empty, &single, "Legacy"),
        (&given, &multi, "Legacy"),
    ] {
        let enabled = Sources {
            image: Some(image),
            cluster_version: Some(version),
            import_mode: true,
            ..sources()
        };
        let patch = status_patch(&enabled).0.unwrap();
        assert_eq!(patch["status"]["imageStreamImportMode"], json!(expected));
        assert_eq!(
            status_patch(&Sources {
                import_mode: false,
                ..enabled
            })
            .0,
            None,
            "unchanged"
        );
    }
    let service = service(5000);
    let without_version = Sources {
        image: Some(&empty),
        service: Some(&service),
        import_mode: true,
        ..sources()
    };
    let (patch, mode) = status_patch(&without_version);
    assert_eq!(mode, Err(NoClusterVersion));
    assert!(
        patch.unwrap()["status"]["internalRegistryHostname"].is_string(),
        "host names do not depend on the import mode"
    );
}

#[test]
fn a_missing_image_is_created_with_an_empty_spec() {
    assert_eq!(skeleton()["metadata"]["name"], "cluster");
    assert_eq!(skeleton()["spec"], json!({}));
    let service = service(5000);
    assert!(
        status_patch(&Sources {
            service: Some(&service),
            ..sources()
        })
        .0
        .is_some()
    );
}

// lifecycle 117
#[test]
fn host_names_that_the_status_has_are_kept_while_service_and_routes_are_made() {
    let internal = "image-registry.openshift-image-registry.svc:5000";
    let image = |internal: &str, external: &[&str]| json!({"status": {"internalRegistryHostname": internal, "externalRegistryHostnames": external}});
    let (a, b) = (route("a", &["a.example.com"]), route("b", &["b.example.com"]));
    let known = image(internal, &["a.example.com", "b.example.com"]);
    let stale = image("old.svc:5000", &["a.example.com"]);
    let (empty, live) = (image("", &[]), service(5000));
    let set = |internal: Option<&str>, external: Option<&[&str]>| {
        let mut status = serde_json::Map::new();
        internal.map(|name| status.insert("internalRegistryHostname".to_owned(), json!(name)));
        external.map(|hosts| status.insert("externalRegistryHostnames".to_owned(), json!(hosts)));
        (!status.is_empty()).then(|| json!({"status": status}))
    };
    // Whether the status has more than Service and Routes; the patch while they are made; the patch afterwards.
    for (image, service, routes, lacks, kept, later) in [
        (&known, None, vec![], true, None, set(Some(""), Some(&[]))),
        (&known, Some(&live), vec![], true, None, set(None, Some(&[]))),
        (
            &known,
            Some(&live),
            vec![&a],
            true,
            None,
            set(None, Some(&["a.example.com"])),
        ),
        (&known, Some(&live), vec![&a, &b], false, None, None),
        (&known, None, vec![&a, &b], true, None, set(Some(""), None)),
        (&stale, None, vec![&a], true, None, set(Some(""), None)),
        (
            &stale,
            Some(&live),
            vec![&a],
            false,
            set(Some(internal), None),
            set(Some(internal), None),
        ),
        (
            &stale,
            Some(&live),
            vec![&a, &b],
            false,
            set(Some(internal), Some(&["a.example.com", "b.example.com"])),
            set(Some(internal), Some(&["a.example.com", "b.example.com"])),
        ),
        (
            &stale,
            Some(&live),
            vec![],
            true,
            set(Some(internal), None),
            set(Some(internal), Some(&[])),
        ),
        (&empty, None, vec![], false, None, None),
        (
            &empty,
            Some(&live),
            vec![],
            false,
            set(Some(internal), None),
            set(Some(internal), None),
        ),
    ] {
        let mut sources = Sources {
            image: Some(image),
            service,
            routes,
            keep: true,
            ..sources()
        };
        assert_eq!(sources.lack_known_hosts(), lacks, "{sources:?}");
        assert_eq!(status_patch(&sources).0, kept, "{sources:?}");
        sources.keep = false;
        assert_eq!(status_patch(&sources).0, later, "{sources:?}");
    }
}
