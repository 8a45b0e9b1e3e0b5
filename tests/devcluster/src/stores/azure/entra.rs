//! Tokens of Entra ID, for a client secret, for an assertion that a certificate has signed, and for a token of a cluster.
//!
//! Source: https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow,
//! https://learn.microsoft.com/entra/identity-platform/certificate-credentials,
//! https://learn.microsoft.com/entra/workload-id/workload-identity-federation

use super::environment::AzureCloud;
use super::identity::Application;
use super::reply;
use super::state::{State, Token, now, random, uuid};
use crate::stores::asked::Asked;
use crate::stores::token::Refusal;
use crate::stores::{Reply, form};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Audience of blob services, in all clouds.
pub(super) const STORAGE: &str = "https://storage.azure.com";
/// The tenant of AD FS, which Stack Hub can have in the place of Entra ID.
const ADFS: &str = "adfs";
/// The longest life of an assertion, in seconds.
const LONGEST: f64 = 24.0 * 3600.0;

/// A request to a host of Entra ID.
pub(super) fn answer(state: &mut State, asked: &Asked) -> Reply {
    let path = asked.path.trim_matches('/').to_owned();
    let parts: Vec<&str> = path.split('/').collect();
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", [_, "discovery", "instance"]) => instance(state.cloud),
        ("GET", [tenant, "v2.0", ".well-known", "openid-configuration"]) => configuration(state, asked, tenant),
        ("POST", [tenant, "oauth2", "v2.0", "token"]) => {
            grant(state, asked, tenant, true).unwrap_or_else(|refused| refused)
        }
        ("POST", [tenant, "oauth2", "token"]) => grant(state, asked, tenant, false).unwrap_or_else(|refused| refused),
        _ => Reply::new(404, ""),
    }
}

fn instance(cloud: AzureCloud) -> Reply {
    let hosts = cloud.authorities();
    let first = hosts.first().copied().unwrap_or_default();
    let metadata = json!({ "preferred_network": first, "preferred_cache": first, "aliases": hosts });
    reply::json(
        200,
        &json!({
            "tenant_discovery_endpoint": format!("https://{first}/common/v2.0/.well-known/openid-configuration"),
            "api-version": "1.1",
            "metadata": [metadata],
        }),
    )
}

fn configuration(state: &State, asked: &Asked, tenant: &str) -> Reply {
    if let Err(refused) = known_tenant(state, tenant) {
        return refused;
    }
    let base = format!("https://{}/{tenant}", asked.host);
    reply::json(
        200,
        &json!({
            "issuer": format!("{base}/v2.0"),
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "cloud_instance_name": "microsoftonline.com",
        }),
    )
}

fn known_tenant(state: &State, tenant: &str) -> Result<(), Reply> {
    let known = state.tenants.contains(&tenant.to_lowercase());
    if known || (tenant == ADFS && state.cloud == AzureCloud::StackHub) {
        return Ok(());
    }
    let message = format!(
        "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud."
    );
    Err(Reply::entra_error(400, "invalid_request", 90002, &message))
}

/// A form of a request.
struct Form(BTreeMap<String, String>);

impl Form {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }
}

fn grant(state: &mut State, asked: &Asked, tenant: &str, second: bool) -> Result<Reply, Reply> {
    known_tenant(state, tenant)?;
    let form = Form(form::decode(&asked.text()).into_iter().collect());
    if form.get("grant_type") != "client_credentials" {
        let message = "The app requested an unsupported grant type.";
        return Err(Reply::entra_error(400, "unsupported_grant_type", 70003, message));
    }
    let client_id = form.get("client_id").to_lowercase();
    let application = state.applications.get(&client_id);
    let application = application.filter(|known| tenant == ADFS || known.tenant == tenant.to_lowercase());
    let application = application.ok_or_else(|| {
        let message = format!(
            "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the \
             application has not been installed by the administrator of the tenant or consented to by any user in the tenant."
        );
        Reply::entra_error(400, "unauthorized_client", 700_016, &message)
    })?;
    authenticate(application, &client_id, &form, asked, tenant)?;
    let audience = audience(state, &form, second)?;
    let (token, seconds) = state.issue(&client_id, tenant, &audience);
    let body = if second {
        json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token })
    } else {
        let text = |number: i64| number.to_string();
        json!({
            "token_type": "Bearer",
            "expires_in": text(seconds),
            "ext_expires_in": text(seconds),
            "expires_on": text(now() + seconds),
            "not_before": text(now()),
            "resource": form.get("resource"),
            "access_token": token,
        })
    };
    Ok(reply::json(200, &body).header("cache-control", "no-store, no-cache"))
}

fn refuse(number: u32, message: &str) -> Reply {
    Reply::entra_error(401, "invalid_client", number, message)
}

fn authenticate(
    application: &Application,
    client_id: &str,
    form: &Form,
    asked: &Asked,
    tenant: &str,
) -> Result<(), Reply> {
    if form.get("client_assertion_type") == JWT_BEARER {
        return assertion(application, client_id, form.get("client_assertion"), asked, tenant);
    }
    let given = form.get("client_secret");
    if given.is_empty() {
        let message = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(refuse(7_000_218, message));
    }
    match application.secrets.iter().find(|(secret, _)| secret == given) {
        Some((_, ends)) if *ends > now() => Ok(()),
        Some(_) => {
            let message = format!(
                "The provided client secret keys for app '{client_id}' are expired. Visit the Azure portal to create new keys for your app."
            );
            Err(refuse(7_000_222, &message))
        }
        None => {
            let message = format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the \
                 client secret ID, for a secret added to app '{client_id}'."
            );
            Err(refuse(7_000_215, &message))
        }
    }
}

fn assertion(application: &Application, client_id: &str, text: &str, asked: &Asked, tenant: &str) -> Result<(), Reply> {
    let malformed = || refuse(50027, "JWT token is invalid or malformed.");
    let (signed, signature) = text.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| -> Option<Value> { serde_json::from_slice(&BASE64.decode(part).ok()?).ok() };
    let (header, claims) = (
        decode(header).ok_or_else(malformed)?,
        decode(claims).ok_or_else(malformed)?,
    );
    // Who signs itself names itself as issuer; all others are issuers that the application trusts.
    if claims["iss"] != client_id {
        return federated(application, text, &claims);
    }
    let certificate = application.certificates.iter().find(|one| one.is_named(&header));
    let certificate = certificate.ok_or_else(|| {
        refuse(
            700_027,
            "The certificate with identifier used to sign the client assertion is not registered on application.",
        )
    })?;
    if application.needs_chain && !certificate.is_shown(&header) {
        return Err(refuse(
            700_030,
            "Invalid certificate - the assertion shows no chain in 'x5c'.",
        ));
    }
    let algorithm: &dyn VerificationAlgorithm = match header["alg"].as_str() {
        Some("RS256") => &RSA_PKCS1_2048_8192_SHA256,
        Some("PS256") => &RSA_PSS_2048_8192_SHA256,
        _ => return Err(refuse(5_002_738, "Invalid JWT token. The algorithm is not supported.")),
    };
    let signature = BASE64.decode(signature).map_err(|_| malformed())?;
    let key = UnparsedPublicKey::new(algorithm, &certificate.public);
    key.verify(signed.as_bytes(), &signature)
        .map_err(|_| refuse(700_027, "Client assertion contains an invalid signature."))?;
    claimed(&claims, client_id, asked, tenant)
}

/// The claims of an assertion that an application has signed itself.
fn claimed(claims: &Value, client_id: &str, asked: &Asked, tenant: &str) -> Result<(), Reply> {
    // Numeric dates may have fractions.
    let seconds = |claim: &str| claims[claim].as_f64();
    let now = f64::from(u32::try_from(now()).unwrap_or(u32::MAX));
    let (begins, ends) = (seconds("nbf").or_else(|| seconds("iat")), seconds("exp"));
    let lives = matches!((begins, ends), (Some(begins), Some(ends))
        if begins <= now + 300.0 && ends > now && ends - begins <= LONGEST);
    if !lives {
        return Err(refuse(700_024, "Client assertion is not within its valid time range."));
    }
    if claims["sub"] != client_id || !claims["jti"].is_string() {
        return Err(refuse(
            700_021,
            "Client assertion application identifier doesn't match 'client_id' parameter.",
        ));
    }
    let audience = claims["aud"].as_str().unwrap_or_default();
    let endpoint = format!("https://{}{}", asked.host, asked.path);
    if audience != endpoint && audience != format!("https://{}/{tenant}/v2.0", asked.host) {
        return Err(refuse(
            700_023,
            "Client assertion audience claim does not match Realm issuer.",
        ));
    }
    Ok(())
}

fn federated(application: &Application, text: &str, claims: &Value) -> Result<(), Reply> {
    let mut reason = refuse(
        70021,
        "No matching federated identity record found for presented assertion.",
    );
    let issuer = claims["iss"].as_str().unwrap_or_default();
    for federation in &application.federations {
        reason = match federation.key.subject(text, &federation.audience) {
            Ok(subject) if subject == federation.subject => return Ok(()),
            Ok(subject) => refuse(
                700_213,
                &format!("No matching federated identity record found for presented assertion subject '{subject}'."),
            ),
            Err(Refusal::Malformed) => refuse(50027, "JWT token is invalid or malformed."),
            Err(Refusal::Signature) => refuse(700_027, "Client assertion contains an invalid signature."),
            Err(Refusal::Issuer) => refuse(
                700_211,
                &format!("No matching federated identity record found for presented assertion issuer '{issuer}'."),
            ),
            Err(Refusal::Audience) => refuse(
                700_212,
                "No matching federated identity record found for presented assertion audience.",
            ),
            Err(Refusal::Expired) => refuse(700_024, "Client assertion is not within its valid time range."),
        };
    }
    Err(reason)
}

/// Scopes of OpenID Connect, which Entra ID ignores here. Microsoft's library for Go adds all of them.
const OPEN_ID: [&str; 3] = ["openid", "offline_access", "profile"];

/// What the token is for, without a slash at the end.
fn audience(state: &State, form: &Form, second: bool) -> Result<String, Reply> {
    let name = if second { "scope" } else { "resource" };
    let given = form.get(name);
    let resource = if second {
        let mut scopes = given.split_whitespace().filter(|scope| !OPEN_ID.contains(scope));
        let scope = scopes.next().filter(|_| scopes.next().is_none());
        scope.and_then(|scope| scope.strip_suffix("/.default")).ok_or_else(|| {
            let message = format!(
                "The provided value for scope {given} is not valid. Client credential flows must have a scope value with \
                 /.default suffixed to the resource identifier (application ID URI)."
            );
            Reply::entra_error(400, "invalid_scope", 1_002_012, &message)
        })?
    } else {
        given
    };
    // On Stack Hub it must be what the endpoints say, to the letter.
    let plain = resource.strip_suffix('/').unwrap_or(resource);
    let cloud = state.cloud;
    let of_account = plain
        .strip_prefix("https://")
        .and_then(|host| host.strip_suffix(cloud.storage_suffix()));
    let known = match cloud {
        AzureCloud::StackHub => resource == cloud.audience(),
        _ => {
            plain == cloud.audience()
                || plain == STORAGE
                || (cloud == AzureCloud::Public && plain == "https://management.core.windows.net")
                || of_account.is_some_and(|rest| rest.ends_with(".blob."))
        }
    };
    if !known {
        let message = format!(
            "The resource principal named {resource} was not found in the tenant. This can happen if the application has not been \
             installed by the administrator of the tenant or consented to by any user in the tenant."
        );
        return Err(Reply::entra_error(400, "invalid_resource", 500_011, &message));
    }
    Ok(plain.to_owned())
}

impl State {
    /// A token for somebody, and how many seconds it lives.
    pub fn issue(&mut self, client_id: &str, tenant: &str, audience: &str) -> (String, i64) {
        let seconds = self.token_seconds;
        let object = self.applications.get(client_id).map(|known| known.object_id.clone());
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "devcluster" });
        let claims = json!({
            "aud": audience,
            "iss": format!("https://sts.windows.net/{tenant}/"),
            "iat": now(),
            "nbf": now(),
            "exp": now() + seconds,
            "appid": client_id,
            "oid": object,
            "tid": tenant,
            "uti": uuid(),
            "ver": "1.0",
        });
        let part = |value: &Value| BASE64.encode(value.to_string());
        // Nobody but the stand-in checks it, and it knows each token.
        let token = format!("{}.{}.{}", part(&header), part(&claims), BASE64.encode(random::<32>()));
        let issued = Token {
            client_id: client_id.to_owned(),
            audience: audience.to_owned(),
            expires: now() + seconds,
        };
        self.tokens.insert(token.clone(), issued);
        (token, seconds)
    }
}
