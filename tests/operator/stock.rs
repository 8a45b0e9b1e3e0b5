//! The operator with the stock registry program: its users and its login, made once; faulty users; no exposure without logins.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image_registry_operator::api::{Kind, ObjectRef};
use image_registry_operator::names;
use serde_json::{Value, json};

use crate::empty_cluster;
use crate::support::operator::STOCK;
use crate::support::{condition, deployment, env, is, operand, uid};

fn secret(name: &str) -> ObjectRef {
    operand(Kind::Secret, name)
}

fn text(secret: &Value, key: &str) -> String {
    let encoded = secret["data"][key].as_str().unwrap();
    String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap()
}

fn asks(deployment: &Value) -> bool {
    env(deployment, "REGISTRY_AUTH").is_some()
}

// kubernetes 17, 18, 19, 22; in part: kubernetes 16 (no pod pulls here), kubernetes 20 (as far as there are Routes)
#[tokio::test]
async fn the_stock_registry_gets_users_and_a_login_once_and_is_never_exposed_without_them() {
    let cluster = empty_cluster().await;
    cluster.create_config(json!({})).await;
    let operator = cluster.operator_with(&STOCK).await;
    let (users, valid, login) = (names::HTPASSWD_SECRET, names::HTPASSWD_COPY, names::LOGIN_SECRET);
    let made = cluster.until_present(&secret(users)).await;
    cluster.until_rolled_out().await;
    let document: Value =
        serde_json::from_str(&text(&cluster.until_present(&secret(login)).await, ".dockerconfigjson")).unwrap();
    let entry = &document["auths"]["image-registry.openshift-image-registry.svc:5000"];
    let password = entry["password"].as_str().unwrap();
    let line = text(&made, names::HTPASSWD_KEY);
    let (user, hash) = line.trim().split_once(':').unwrap();
    assert_eq!((user, entry["username"].as_str()), (names::LOGIN_USER, Some(user)));
    assert!(bcrypt::verify(password, hash).unwrap());
    assert!(
        document["auths"].as_object().unwrap().len() > 2,
        "addresses of the Service too"
    );
    let running = cluster.get(&deployment()).await.unwrap();
    assert!(asks(&running));

    // A second user reaches the pods' copy, without a rollout; a line that is not bcrypt does not.
    let put = async |content: String| {
        let patch = json!({"data": {names::HTPASSWD_KEY: STANDARD.encode(content)}});
        cluster.patch(&secret(users), patch).await;
    };
    let two = format!("{line}frodo:{hash}\n");
    put(two.clone()).await;
    let is_copied = |o: Option<&Value>| o.is_some_and(|o| text(o, names::HTPASSWD_KEY) == two);
    cluster.until(&secret(valid), "with two users", is_copied).await;
    put(format!("{two}bilbo:plain\n")).await;
    let told = |c: &Value| condition(c, "Progressing").2.contains("line 3 ");
    let config = cluster.until_config("told of the line", told).await;
    assert!(!config.to_string().contains("bilbo"));
    assert_eq!(
        text(&cluster.get(&secret(valid)).await.unwrap(), names::HTPASSWD_KEY),
        two
    );
    put(two.clone()).await;
    cluster.until_config("good again", |c| !told(c)).await;

    // Nothing is made anew.
    operator.stop().await;
    let operator = cluster.operator_with(&STOCK).await;
    cluster.until_rolled_out().await;
    let same = cluster.get(&secret(users)).await.unwrap();
    assert_eq!(
        (uid(&same), text(&same, names::HTPASSWD_KEY)),
        (uid(&made), two.clone())
    );
    let now = cluster.get(&deployment()).await.unwrap();
    assert_eq!(now["spec"]["template"], running["spec"]["template"]);
    // A new login adds a user.
    cluster.delete(&secret(login)).await;
    let more = cluster.until_present(&secret(login)).await;
    assert!(text(&more, ".dockerconfigjson").contains("registry-2"));
    let all = text(&cluster.get(&secret(users)).await.unwrap(), names::HTPASSWD_KEY);
    assert!(all.starts_with(&two) && all.contains("\nregistry-2:$2"), "{all}");

    // No logins: the Routes go before, and none is made.
    let route = operand(Kind::Route, names::DEFAULT_ROUTE);
    cluster.edit(json!({"defaultRoute": true})).await;
    cluster.until_present(&route).await;
    let annotate = async |value: Value| {
        let config = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let patch = json!({"metadata": {"annotations": {names::ANONYMOUS_ANNOTATION: value}}});
        cluster.patch(&config, patch).await;
    };
    annotate(json!("true")).await;
    cluster.until_absent(&route).await;
    let refused = |c: &Value| is(c, "Degraded", "True", "ExposureRefused");
    cluster.until_config("refused", refused).await;
    let open = |o: Option<&Value>| o.is_some_and(|o| !asks(o));
    cluster.until(&deployment(), "without logins", open).await;
    assert!(cluster.get(&route).await.is_none());
    annotate(Value::Null).await;
    cluster
        .until(&deployment(), "with logins", |o| o.is_some_and(asks))
        .await;
    cluster.until_present(&route).await;
    assert!(!operator.log().contains(password));

    // Removal.
    cluster.edit(json!({"managementState": "Removed"})).await;
    for name in [users, valid, login] {
        cluster.until_absent(&secret(name)).await;
    }
    cluster
        .until_absent(&operand(Kind::ConfigMap, names::REGISTRY_CONFIG_MAP))
        .await;
}
