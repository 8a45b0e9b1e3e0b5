use super::super::catalog::TokenBody;
use super::*;
use crate::config::facts::{EnvValue, StorageFacts};
use crate::config::yaml;
use crate::program::RegistryProgram as _;
use crate::program::platform::Platform;
use crate::storage::backend::swift::effective::Interface;
use crate::testing::takeover;

fn named(name: &str, id: &str) -> Named {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Named {
        name: given(name),
        id: given(id),
    }
}

fn effective(credentials: Credentials) -> Effective {
    Effective {
        auth_url: "http://h:5000".to_owned(),
        registry_url: "http://h:5000/v3".to_owned(),
        auth_version: 3,
        container: None,
        domain: named("D", ""),
        project: named("P", ""),
        project_domain: Named::default(),
        region: None,
        interface: Interface::Public,
        verify: true,
        credentials: Ok(credentials),
        source: String::new(),
        is_users: false,
    }
}

fn password(text: &str) -> Credentials {
    Credentials {
        username: Sensitive::new("u"),
        password: Sensitive::new(text),
        ..Credentials::default()
    }
}

fn rendered(effective: &Effective) -> StorageFacts {
    Platform.render(&access(effective, "images").unwrap()).unwrap()
}

/// Names and values, as the registry gets them; `!` before a secret.
fn variables(effective: &Effective) -> Vec<(&'static str, String)> {
    let facts = rendered(effective);
    assert_eq!((facts.backend, facts.volumes.len(), facts.files.len()), ("Swift", 0, 0));
    let variables = facts.env.into_iter().map(|variable| {
        let value = match variable.value {
            EnvValue::Text(text) => yaml::text(&text),
            EnvValue::Secret(secret) => format!("!{}", yaml::text(secret.expose())),
            EnvValue::Number(number) => number.to_string(),
            other => panic!("{other:?}"),
        };
        (variable.name.trim_start_matches("REGISTRY_STORAGE"), value)
    });
    variables.collect()
}

fn value(variables: &[(&str, String)], name: &str) -> Option<String> {
    let found = variables.iter().find(|(other, _)| *other == name);
    found.map(|(_, value)| value.clone())
}

// storage-swift 33, 35, 36, workload 21
#[test]
fn the_variables_are_those_of_the_go_operator_in_its_order() {
    let all = variables(&effective(password("hunter22")));
    let expected = [
        ("", "swift"),
        ("_SWIFT_CONTAINER", "images"),
        ("_SWIFT_AUTHURL", "http://h:5000/v3"),
        ("_SWIFT_USERNAME", "!u"),
        ("_SWIFT_PASSWORD", "!hunter22"),
        ("_SWIFT_TOKENID", "!\"\""),
        ("_SWIFT_APPLICATIONCREDENTIALID", "!\"\""),
        ("_SWIFT_APPLICATIONCREDENTIALNAME", "!\"\""),
        ("_SWIFT_APPLICATIONCREDENTIALSECRET", "!\"\""),
        ("_SWIFT_AUTHVERSION", "3"),
        ("_SWIFT_DOMAIN", "D"),
        ("_SWIFT_TENANT", "P"),
    ];
    assert_eq!(all, expected.map(|(name, value)| (name, value.to_owned())));
    let full = Effective {
        domain: named("D", "d"),
        project: named("P", "0123e4"),
        region: Some("R".to_owned()),
        ..effective(Credentials {
            application_id: Sensitive::new("i"),
            application_secret: Sensitive::new("s"),
            ..Credentials::default()
        })
    };
    let all = variables(&full);
    let names: Vec<_> = all.iter().map(|(name, _)| *name).skip(10).collect();
    assert_eq!(
        names,
        [
            "_SWIFT_DOMAIN",
            "_SWIFT_DOMAINID",
            "_SWIFT_TENANT",
            "_SWIFT_TENANTID",
            "_SWIFT_REGION"
        ]
    );
    assert_eq!(value(&all, "_SWIFT_TENANTID").as_deref(), Some("\"0123e4\""));
    for unused in ["_SWIFT_USERNAME", "_SWIFT_PASSWORD", "_SWIFT_TOKENID"] {
        let text = value(&all, unused).unwrap();
        assert_eq!(text, "!\"\"");
        // issue 11: the registry reads an empty text, not two quotes.
        assert_eq!(serde_saphyr::from_str::<String>(&text[1..]).unwrap(), "");
    }
    assert_eq!(all.iter().filter(|(_, value)| value.starts_with('!')).count(), 6);
}

// storage-swift 34
#[test]
fn a_password_is_a_text_for_the_registry_whatever_it_looks_like() {
    for (given, expected) in [("12345", "\"12345\""), ("# a'b\"c", "'# a''b\"c'"), ("yes", "\"yes\"")] {
        let all = variables(&effective(password(given)));
        let found = value(&all, "_SWIFT_PASSWORD").unwrap();
        assert_eq!(found, format!("!{expected}"));
        assert_eq!(serde_saphyr::from_str::<String>(&found[1..]).unwrap(), given);
    }
}

// issue 11: project_domain_name that differs from user_domain_name reaches the registry
#[test]
fn the_domain_of_the_project_is_rendered_only_if_it_is_another() {
    for (project, project_domain, expected) in [
        (named("P", ""), named("Q", ""), Some("Q")),
        (named("P", ""), named("D", ""), None),
        (named("P", ""), Named::default(), None),
        (named("P", "p"), named("Q", ""), None),
    ] {
        let all = variables(&Effective {
            project,
            project_domain,
            ..effective(password("p"))
        });
        assert_eq!(value(&all, "_SWIFT_TENANTDOMAIN").as_deref(), expected);
    }
    // An application credential has its project, and a login without a project needs no domain of one.
    let application = Credentials {
        application_id: Sensitive::new("i"),
        application_secret: Sensitive::new("s"),
        ..Credentials::default()
    };
    for (project, credentials) in [(named("P", ""), application), (Named::default(), password("p"))] {
        let all = variables(&Effective {
            project,
            project_domain: named("Q", ""),
            ..effective(credentials)
        });
        assert_eq!(value(&all, "_SWIFT_TENANTDOMAIN"), None);
    }
    let by_id = variables(&Effective {
        project_domain: named("", "q"),
        ..effective(password("p"))
    });
    assert_eq!(by_id.last().unwrap(), &("_SWIFT_TENANTDOMAINID", "q".to_owned()));
    // The same domain in other words: a variable that the Go operator does not render would replace the pods.
    for (domain, project_domain, expected) in [
        (named("D", "d"), named("D", ""), None),
        (named("D", "d"), named("", "d"), None),
        (named("D", "d"), named("D", "e"), Some("D")),
        (named("", "d"), named("D", ""), Some("D")),
    ] {
        let all = variables(&Effective {
            domain: domain.clone(),
            project_domain: project_domain.clone(),
            ..effective(password("p"))
        });
        let found = value(&all, "_SWIFT_TENANTDOMAIN");
        assert_eq!(found.as_deref(), expected, "{domain:?} {project_domain:?}");
    }
}

#[test]
fn what_the_registry_cannot_use_is_completed_by_a_login() {
    let by_user_id = Credentials {
        username: Sensitive::default(),
        user_id: Sensitive::new("x"),
        ..password("p")
    };
    let by_name = Credentials {
        username: Sensitive::new("u"),
        application_name: Sensitive::new("n"),
        application_secret: Sensitive::new("s"),
        ..Credentials::default()
    };
    assert!(needs_login(&by_user_id) && needs_login(&by_name) && !needs_login(&password("p")));
    let token = Token {
        secret: Sensitive::new("t"),
        body: TokenBody {
            user: Some("name".to_owned()),
            user_domain_id: Some("d".to_owned()),
            application_id: Some("a".to_owned()),
            ..TokenBody::default()
        },
    };
    let complete = |effective: Effective| {
        let RegistryStorage::Swift(swift) = completed(access(&effective, "images").unwrap(), &token) else {
            panic!("another storage");
        };
        swift
    };
    let of_user = complete(Effective {
        domain: Named::default(),
        ..effective(by_user_id)
    });
    assert_eq!(
        (of_user.username.expose(), of_user.domain.id.as_deref()),
        ("name", Some("d"))
    );
    let of_application = complete(effective(by_name));
    assert_eq!(of_application.application_credential_id.expose(), "a");
    assert_eq!(of_application.username.expose(), "u");
}

#[test]
fn debug_output_has_no_secret_and_fingerprints_have_all() {
    let access = access(&effective(password("hunter22")), "images").unwrap();
    assert!(!format!("{access:?}").contains("hunter22"));
    assert!(access.texts().iter().any(|text| text == "hunter22"));
}

// workload 61
#[test]
fn a_take_over_from_the_go_operator_changes_nothing_in_the_pods() {
    for case in takeover::cases("swift-") {
        let spec = case.storage.swift.as_ref().unwrap();
        let effective = Effective::of(spec, &case.snapshot).unwrap_or_else(|e| panic!("{}: {e:?}", case.name));
        let access = access(&effective, spec.container.as_deref().unwrap()).unwrap();
        case.assert_unchanged(&Platform.render(&access).unwrap());
    }
}
