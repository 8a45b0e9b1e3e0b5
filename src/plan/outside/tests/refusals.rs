//! What is reported instead of being exposed.

use super::*;

// kubernetes 15
#[test]
fn a_route_without_a_host_is_reported_with_the_variable_that_gives_it_one() {
    for way in [Way::Ingress, Way::Gateway] {
        let without = Exposure {
            domain: None,
            ..exposure(way)
        };
        let plan = cluster(without.clone(), &wants_default(), []).plan();
        let message = failure(&plan);
        assert!(
            message.contains("EXPOSE_DOMAIN") && message.contains("spec.defaultRoute"),
            "{message}"
        );
        for kind in [Kind::Ingress, Kind::HttpRoute] {
            assert!(plan.desired(kind, DEFAULT).is_none());
        }
        let plan = cluster(without, &json!({"routes": [{"name": "blue"}]}), []).plan();
        let message = failure(&plan);
        assert!(
            message.contains("EXPOSE_DOMAIN") && message.contains("spec.routes[0].hostname"),
            "{message}"
        );
    }
}

// kubernetes 14
#[test]
fn objects_of_others_are_conflicts_and_stay() {
    let spec = json!({"routes": [{"name": "blue", "hostname": "blue.test"}]});
    let gateway = "gateway.networking.k8s.io/v1";
    for (way, foreign) in [
        (
            Way::Ingress,
            operand("networking.k8s.io/v1", "Ingress", "blue", &json!({})),
        ),
        (Way::Ingress, operand("v1", "Secret", names::BACKEND_CA, &json!({}))),
        (
            Way::Ingress,
            operand("traefik.io/v1alpha1", "ServersTransport", "image-registry", &json!({})),
        ),
        (Way::Gateway, operand(gateway, "HTTPRoute", "blue", &json!({}))),
        (
            Way::Gateway,
            operand(gateway, "BackendTLSPolicy", "image-registry", &json!({})),
        ),
        (Way::Gateway, operand("v1", "ConfigMap", names::BACKEND_CA, &json!({}))),
    ] {
        let given = || Exposure {
            ingress_class: Some("traefik".to_owned()),
            ..exposure(way)
        };
        let plan = cluster(given(), &spec, [foreign.clone()]).plan();
        let found = conflicts(&plan);
        let name = foreign["metadata"]["name"].as_str().unwrap().to_owned();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].contains(&name) && found[0].contains(names::OWNED_ANNOTATION),
            "{found:?}"
        );
        // Nor does a switch or a removal touch it.
        let kind = Kind::find(
            foreign["apiVersion"].as_str().unwrap(),
            foreign["kind"].as_str().unwrap(),
        )
        .unwrap();
        let reference = crate::api::ObjectRef::new(kind, names::NAMESPACE, &name);
        // What comes after the plan is not written either.
        let before = cluster(given(), &spec, []).plan();
        let own = before.present.iter().find(|desired| desired.reference == reference);
        assert!(
            own.unwrap().mark.is_some_and(|mark| !mark.is_on(&foreign)),
            "{reference}"
        );
        let elsewhere = cluster(exposure(Way::Nowhere), &json!({}), [foreign]);
        assert!(elsewhere.plan().absent.is_empty());
        let removed = removal(&elsewhere.snapshot, None).delete;
        assert!(!removed.contains(&reference), "{removed:?}");
    }
}

// kubernetes 19, for Ingresses and HTTPRoutes
#[test]
fn a_registry_without_logins_is_not_exposed_by_any_way() {
    for (way, kind) in [(Way::Ingress, Kind::Ingress), (Way::Gateway, Kind::HttpRoute)] {
        let mut stock = cluster(exposure(way), &wants_default(), [users_secret(USERS)]);
        stock.snapshot.environment.program = Program::Distribution;
        let made = stock.plan().desired(kind, DEFAULT).cloned().unwrap();
        let reference = made.reference.clone();
        stock.put(&drift::merged(&made, &Value::Null, None));
        stock.allow_anonymous(Some("true"));
        let mut stock = resolved(stock);
        let plan = stock.plan();
        assert!(plan.desired(kind, DEFAULT).is_none());
        assert!(plan.absent.contains(&reference));
        assert!(
            stock.env("REGISTRY_AUTH").is_some(),
            "{way:?}: it asks until nothing leads to it"
        );
        stock.snapshot.objects.remove(&reference);
        assert!(stock.env("REGISTRY_AUTH").is_none());
        // What may not be read any more may still be there.
        let mut unknown = stock.snapshot.objects.clone();
        unknown.set_absent_kind(kind);
        let known = std::mem::replace(&mut stock.snapshot.objects, unknown);
        let mut service = live_service();
        service["metadata"]["annotations"][names::EXPOSURE_ANNOTATION] = json!(way.name());
        stock.put(&service);
        assert!(stock.env("REGISTRY_AUTH").is_some());
        let kept = drift::merged(
            stock.plan().desired(Kind::Service, "image-registry").unwrap(),
            &service,
            None,
        );
        assert_eq!(kept["metadata"]["annotations"][names::EXPOSURE_ANNOTATION], way.name());
        // Neither another way nor a removal forgets it, nor loses the only memory of it.
        let (other, of_other) = match way {
            Way::Ingress => (Way::Gateway, exposure(Way::Gateway)),
            _ => (Way::Ingress, exposure(Way::Ingress)),
        };
        let own = std::mem::replace(&mut stock.snapshot.environment.exposure, of_other);
        assert!(stock.env("REGISTRY_AUTH").is_some(), "{way:?}, then {other:?}");
        let told = stock
            .plan()
            .failures
            .iter()
            .any(|failure| failure.message.contains("02-rbac-exposure.yaml"));
        assert!(told);
        stock.snapshot.environment.exposure = own;
        let removal = crate::plan::removal::removal(&stock.snapshot, None);
        assert!(!removal.objects_gone && !removal.storage_may_go());
        assert!(!removal.delete.iter().any(|reference| reference.kind == Kind::Service));
        assert!(removal.waiting.unwrap().contains("02-rbac-exposure.yaml"));
        stock.snapshot.objects = known;
        assert!(crate::plan::exposure::refused(&stock.resolved).is_some());
        // Back: only once no pod is left that asks nobody.
        let open = stock.deployment();
        let mut live = drift::merged(&open, &Value::Null, None);
        live["metadata"]["uid"] = json!("u");
        stock.put(&live);
        stock.allow_anonymous(None);
        let stock = resolved(stock);
        assert!(stock.plan().desired(kind, DEFAULT).is_none());
        // With the administrator's word it is exposed.
        let mut exposed = cluster(exposure(way), &wants_default(), [users_secret(USERS)]);
        exposed.snapshot.environment.program = Program::Distribution;
        exposed.allow_anonymous(Some("exposed"));
        let exposed = resolved(exposed);
        assert!(exposed.plan().desired(kind, DEFAULT).is_some());
        assert!(
            exposed
                .plan()
                .events
                .iter()
                .any(|event| event.reason == "ExposedWithoutLogin")
        );
    }
}

#[test]
fn an_api_that_is_not_served_is_reported() {
    for (way, kinds, told) in [
        (Way::Ingress, vec![Kind::Ingress], "IngressesUnsupported"),
        (Way::Gateway, vec![Kind::HttpRoute], "HTTPRoutesUnsupported"),
        (
            Way::Gateway,
            vec![Kind::BackendTlsPolicy, Kind::BackendTlsPolicyAlpha],
            "BackendTLSPolicy",
        ),
        (Way::Route, vec![Kind::Route], "RoutesUnsupported"),
    ] {
        let mut cluster = cluster(exposure(way), &wants_default(), []);
        for kind in kinds {
            cluster.snapshot.objects.set_absent_kind(kind);
        }
        let plan = cluster.plan();
        assert!(failure(&plan).contains(told), "{}", failure(&plan));
    }
    // Without Traefik's CRDs the CA has to come from elsewhere.
    let mut cluster = cluster(of_class("traefik"), &wants_default(), []);
    cluster.snapshot.objects.set_absent_kind(Kind::ServersTransport);
    let plan = cluster.plan();
    assert_eq!(plan.events[0].reason, "ServersTransportUnsupported");
    let service = plan.desired(Kind::Service, "image-registry").unwrap();
    assert_eq!(
        annotations(&service.body),
        ["traefik.ingress.kubernetes.io/service.serversscheme: https"]
    );
}

// api 40, for Ingresses and HTTPRoutes: the message names what has to be edited
#[test]
fn a_refused_field_is_explained_by_the_config_or_by_a_variable() {
    let spec = json!({"defaultRoute": true, "routes": [{"name": "blue", "hostname": "blue.test"}]});
    let of_ingress = cluster(of_class("traefik"), &spec, []).plan();
    let of_gateway = cluster(exposure(Way::Gateway), &spec, []).plan();
    let deployment = "of Deployment openshift-image-registry/cluster-image-registry-operator";
    for (plan, kind, name, field, expected) in [
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "metadata.name",
            "spec.routes[0].name of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "spec.rules[0].host",
            "spec.routes[0].hostname of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "spec.tls[0].hosts",
            "spec.routes[0].hostname of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            "blue",
            "spec.tls[0].secretName",
            "spec.routes[0].secretName of Config cluster".to_owned(),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            DEFAULT,
            "spec.rules[0].host",
            format!("variable EXPOSE_DOMAIN {deployment}"),
        ),
        (
            &of_ingress,
            Kind::Ingress,
            DEFAULT,
            "spec.ingressClassName",
            format!("variable EXPOSE_INGRESS_CLASS {deployment}"),
        ),
        (
            &of_gateway,
            Kind::HttpRoute,
            "blue",
            "spec.hostnames[0]",
            "spec.routes[0].hostname of Config cluster".to_owned(),
        ),
        (
            &of_gateway,
            Kind::HttpRoute,
            "blue",
            "spec.parentRefs[0].name",
            format!("variable EXPOSE_GATEWAY {deployment}"),
        ),
        (
            &of_gateway,
            Kind::HttpRoute,
            "blue",
            "metadata.annotations",
            format!("variable EXPOSE_ANNOTATIONS {deployment}"),
        ),
    ] {
        let desired = plan.desired(kind, name).unwrap();
        assert_eq!(desired.explain(&[field.to_owned()]), [expected], "{field}");
    }
}
