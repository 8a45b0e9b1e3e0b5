use serde_json::json;

use super::*;

fn named(name: &str, id: &str) -> Named {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Named {
        name: given(name),
        id: given(id),
    }
}

fn login(credentials: Credentials) -> Login {
    Login {
        url: "http://h/v3".to_owned(),
        credentials,
        domain: named("D", ""),
        project: named("P", ""),
        project_domain: named("D", ""),
        precedence: Precedence::Operator,
    }
}

fn password() -> Credentials {
    Credentials {
        username: Sensitive::new("u"),
        password: Sensitive::new("hunter22"),
        ..Credentials::default()
    }
}

fn application() -> Credentials {
    Credentials {
        application_id: Sensitive::new("i"),
        application_secret: Sensitive::new("hunter22"),
        ..Credentials::default()
    }
}

fn body(login: &Login) -> Value {
    match login.request().unwrap() {
        Request3::Issue(body) => body["auth"].clone(),
        Request3::Given(token) => json!({"given": token.expose()}),
    }
}

#[allow(clippy::needless_pass_by_value)] // `json!` at each call reads better without `&`.
fn with_password(user: Value, scope: Value) -> Value {
    let mut auth = json!({"identity": {"methods": ["password"], "password": {"user": user}}});
    if !scope.is_null() {
        auth["scope"] = json!({"project": scope});
    }
    auth
}

// storage-swift 22, 23
#[test]
fn a_password_names_user_domain_and_project() {
    let user = json!({"name": "u", "password": "hunter22", "domain": {"name": "D"}});
    let both = login(password());
    assert_eq!(
        body(&both),
        with_password(user.clone(), json!({"name": "P", "domain": {"name": "D"}}))
    );
    let by_id = Login {
        project: named("P", "p"),
        ..both.clone()
    };
    assert_eq!(body(&by_id), with_password(user.clone(), json!({"id": "p"})));
    let unscoped = Login {
        project: named("", ""),
        ..both.clone()
    };
    assert_eq!(body(&unscoped), with_password(user.clone(), Value::Null));
    // issue 11: the project is in another domain
    let elsewhere = Login {
        project_domain: named("", "q"),
        ..both.clone()
    };
    assert_eq!(
        body(&elsewhere),
        with_password(user, json!({"name": "P", "domain": {"id": "q"}}))
    );
    let by_domain_id = Login {
        domain: named("", "d"),
        project: named("", "p"),
        ..both.clone()
    };
    let user = json!({"name": "u", "password": "hunter22", "domain": {"id": "d"}});
    assert_eq!(body(&by_domain_id), with_password(user, json!({"id": "p"})));
    let without_domain = Login {
        domain: named("", ""),
        ..both
    };
    let error = without_domain.request().map(drop).unwrap_err();
    assert!(error.message.contains("spec.storage.swift.domain"), "{error}");
    let by_user_id = Login {
        credentials: Credentials {
            user_id: Sensitive::new("x"),
            ..password()
        },
        ..without_domain
    };
    assert_eq!(body(&by_user_id)["identity"]["password"]["user"]["id"], "x");
}

// storage-swift 24
#[test]
fn an_application_credential_has_no_scope() {
    let auth = body(&login(application()));
    let expected = json!({"identity": {"methods": ["application_credential"],
        "application_credential": {"id": "i", "secret": "hunter22"}}});
    assert_eq!(auth, expected);
    let by_name = Credentials {
        application_id: Sensitive::default(),
        application_name: Sensitive::new("n"),
        username: Sensitive::new("u"),
        ..application()
    };
    let auth = body(&login(by_name));
    assert_eq!(
        auth["identity"]["application_credential"],
        json!({"name": "n", "secret": "hunter22", "user": {"name": "u", "domain": {"name": "D"}}})
    );
    assert_eq!(auth.get("scope"), None);
}

// storage-swift 25
#[test]
fn of_several_credentials_operator_and_registry_use_those_that_each_prefers() {
    let all = Credentials {
        username: Sensitive::new("u"),
        password: Sensitive::new("hunter22"),
        token: Sensitive::new("t"),
        ..application()
    };
    let without = |token: bool, application: bool| {
        let mut some = all.clone();
        if !token {
            some.token = Sensitive::default();
        }
        if !application {
            some.application_secret = Sensitive::default();
        }
        some
    };
    for (credentials, precedence, expected) in [
        (without(true, true), Precedence::Operator, "given"),
        (without(false, true), Precedence::Operator, "password"),
        (without(true, true), Precedence::Registry, "application_credential"),
        (without(true, false), Precedence::Registry, "password"),
        (
            Credentials {
                token: Sensitive::new("t"),
                ..Credentials::default()
            },
            Precedence::Registry,
            "given",
        ),
    ] {
        let auth = body(&Login {
            precedence,
            ..login(credentials)
        });
        let method = auth["identity"]["methods"][0].as_str().unwrap_or("given");
        assert_eq!(method, expected, "{precedence:?}");
    }
    assert!(login(Credentials::default()).request().is_err());
}

// storage-swift 51
#[test]
fn a_login_does_not_show_its_secrets() {
    let shown = format!("{:?}", login(password()));
    assert!(!shown.contains("hunter22"), "{shown}");
    let error = header(&Sensitive::new("hunter22\n"), "r").unwrap_err();
    assert!(!error.to_string().contains("hunter22"));
}
