use serde_json::json;

use super::*;

fn endpoint(service: &str, name: &str, region: &str, interface: &str) -> Endpoint {
    Endpoint {
        service: service.to_owned(),
        name: name.to_owned(),
        regions: vec![region.to_owned()],
        interface: interface.to_owned(),
        url: format!("http://{name}.{region}.{interface}/{service}/"),
    }
}

fn any() -> Selection {
    Selection {
        region: None,
        interface: Interface::Public,
        as_registry: false,
    }
}

// storage-swift 26, 27, 28
#[test]
fn the_endpoint_is_that_of_swift_in_its_region() {
    let all = [
        endpoint("identity", "keystone", "A", "public"),
        endpoint("container", "magnum", "A", "public"),
        endpoint("object-store", "ceph", "A", "public"),
        endpoint("container", "swift", "A", "public"),
        endpoint("object-store", "swift", "A", "internal"),
        endpoint("object-store", "swift", "A", "public"),
        endpoint("object-store", "swift", "B", "public"),
    ];
    let found = |endpoints: &[Endpoint], selection: &Selection| find(endpoints, selection);
    let in_region = |region: &str| Selection {
        region: Some(region.to_owned()),
        ..any()
    };
    for (count, selection, expected) in [
        (7, any(), Some("http://swift.A.public/object-store")),
        (7, in_region("B"), Some("http://swift.B.public/object-store")),
        (7, in_region("C"), None),
        (
            7,
            Selection {
                interface: Interface::Internal,
                ..any()
            },
            Some("http://swift.A.internal/object-store"),
        ),
        (
            7,
            Selection {
                interface: Interface::Admin,
                ..any()
            },
            None,
        ),
        // Without object-store/swift: first container/swift, then any object-store.
        (4, any(), Some("http://swift.A.public/container")),
        (3, any(), Some("http://ceph.A.public/object-store")),
        (2, any(), None),
        (0, any(), None),
        // The registry knows the type only.
        (
            7,
            Selection {
                as_registry: true,
                ..any()
            },
            Some("http://ceph.A.public/object-store"),
        ),
        (
            2,
            Selection {
                as_registry: true,
                ..any()
            },
            None,
        ),
    ] {
        assert_eq!(
            found(&all[..count], &selection).as_deref(),
            expected,
            "{count} {selection:?}"
        );
    }
    let body = TokenBody {
        endpoints: all[..2].to_vec(),
        ..TokenBody::default()
    };
    let message = not_found(&body, &in_region("C"));
    for part in [
        "region C",
        "container/magnum/A",
        "identity/keystone/A",
        "spec.storage.swift.tenant",
    ] {
        assert!(message.contains(part), "{message}");
    }
}

// storage-decisions T18: where nobody names a region
#[test]
fn regions_are_others_only_if_they_have_the_chosen_service() {
    let endpoint = |service: &str, name: &str, region: &str, url: &str| Endpoint {
        service: service.to_owned(),
        name: name.to_owned(),
        regions: vec![region.to_owned()],
        interface: "public".to_owned(),
        url: url.to_owned(),
    };
    let in_a = Selection {
        region: Some("A".to_owned()),
        ..any()
    };
    let swift = endpoint("object-store", "swift", "A", "http://a");
    for (others, expected) in [
        (vec![], &[][..]),
        (vec![endpoint("object-store", "swift", "B", "http://b")], &["B"]),
        // The same URL, another interface, and services that are not chosen.
        (vec![endpoint("object-store", "swift", "B", "http://a/")], &[]),
        (
            vec![Endpoint {
                interface: "internal".to_owned(),
                ..endpoint("object-store", "swift", "B", "http://b")
            }],
            &[],
        ),
        (vec![endpoint("container", "zun", "A", "http://z")], &[]),
        (vec![endpoint("object-store", "ceph", "A", "http://c")], &[]),
    ] {
        let all = [vec![swift.clone()], others].concat();
        assert_eq!(other_regions(&all, &any()), expected, "{all:?}");
        assert_eq!(other_regions(&all, &in_a), [""; 0]);
    }
}

#[test]
fn tokens_of_both_versions_are_read() {
    let v3 = json!({"token": {"expires_at": "2031-01-01T00:00:00.000000Z", "project": {"id": "p"},
        "user": {"name": "u", "domain": {"id": "d"}}, "application_credential": {"id": "a"},
        "catalog": [{"type": "object-store", "name": "swift", "endpoints": [
            {"region": "R", "region_id": "r", "interface": "public", "url": "http://s/v1/AUTH_p"}]}]}});
    let body = read_v3(v3.to_string().as_bytes()).unwrap();
    assert_eq!(body.endpoints[0].regions, ["R", "r"]);
    assert_eq!(
        (body.user.as_deref(), body.user_domain_id.as_deref()),
        (Some("u"), Some("d"))
    );
    assert_eq!(body.application_id.as_deref(), Some("a"));
    assert!(body.scoped && body.expires.is_some());
    let v2 = json!({"access": {"token": {"id": "t", "expires": "2031-01-01T00:00:00Z", "tenant": {"id": "p"}},
        "serviceCatalog": [{"type": "object-store", "name": "swift", "endpoints": [
            {"region": "R", "publicURL": "http://s", "internalURL": "http://i"}]}]}});
    let body = read_v2(v2.to_string().as_bytes()).unwrap();
    assert_eq!(body.token.as_deref(), Some("t"));
    assert_eq!(find(&body.endpoints, &any()).as_deref(), Some("http://s"));
    for text in ["", "[]", "{}", "<html>", r#"{"token": 5}"#] {
        assert!(
            read_v3(text.as_bytes()).is_none() && read_v2(text.as_bytes()).is_none(),
            "{text}"
        );
    }
}

// storage-swift 21
#[test]
fn of_the_versions_that_work_the_highest_is_used() {
    let list = |entries: &[(&str, &str, &str)]| {
        let entries: Vec<_> = entries
            .iter()
            .map(|(id, status, href)| json!({"id": id, "status": status, "links": [{"rel": "self", "href": href}]}))
            .collect();
        json!({"versions": {"values": entries}}).to_string()
    };
    let v2 = |status| ("v2.0", status, "http://internal:5000/v2.0/");
    let v3 = |status| ("v3.14", status, "http://internal:5000/v3/");
    for (listed, asked, expected) in [
        (
            list(&[v2("deprecated"), v3("stable")]),
            "https://h",
            Some((Api::V3, "https://h/v3")),
        ),
        (
            list(&[v2("stable"), v3("CURRENT")]),
            "https://h",
            Some((Api::V3, "https://h/v3")),
        ),
        (
            list(&[v2("supported"), v3("experimental")]),
            "https://h",
            Some((Api::V2, "https://h/v2.0")),
        ),
        (list(&[v2("deprecated")]), "https://h", None),
        (list(&[("v4.0", "stable", "http://h/v4")]), "https://h", None),
        // The entry at the URL itself, whatever its status.
        (
            list(&[("v2.0", "deprecated", "https://h/identity"), v3("stable")]),
            "https://h/identity",
            Some((Api::V2, "https://h/identity")),
        ),
        (
            json!({"versions": {"values": [{"id": "v3.8", "status": "stable"}]}}).to_string(),
            "https://h/identity",
            Some((Api::V3, "https://h/identity/v3")),
        ),
        ("<html>".to_owned(), "https://h", None),
    ] {
        let chosen = choose(listed.as_bytes(), asked);
        let chosen = chosen.as_ref().map(|(api, url)| (*api, url.as_str()));
        assert_eq!(chosen, expected, "{listed}");
    }
}
