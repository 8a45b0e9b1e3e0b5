//! Keystone and Swift.

use anyhow::{Context as _, Result, ensure};
use devcluster::stores::{
    Account, Authority, Call, Fault, Gate, OpenStack, OpenStackOptions, Reply, Swift, SwiftOptions, When,
};
use hyper::Method;
use serde_json::{Value, json};

async fn status(account: &Account, method: Method, path: &str) -> Result<u16> {
    Ok(account.call(method, path, &[], b"").await?.status)
}

#[tokio::test]
async fn the_official_clients_use_keystone_and_swift_over_tls() -> Result<()> {
    let OpenStack { keystone, swift } = OpenStack::shared().await?;
    ensure!(keystone.url().starts_with("https://127.0.0.1:") && swift.url().starts_with("https://127.0.0.1:"));
    let project = keystone.project("clients").await?;
    let credential = keystone.application_credential(&project, "registry").await?;
    let arguments = [
        &project.name,
        &project.user,
        &project.password,
        &credential.id,
        &credential.secret,
    ];
    let output = keystone
        .run_client(include_str!("openstack_client.py"), &arguments.map(String::as_str))
        .await?;
    let deleted: Value = serde_json::from_str(output.trim()).with_context(|| output.clone())?;
    ensure!(
        (&deleted["Number Deleted"], &deleted["Number Not Found"]) == (&json!(2), &json!(1)),
        "{output}"
    );
    let account = swift.account(keystone, &project).await?;
    let metadata = account.metadata("quarry").await?.context("no container")?;
    ensure!(metadata.get("owner").is_some_and(|owner| owner == "other") && metadata.len() == 2);
    Ok(())
}

#[tokio::test]
async fn projects_do_not_see_each_other_and_lost_users_are_refused() -> Result<()> {
    let OpenStack { keystone, swift } = OpenStack::shared().await?;
    let (one, other) = (keystone.project("one").await?, keystone.project("other").await?);
    let token = keystone.token(&one, &one.password).await?;
    let (own, foreign) = (swift.account_with(&one, &token), swift.account_with(&other, &token));
    own.create("quarry", &[("Owner", "one")]).await?;
    own.put("quarry", "a/b", b"body").await?;
    own.set_metadata("quarry", &[("Note", "x")]).await?;
    ensure!(own.objects("quarry").await? == ["a/b"]);
    ensure!(status(&foreign, Method::PUT, "/quarry").await? == 403);

    // The administrator sees both.
    let seen = swift.account(keystone, &one).await?;
    ensure!(
        seen.metadata("quarry")
            .await?
            .is_some_and(|metadata| metadata.len() == 2)
    );
    ensure!(
        swift
            .account(keystone, &other)
            .await?
            .metadata("quarry")
            .await?
            .is_none()
    );
    devcluster::wait::until(
        "the account lists the container",
        std::time::Duration::from_mins(1),
        || async { Ok((seen.containers().await? == ["quarry"]).then_some(())) },
    )
    .await?;

    keystone.set_password(&one, "changed").await?;
    ensure!(keystone.token(&one, &one.password).await.is_err());
    ensure!(status(&own, Method::HEAD, "/quarry").await? == 401);
    // Keystone revokes by the second: also a token that it issues in the same second.
    let own = devcluster::wait::until(
        "a token of the new password is accepted",
        std::time::Duration::from_mins(1),
        || async {
            let token = keystone.token(&one, "changed").await?;
            let own = swift.account_with(&one, &token);
            Ok((status(&own, Method::HEAD, "/quarry").await? == 204).then_some(own))
        },
    )
    .await?;
    keystone.revoke(&one, "member").await?;
    ensure!(matches!(status(&own, Method::HEAD, "/quarry").await?, 401 | 403));

    let credential = keystone.application_credential(&other, "registry").await?;
    keystone.delete_application_credential(&other, &credential).await?;
    keystone.delete_user(&other).await?;
    ensure!(keystone.token(&other, &other.password).await.is_err());
    Ok(())
}

/// The URLs of the object store in the catalogue of a project's token, by region.
async fn catalogue(stack: &OpenStack, project: &devcluster::stores::Project) -> Result<Vec<(String, String)>> {
    let token = stack.keystone.token(project, &project.password).await?;
    let headers = [("x-auth-token", token.as_str())];
    let call = Call::new(Method::GET, "/v3/auth/catalog").headers(&headers);
    let answer = stack.keystone.target().call(call).await?.good()?;
    let answer: Value = serde_json::from_slice(&answer.body)?;
    let services = answer["catalog"].as_array().context("no catalogue")?;
    let stores = services.iter().filter(|service| service["type"] == "object-store");
    let endpoints = stores.flat_map(|service| service["endpoints"].as_array().into_iter().flatten());
    let public = endpoints.filter(|endpoint| endpoint["interface"] == "public");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(public
        .map(|endpoint| (text(&endpoint["region"]), text(&endpoint["url"])))
        .collect())
}

#[tokio::test]
async fn a_swift_without_middleware_has_a_region_and_a_gate_stands_before_both() -> Result<()> {
    let stack = OpenStack::start(OpenStackOptions::default()).await?;
    let OpenStack { keystone, swift } = &stack;
    let options = SwiftOptions {
        region: "bare".into(),
        without: ["bulk", "slo", "dlo", "tempurl"].map(str::to_owned).to_vec(),
        ..SwiftOptions::default()
    };
    let bare = Swift::start(keystone, options).await?;
    for (server, has) in [(swift, true), (&bare, false)] {
        let info = server.target().call(Call::new(Method::GET, "/info")).await?.good()?;
        let info: Value = serde_json::from_slice(&info.body)?;
        for capability in ["bulk_delete", "slo", "tempurl"] {
            ensure!(info.get(capability).is_some() == has, "{capability}: {info}");
        }
    }
    let project = keystone.project("gated").await?;
    let authority = Authority::new("gates")?;
    let gate = Gate::start(swift.target(), Some(&authority), &[])?;
    keystone.set_swift("RegionOne", Some(&gate.url())).await?;
    let mut found = catalogue(&stack, &project).await?;
    found.sort();
    let expected = [
        ("RegionOne".to_owned(), format!("{}/v1/AUTH_{}", gate.url(), project.id)),
        ("bare".to_owned(), bare.account_url(&project)),
    ];
    ensure!(found == expected, "{found:?}");
    keystone.set_swift("bare", None).await?;
    ensure!(catalogue(&stack, &project).await?.len() == 1);
    keystone.hide_object_store(&project).await?;
    ensure!(catalogue(&stack, &project).await?.is_empty());
    let other = keystone.project("with-store").await?;
    ensure!(catalogue(&stack, &other).await?.len() == 1);

    let token = keystone.token(&project, &project.password).await?;
    gate.plan(
        When::operation("PutContainer").nth(1),
        Fault::Answer(Reply::new(503, "")),
    );
    let path = format!("/v1/AUTH_{}/quarry", project.id);
    let headers = [("x-auth-token", token.as_str())];
    let put = || gate.target().call(Call::new(Method::PUT, &path).headers(&headers));
    ensure!((put().await?.status, put().await?.status, put().await?.status) == (503, 201, 202));

    let before = Gate::start(keystone.target(), None, &[])?;
    before.plan(
        When::operation("POST /v3/auth/tokens"),
        Fault::Answer(Reply::keystone_error(401, "Unauthorized", "refused by the test")),
    );
    let refused = before.target().call(Call::new(Method::POST, "/v3/auth/tokens")).await?;
    ensure!(refused.status == 401 && refused.text().contains("Unauthorized"));
    ensure!(before.target().call(Call::new(Method::GET, "/v3")).await?.status == 200);
    Ok(())
}
