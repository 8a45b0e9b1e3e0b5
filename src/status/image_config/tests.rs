use super::*;

fn sources<'a>() -> Sources<'a> {
    Sources {
        image: None,
        service: None,
        routes: Vec::new(),
        import_mode: false,
        cluster_version: None,
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
fn the_internal_name_follows_the_service() {
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
fn the_default_host_comes_first_and_the_rest_is_sorted_and_unique() {
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
fn routes_of_others_and_hosts_that_no_router_admitted_are_not_listed() {
    let mut foreign = route("foreign", &["foreign.example.com"]);
    foreign["metadata"]["annotations"] = json!({"other": "true"});
    let mut refused = route("refused", &["refused.example.com"]);
    refused["status"]["ingress"][0]["conditions"][0]["status"] = json!("False");
    let mut silent = route("silent", &["silent.example.com"]);
    silent["status"]["ingress"][0]
        .as_object_mut()
        .unwrap()
        .remove("conditions");
    let mut fresh = route("fresh", &[]);
    fresh.as_object_mut().unwrap().remove("status");
    let admitted = route("admitted", &["admitted.example.com"]);
    assert_eq!(
        external_hostnames(&[&foreign, &refused, &silent, &fresh, &admitted]),
        ["admitted.example.com"]
    );
}

// lifecycle 120
#[test]
fn without_service_and_routes_both_names_are_cleared_once() {
    let image = json!({"status": {"internalRegistryHostname": "i", "externalRegistryHostnames": ["e"], "future": 1}});
    let (patch, told) = status_patch(&Sources {
        image: Some(&image),
        ..sources()
    });
    assert_eq!(
        patch,
        Some(json!({"status": {"internalRegistryHostname": "", "externalRegistryHostnames": []}}))
    );
    assert_eq!(told, Ok(()));
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
fn the_import_mode_follows_spec_then_architecture_and_only_with_the_gate() {
    let multi = json!({"status": {"desired": {"architecture": "Multi"}, "availableUpdates": null}});
    let single = json!({"status": {"desired": {}, "availableUpdates": null}});
    let given = json!({"spec": {"imageStreamImportMode": "Legacy"}});
    let empty = json!({"spec": {"imageStreamImportMode": ""}, "status": {"imageStreamImportMode": "Other"}});
    for (image, version, expected) in [
        (&empty, &multi, "PreserveOriginal"),
        (&empty, &single, "Legacy"),
        (&given, &multi, "Legacy"),
    ] {
        let on = Sources {
            image: Some(image),
            cluster_version: Some(version),
            import_mode: true,
            ..sources()
        };
        let patch = status_patch(&on).0.unwrap();
        assert_eq!(patch["status"]["imageStreamImportMode"], json!(expected));
        assert_eq!(
            status_patch(&Sources {
                import_mode: false,
                ..on
            })
            .0,
            None,
            "untouched"
        );
    }
    let service = service(5000);
    let blind = Sources {
        image: Some(&empty),
        service: Some(&service),
        import_mode: true,
        ..sources()
    };
    let (patch, told) = status_patch(&blind);
    assert_eq!(told, Err(NoClusterVersion));
    assert!(
        patch.unwrap()["status"]["internalRegistryHostname"].is_string(),
        "host names do not wait for it"
    );
}

#[test]
fn one_that_is_missing_is_created_empty() {
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
