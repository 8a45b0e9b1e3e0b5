//! Tokens: for a key of a service account (OAuth 2.0), for a token of a cluster (STS), and to be a service account (IAM
//! Service Account Credentials).
//!
//! Source: https://developers.google.com/identity/protocols/oauth2/service-account,
//! https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token,
//! https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken

use super::super::Reply;
use super::super::asked::Asked;
use super::super::form;
use super::super::token::Refusal;
use super::super::wire::host_name;
use super::access;
use super::keys::Jwt;
use super::reply;
use super::state::{Accepted, State, now};
use hyper::{Method, Uri};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const LIFE: i64 = 3600;
/// How far a client's clock may be wrong.
const SKEW: i64 = 300;
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const SUBJECT_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
];
/// Where a JWT may say that it is for, whatever host was asked.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

fn posted(asked: &Asked) -> Result<BTreeMap<String, String>, Reply> {
    let kind = asked.header("content-type").unwrap_or_default();
    if asked.method != Method::POST || !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(reply::token(400, "invalid_request", "a form by POST"));
    }
    Ok(form::decode(&asked.text()).into_iter().collect())
}

/// `POST /token`.
pub(super) fn grant(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let form = posted(asked)?;
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != JWT_BEARER {
        return Err(reply::token(400, "unsupported_grant_type", "Invalid grant_type"));
    }
    let invalid = |description: &str| reply::token(400, "invalid_grant", description);
    let jwt = Jwt::parse(field("assertion")).ok_or_else(|| invalid("Bad Request"))?;
    let account = state.accounts.get(jwt.text("iss"));
    let account = account.ok_or_else(|| invalid("Invalid grant: account not found"))?;
    let id = jwt.header["kid"].as_str().unwrap_or_default();
    if !account.keys.get(id).is_some_and(|key| jwt.is_by(key)) {
        return Err(invalid("Invalid JWT Signature."));
    }
    let lives = match (jwt.seconds("iat"), jwt.seconds("exp")) {
        (Some(issued), Some(ends)) => ends > now() && issued <= now() + SKEW && ends - issued <= LIFE && ends > issued,
        _ => false,
    };
    if !lives {
        return Err(invalid(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat \
             and exp values in the JWT claim.",
        ));
    }
    if !is_for(jwt.text("aud"), asked) {
        return Err(invalid("Invalid JWT: Failed audience check."));
    }
    let scopes: Vec<String> = jwt.text("scope").split_whitespace().map(ToOwned::to_owned).collect();
    if scopes.is_empty() {
        return Err(reply::token(
            400,
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ));
    }
    let email = jwt.text("iss").to_owned();
    let (token, seconds) = state.issue(&email, scopes, LIFE);
    Ok(reply::good(
        &json!({ "access_token": token, "expires_in": seconds, "token_type": "Bearer" }),
    ))
}

/// Whether an audience is the token endpoint: by its public name, or as it was asked.
fn is_for(audience: &str, asked: &Asked) -> bool {
    let Ok(url) = audience.parse::<Uri>() else {
        return false;
    };
    audience == TOKEN_URI || (url.path() == "/token" && url.host() == Some(host_name(&asked.host)))
}

/// `POST /v1/token`.
pub(super) fn exchange(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let form = posted(asked)?;
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    let request = |description: &str| reply::token(400, "invalid_request", description);
    if field("grant_type") != TOKEN_EXCHANGE {
        return Err(request("Invalid value for \"grant_type\"."));
    }
    if field("requested_token_type") != ACCESS_TOKEN {
        return Err(request("Invalid value for \"requested_token_type\"."));
    }
    if !SUBJECT_TYPES.contains(&field("subject_token_type")) {
        return Err(request("Invalid value for \"subject_token_type\"."));
    }
    let provider = state.providers.get(field("audience"));
    let provider = provider.ok_or_else(|| {
        let description = "The target service indicated by the \"audience\" parameters is invalid. This might either be \
                           because the pool or provider is disabled or deleted or because it doesn't exist.";
        reply::token(400, "invalid_target", description)
    })?;
    let subject = provider.key.subject(field("subject_token"), &provider.audience);
    let subject = subject.map_err(|refusal| reply::token(400, "invalid_grant", describe(refusal)))?;
    let scopes: Vec<String> = field("scope").split_whitespace().map(ToOwned::to_owned).collect();
    if scopes.is_empty() {
        return Err(reply::token(400, "invalid_scope", "Invalid scope."));
    }
    let principal = format!(
        "principal://iam.googleapis.com/projects/{}/subject/{subject}",
        provider.pool
    );
    let accepted = form
        .iter()
        .map(|(name, value)| (camel(name), Value::from(value.as_str())));
    state.accepted.push(Accepted {
        method: "sts.token".into(),
        parameters: Vec::new(),
        body: Some(Value::Object(accepted.collect())),
    });
    let (token, seconds) = state.issue(&principal, scopes, LIFE);
    Ok(reply::good(&json!({
        "access_token": token,
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": seconds,
    })))
}

fn describe(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Malformed => "Error parsing the ID Token.",
        Refusal::Signature => "Unable to verify the ID Token signature.",
        Refusal::Issuer => "The issuer in ID Token does not match the expected ones.",
        Refusal::Audience => "The audience in ID Token does not match the expected audience.",
        Refusal::Expired => "The ID Token has expired.",
    }
}

/// A name of a form as the JSON of the same request has it.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (first, rest) = part.split_at(1.min(part.len()));
        text.push_str(&first.to_uppercase());
        text.push_str(rest);
    }
    text
}

/// `POST /v1/projects/-/serviceAccounts/EMAIL:generateAccessToken`.
pub(super) fn impersonate(state: &mut State, asked: &Asked, email: &str) -> Result<Reply, Reply> {
    let caller = access::iam_caller(state, asked)?;
    let may = state
        .impersonators
        .get(email)
        .is_some_and(|may| may.contains(&caller.principal));
    if !may || !state.accounts.contains_key(email) {
        let message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
        return Err(reply::canonical(403, "PERMISSION_DENIED", message));
    }
    let argument = |message: &str| reply::canonical(400, "INVALID_ARGUMENT", message);
    let body: Value = serde_json::from_slice(&asked.body).map_err(|_| argument("Invalid JSON payload received."))?;
    let scopes = body["scope"].as_array().map(Vec::as_slice).unwrap_or_default();
    let scopes: Vec<String> = scopes.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    if scopes.is_empty() {
        return Err(argument("At least one scope is required."));
    }
    let lifetime = match body.get("lifetime").map(Value::as_str) {
        None => Some(LIFE),
        Some(text) => text.and_then(|text| text.strip_suffix('s')?.parse::<i64>().ok()),
    };
    let lifetime = lifetime.filter(|seconds| (1..=LIFE).contains(seconds));
    let lifetime = lifetime.ok_or_else(|| argument("The access token lifetime cannot exceed 3600 seconds."))?;
    state.accepted.push(Accepted {
        method: "iamcredentials.projects.serviceAccounts.generateAccessToken".into(),
        parameters: asked.parameters(),
        body: Some(body),
    });
    let (token, seconds) = state.issue(email, scopes, lifetime);
    let expires = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    Ok(reply::good(&json!({
        "accessToken": token,
        "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })))
}
