//! Azure.

use anyhow::{Context as _, Result, ensure};
use devcluster::programs;
use devcluster::stores::{
    Answer, Authority, Azure, AzureCloud, AzureOptions, Call, EntraApplication, EntraCertificate, Fault, ForwardProxy,
    LongRunning, OperationHeaders, ProxyOptions, Reply, Role, TokenIssuer, When,
};
use hyper::Method;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::Command;

const GROUP: &str = "demo-rg";
const LOCATION: &str = "westeurope";
const SUBJECT: &str = "system:serviceaccount:openshift-image-registry:registry";
const ARM: &str = "https://management.azure.com/.default";
const STORAGE: &str = "https://storage.azure.com/.default";

/// An Azure with a group, a network and an application.
struct Site {
    azure: Azure,
    tenant: String,
    subscription: String,
    group: String,
    operator: EntraApplication,
    directory: TempDir,
}

impl Site {
    async fn new(cloud: AzureCloud) -> Result<Self> {
        let azure = Azure::start(AzureOptions::new(Authority::new("cloud")?).cloud(cloud)).await?;
        let tenant = azure.tenant();
        let subscription = azure.subscription(&tenant);
        let group = azure.resource_group(&subscription, GROUP, LOCATION);
        let operator = azure.application(&tenant);
        Ok(Self {
            azure,
            tenant,
            subscription,
            group,
            operator,
            directory: TempDir::new()?,
        })
    }

    fn write(&self, name: &str, content: &str) -> Result<String> {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.to_str().context("a path")?.to_owned())
    }

    /// Runs a script of `tests/stores/azure` with Microsoft's clients; they reach the public names, and nothing else, by the proxy.
    async fn script(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let python = programs::azure_clients().await?;
        let proxy = ForwardProxy::start(ProxyOptions {
            hosts: Azure::hosts(self.azure.target().address),
            credentials: None,
        })?;
        let authority = self.write("ca.pem", self.azure.authority().pem())?;
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/stores/azure")
            .join(name);
        let ran = Command::new(python)
            .arg("-I")
            .arg(script)
            .args(arguments)
            .env_clear()
            .env("HOME", self.directory.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HTTPS_PROXY", proxy.url())
            .env("REQUESTS_CA_BUNDLE", &authority)
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", self.azure.metadata_url()?)
            .kill_on_drop(true)
            .output()
            .await?;
        let (out, err) = (
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr),
        );
        ensure!(ran.status.success(), "{name}: {}\n{out}\n{err}", ran.status);
        Ok(out.trim().to_owned())
    }

    /// A token for the operator, or what refused it.
    async fn token(&self, kind: &str, file: &str, scope: &str) -> Result<String> {
        let arguments = [kind, &self.tenant, &self.operator.client_id, file, scope];
        self.script("identity.py", &arguments).await
    }

    /// A token, with no client of Microsoft's nearby.
    async fn bearer(&self, scope: &str) -> Result<String> {
        let secret = self.azure.add_secret(&self.operator)?;
        let path = format!("/{}/oauth2/v2.0/token", self.tenant);
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={secret}&scope={scope}",
            self.operator.client_id
        );
        let answer = self
            .azure
            .target()
            .call(Call::new(Method::POST, &path).body(form.as_bytes()))
            .await?;
        let answer: Value = serde_json::from_slice(&answer.good()?.body)?;
        Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    }

    /// A call to Resource Manager or to a blob service.
    async fn call(&self, method: Method, url: &str, token: &str, body: &Value) -> Result<Answer> {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-ms-version", "2024-05-04")];
        let rest = url.strip_prefix("https://").context("a URL")?;
        let (host, path) = rest.split_once('/').context("a path")?;
        let (path, body) = (
            format!("/{path}"),
            if body.is_null() {
                String::new()
            } else {
                body.to_string()
            },
        );
        let call = Call::new(method, &path)
            .host(host)
            .headers(&headers)
            .body(body.as_bytes());
        self.azure.target().call(call).await
    }

    fn account_url(&self, name: &str, rest: &str) -> String {
        let base = format!("https://management.azure.com{}/providers", self.group);
        format!("{base}/Microsoft.Storage/storageAccounts/{name}{rest}?api-version=2023-05-01")
    }
}

fn code(answer: &Answer) -> Result<(u16, String)> {
    let body: Value = serde_json::from_slice(&answer.body).with_context(|| answer.text())?;
    Ok((
        answer.status,
        body["error"]["code"].as_str().unwrap_or_default().to_owned(),
    ))
}

/// Whether a client told something that begins so.
fn got(told: &str, expected: &str) -> Result<()> {
    ensure!(told.starts_with(expected), "{told:?} is not {expected:?}");
    Ok(())
}

fn of_blob(answer: &Answer) -> (u16, String) {
    let code = answer
        .headers
        .get("x-ms-error-code")
        .and_then(|code| code.to_str().ok());
    (answer.status, code.unwrap_or_default().to_owned())
}

fn is((found, told): (u16, String), status: u16, code: &str) -> Result<()> {
    ensure!(found == status && told == code, "{found} {told} is not {status} {code}");
    Ok(())
}

fn account() -> Value {
    json!({ "kind": "StorageV2", "location": LOCATION, "sku": { "name": "Standard_LRS" } })
}

#[tokio::test]
async fn microsoft_clients_do_everything_with_accounts_blobs_and_private_endpoints() -> Result<()> {
    let site = Site::new(AzureCloud::Public).await?;
    let azure = &site.azure;
    azure.page_length(2);
    azure.allow(
        &site.operator,
        &format!("/subscriptions/{}", site.subscription),
        Role::everything(),
    );
    let network = azure.virtual_network(&site.group, "demo-vnet", LOCATION, &json!({}));
    azure.subnet(&network, "demo-subnet", "10.0.1.0/24", None);
    azure.subnet(&network, "functions", "10.0.2.0/24", Some("Microsoft.Web/serverFarms"));
    let secret = azure.add_secret(&site.operator)?;
    let arguments: [&str; 6] = [
        &site.tenant,
        &site.operator.client_id,
        &secret,
        &site.subscription,
        GROUP,
        &network,
    ];
    site.script("everything.py", &arguments).await?;
    ensure!(azure.accounts().is_empty());
    ensure!(azure.resources("Microsoft.Network/privateEndpoints").is_empty());
    ensure!(azure.resources("Microsoft.Network/privateDnsZones/A").is_empty());
    Ok(())
}

#[tokio::test]
async fn microsoft_clients_get_tokens_for_each_kind_of_credential() -> Result<()> {
    let site = Site::new(AzureCloud::Public).await?;
    let (azure, operator) = (&site.azure, &site.operator);

    let secret = azure.add_secret(operator)?;
    let file = site.write("secret", &secret)?;
    got(&site.token("secret", &file, ARM).await?, "token eyJ")?;
    // As Microsoft's library for Go asks.
    site.bearer(&format!("{ARM}+openid+offline_access+profile")).await?;
    let two = site.bearer(&format!("{ARM}+{STORAGE}")).await;
    ensure!(two.is_err(), "a token is for one resource");
    got(
        &site.token("secret", &file, "https://nobody.example/.default").await?,
        "refused 500011",
    )?;
    azure.expire_secrets(operator)?;
    got(&site.token("secret", &file, ARM).await?, "refused 7000222")?;
    azure.remove_secrets(operator)?;
    got(&site.token("secret", &file, ARM).await?, "refused 7000215")?;

    let (certificate, other) = (EntraCertificate::new("operator")?, EntraCertificate::new("other")?);
    azure.add_certificate(operator, &certificate)?;
    let file = site.write("certificate.pem", &certificate.pem())?;
    got(&site.token("certificate", &file, ARM).await?, "token eyJ")?;
    azure.require_chain(operator, true)?;
    got(&site.token("certificate", &file, ARM).await?, "refused 700030")?;
    got(&site.token("chain", &file, ARM).await?, "token eyJ")?;
    let file = site.write("other.pem", &other.pem())?;
    got(&site.token("chain", &file, ARM).await?, "refused 700027")?;

    let issuer = TokenIssuer::new()?;
    azure.federate(operator, issuer.key()?, SUBJECT, "openshift")?;
    for (token, expected) in [
        (issuer.token(SUBJECT, "openshift", 600)?, None),
        (
            issuer.token("system:serviceaccount:x:y", "openshift", 600)?,
            Some("700213"),
        ),
        (
            issuer.token(SUBJECT, "api://AzureADTokenExchange", 600)?,
            Some("700212"),
        ),
        (issuer.token(SUBJECT, "openshift", -10)?, Some("700024")),
        (TokenIssuer::new()?.token(SUBJECT, "openshift", 600)?, Some("700027")),
    ] {
        let file = site.write("token", &token)?;
        let told = site.token("token", &file, STORAGE).await?;
        match expected {
            None => got(&told, "token eyJ")?,
            Some(number) => got(&told, &format!("refused {number}"))?,
        }
    }

    got(&site.token("metadata", "", ARM).await?, "refused")?;
    azure.assign_identities(&[operator]);
    got(&site.token("metadata", "", ARM).await?, "token eyJ")?;
    azure.delete_application(operator);
    let file = site.write("secret", &secret)?;
    got(&site.token("secret", &file, ARM).await?, "refused 700016")?;
    Ok(())
}

#[tokio::test]
async fn each_call_needs_a_valid_token_and_its_action() -> Result<()> {
    let site = Site::new(AzureCloud::Public).await?;
    let azure = &site.azure;
    let (token, blobs) = (site.bearer(ARM).await?, site.bearer(STORAGE).await?);
    let get = site.account_url("demoaccount", "");
    let put = async || site.call(Method::PUT, &get, &token, &account()).await;
    is(
        code(&site.call(Method::GET, &get, "none", &Value::Null).await?)?,
        401,
        "InvalidAuthenticationToken",
    )?;
    is(
        code(&site.call(Method::GET, &get, &blobs, &Value::Null).await?)?,
        401,
        "InvalidAuthenticationTokenAudience",
    )?;
    is(code(&put().await?)?, 403, "AuthorizationFailed")?;
    let actions = [
        "Microsoft.Storage/storageAccounts/write",
        "Microsoft.Storage/storageAccounts/read",
    ];
    azure.allow(&site.operator, &site.group, Role::new(&actions, &[]));
    azure.long_running_by_default(LongRunning::polls(0));
    ensure!(put().await?.status == 200);
    let keys = site.account_url("demoaccount", "/listKeys");
    is(
        code(&site.call(Method::POST, &keys, &token, &Value::Null).await?)?,
        403,
        "AuthorizationFailed",
    )?;
    let old = get.replace("2023-05-01", "2000-01-01");
    is(
        code(&site.call(Method::GET, &old, &token, &Value::Null).await?)?,
        400,
        "NoRegisteredProviderFound",
    )?;

    let container = "https://demoaccount.blob.core.windows.net/registry?restype=container";
    let call = async |method: Method, token: &str| site.call(method, container, token, &Value::Null).await;
    is(
        of_blob(&call(Method::PUT, &token).await?),
        401,
        "InvalidAuthenticationInfo",
    )?;
    is(
        of_blob(&call(Method::PUT, &blobs).await?),
        403,
        "AuthorizationPermissionMismatch",
    )?;
    let write = "Microsoft.Storage/storageAccounts/blobServices/containers/write";
    azure.allow(&site.operator, &site.group, Role::new(&[write], &[]));
    ensure!(call(Method::PUT, &blobs).await?.status == 201);
    is(
        of_blob(&call(Method::GET, &blobs).await?),
        403,
        "AuthorizationPermissionMismatch",
    )?;
    let needed = azure.needed(&site.operator.client_id);
    ensure!(
        needed
            .iter()
            .any(|one| one.action == write && one.granted && one.scope.ends_with("/containers/registry"))
    );
    ensure!(
        needed
            .iter()
            .any(|one| one.action.ends_with("/listKeys/action") && !one.granted)
    );
    // Nothing of a signature or a token is kept.
    ensure!(azure.calls().iter().all(|call| !call.request.contains(&token)));

    azure.end_tokens(&site.operator);
    is(code(&put().await?)?, 401, "ExpiredAuthenticationToken")?;
    let other = azure.tenant();
    let strange = azure.subscription(&other);
    let token = site.bearer(ARM).await?;
    let there = get.replace(&site.subscription, &strange);
    is(
        code(&site.call(Method::GET, &there, &token, &Value::Null).await?)?,
        401,
        "InvalidAuthenticationTokenTenant",
    )?;
    Ok(())
}

#[tokio::test]
async fn long_operations_go_on_as_the_test_says() -> Result<()> {
    let site = Site::new(AzureCloud::Public).await?;
    let azure = &site.azure;
    azure.allow(&site.operator, "/", Role::everything());
    let token = site.bearer(ARM).await?;
    let call = async |method: Method, url: &str, body: &Value| site.call(method, url, &token, body).await;
    let (create, null) = ("StorageAccounts_Create", Value::Null);
    let state = |answer: &Answer| -> Result<String> {
        let body: Value = serde_json::from_slice(&answer.body)?;
        Ok(body["properties"]["provisioningState"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };

    let url = site.account_url("first", "");
    azure.long_running(
        create,
        LongRunning::polls(2)
            .headers(OperationHeaders::Both)
            .retry_after(Some(7)),
    );
    let begun = call(Method::PUT, &url, &account()).await?;
    ensure!(begun.status == 202 && begun.headers["retry-after"] == "7", "{begun:?}");
    // Others may not touch it, and each who asks finds it.
    is(
        code(&call(Method::PUT, &url, &account()).await?)?,
        409,
        "StorageAccountOperationInProgress",
    )?;
    let status = begun.headers["azure-asyncoperation"].to_str()?.to_owned();
    ensure!(call(Method::GET, &status, &null).await?.text().contains("InProgress"));
    ensure!(call(Method::GET, &status, &null).await?.text().contains("Succeeded"));
    ensure!(state(&call(Method::GET, &url, &null).await?)? == "Succeeded");

    azure.long_running(create, LongRunning::polls(1).failing("StorageAccountQuota", "too many"));
    let url = site.account_url("second", "");
    let begun = call(Method::PUT, &url, &account()).await?;
    let place = begun.headers["location"].to_str()?.to_owned();
    ensure!(call(Method::GET, &place, &null).await?.status == 202);
    is(
        code(&call(Method::GET, &place, &null).await?)?,
        409,
        "StorageAccountQuota",
    )?;
    ensure!(azure.accounts() == ["first"]);

    azure.long_running(create, LongRunning::polls(1).headers(OperationHeaders::None));
    let url = site.account_url("third", "");
    let begun = call(Method::PUT, &url, &account()).await?;
    ensure!(
        (begun.status, state(&begun)?.as_str()) == (201, "Creating"),
        "{begun:?}"
    );
    ensure!(state(&call(Method::GET, &url, &null).await?)? == "Creating");
    ensure!(state(&call(Method::GET, &url, &null).await?)? == "Succeeded");

    azure.long_running(create, LongRunning::time(Duration::from_millis(50)).hidden());
    let url = site.account_url("fourth", "");
    ensure!(call(Method::PUT, &url, &account()).await?.status == 202);
    devcluster::wait::until("the account is there", Duration::from_secs(30), || async {
        let answer = call(Method::GET, &url, &Value::Null).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    azure.long_running(create, LongRunning::never());
    let url = site.account_url("fifth", "");
    ensure!(call(Method::PUT, &url, &account()).await?.status == 202);

    // What it holds outlives a restart.
    azure.stop();
    ensure!(call(Method::GET, &url, &null).await.is_err());
    azure.resume()?;
    ensure!(state(&call(Method::GET, &url, &null).await?)? == "Creating");
    Ok(())
}

#[tokio::test]
async fn clients_in_a_network_follow_its_private_zone() -> Result<()> {
    let site = Site::new(AzureCloud::UsGovernment).await?;
    let azure = &site.azure;
    let account = azure.make_account(
        &site.group,
        "demoaccount",
        &json!({ "properties": { "publicNetworkAccess": "Disabled" } }),
    )?;
    azure
        .make_container("demoaccount", "registry", &[("owner", "test")])
        .await?;
    azure.allow(&site.operator, &site.group, Role::everything());
    let token = site.bearer(STORAGE).await?;
    let url = "https://demoaccount.blob.core.usgovcloudapi.net/registry?restype=container";
    let get = async || site.call(Method::GET, url, &token, &Value::Null).await;
    is(of_blob(&get().await?), 403, "AuthorizationFailure")?;
    let network = azure.virtual_network(&site.group, "demo-vnet", LOCATION, &json!({}));
    let subnet = azure.subnet(&network, "demo-subnet", "10.0.1.0/24", None);
    azure.clients_are_in(Some(&network));
    is(of_blob(&get().await?), 403, "AuthorizationFailure")?;
    let endpoint = format!("{}/providers/Microsoft.Network/privateEndpoints/pe", site.group);
    azure.private_endpoint(&endpoint, LOCATION, &json!({}), &subnet, &account);
    let zone = azure.private_zone(&site.group, "privatelink.blob.core.usgovcloudapi.net", &json!({}));
    azure.link_zone(&zone, "link", &network);
    // The zone does not know the name.
    ensure!(get().await.is_err());
    azure.record(&zone, "demoaccount", "10.0.1.4", &Value::Null);
    ensure!(get().await?.status == 200);
    azure.record(&zone, "demoaccount", "10.0.1.99", &Value::Null);
    ensure!(get().await.is_err());
    azure.clients_are_in(None);
    is(of_blob(&get().await?), 403, "AuthorizationFailure")?;
    azure.delete_resource(&endpoint);
    ensure!(azure.resources("Microsoft.Network/networkInterfaces").is_empty());
    // Hosts of another cloud are elsewhere.
    let public = url.replace("usgovcloudapi.net", "windows.net");
    ensure!(site.call(Method::GET, &public, &token, &Value::Null).await?.status == 404);
    Ok(())
}

#[tokio::test]
async fn stack_hub_speaks_its_older_versions_only() -> Result<()> {
    let site = Site::new(AzureCloud::StackHub).await?;
    let azure = &site.azure;
    azure.allow(&site.operator, &site.group, Role::everything());
    azure.long_running_by_default(LongRunning::polls(0));
    let secret = azure.add_secret(&site.operator)?;
    let grant = async |resource: &str| {
        let form = format!(
            "grant_type=client_credentials&client_id={}&client_secret={secret}&resource={resource}",
            site.operator.client_id
        );
        let call = Call::new(Method::POST, "/adfs/oauth2/token?api-version=1.0").host("login.stack.example");
        azure.target().call(call.body(form.as_bytes())).await
    };
    let audience = Azure::stack_hub_endpoints()["tokenAudience"]
        .as_str()
        .context("an audience")?
        .to_owned();
    ensure!(grant("https://management.local.stack.example").await?.status == 400);
    let token: Value = serde_json::from_slice(&grant(&audience).await?.good()?.body)?;
    let token = token["access_token"].as_str().context("a token")?;
    let url = site
        .account_url("demoaccount", "")
        .replace("management.azure.com", "management.local.stack.example");
    is(
        code(&site.call(Method::PUT, &url, token, &account()).await?)?,
        400,
        "NoRegisteredProviderFound",
    )?;
    let url = url.replace("2023-05-01", "2019-06-01");
    is(
        code(&site.call(Method::PUT, &url, token, &account()).await?)?,
        400,
        "InvalidAccountKind",
    )?;
    let body = json!({ "kind": "Storage", "location": LOCATION, "sku": { "name": "Standard_LRS" } });
    ensure!(site.call(Method::PUT, &url, token, &body).await?.status == 200);
    let blob = "https://demoaccount.blob.local.stack.example/registry?restype=container";
    is(
        of_blob(&site.call(Method::PUT, blob, token, &Value::Null).await?),
        400,
        "InvalidHeaderValue",
    )?;
    Ok(())
}

#[tokio::test]
async fn a_gate_before_it_injects_faults_and_many_blobs_are_written() -> Result<()> {
    let site = Site::new(AzureCloud::Public).await?;
    let azure = &site.azure;
    azure.allow(&site.operator, &site.group, Role::everything());
    azure.make_account(&site.group, "demoaccount", &Value::Null)?;
    azure
        .make_container("demoaccount", "registry", &[("owner", "test")])
        .await?;
    azure.fill("demoaccount", "registry", "many/", 20_000).await?;
    ensure!(azure.blobs("demoaccount", "registry").await?.len() == 20_000);
    azure
        .put_blob("demoaccount", "registry", "/docker/a b", b"text")
        .await?;
    ensure!(azure.blob("demoaccount", "registry", "/docker/a b").await?.as_deref() == Some(b"text".as_slice()));
    let containers = azure.containers("demoaccount").await?;
    ensure!(
        containers.len() == 1 && containers[0].1["owner"] == "test",
        "{containers:?}"
    );

    let gate = azure.gate()?;
    gate.plan(
        When::operation("StorageAccounts_ListKeys").nth(1),
        Fault::Answer(Reply::resource_manager_error(429, "TooManyRequests", "slow down").header("retry-after", "5")),
    );
    gate.plan(
        When::operation("Container_Delete").nth(1),
        Fault::Answer(Reply::blob_error(403, "AuthorizationFailure", "refused by the test")),
    );
    let token = site.bearer(ARM).await?;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let url = site.account_url("demoaccount", "/listKeys");
    let path = url.strip_prefix("https://management.azure.com").context("a path")?;
    let keys = || {
        Call::new(Method::POST, path)
            .host("management.azure.com")
            .headers(&headers)
    };
    ensure!(gate.target().call(keys()).await?.headers["retry-after"] == "5");
    let found: Value = serde_json::from_slice(&gate.target().call(keys()).await?.good()?.body)?;
    ensure!(found["keys"][0]["value"] == azure.account_keys("demoaccount")?[0].as_str());

    azure.container_deletion(Duration::from_hours(1));
    let token = site.bearer(STORAGE).await?;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("x-ms-version", "2024-05-04")];
    let call = async |method: Method| {
        let call = Call::new(method, "/registry?restype=container").host("demoaccount.blob.core.windows.net");
        gate.target().call(call.headers(&headers)).await
    };
    is(of_blob(&call(Method::DELETE).await?), 403, "AuthorizationFailure")?;
    ensure!(call(Method::DELETE).await?.status == 202);
    is(of_blob(&call(Method::GET).await?), 404, "ContainerNotFound")?;
    is(of_blob(&call(Method::PUT).await?), 409, "ContainerBeingDeleted")?;
    let last = gate.operations();
    ensure!(
        last.iter().filter(|name| *name == "Container_Delete").count() == 2,
        "{last:?}"
    );
    Ok(())
}
