//! Tokens for API keys.
//!
//! Source: API reference "IAM Identity Services" of IBM Cloud, "Create an IAM access token".

use super::super::Reply;
use super::super::asked::Asked;
use super::super::form;
use super::reply;
use super::state::{State, Token, now};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;

const GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

/// `POST /identity/token`.
pub(super) fn grant(state: &mut State, asked: &Asked) -> Result<Reply, Reply> {
    let kind = asked.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/x-www-form-urlencoded") {
        return Err(reply::iam(400, "BXNIM0109E", "Property missing or empty: grant_type"));
    }
    let form: BTreeMap<String, String> = form::decode(&asked.text()).into_iter().collect();
    let field = |name: &str| form.get(name).map_or("", String::as_str);
    if field("grant_type") != GRANT {
        return Err(reply::iam(400, "BXNIM0110E", "The grant type is not supported"));
    }
    let known = state.api_keys.get(field("apikey")).cloned();
    let known = known.ok_or_else(|| reply::iam(400, "BXNIM0415E", "Provided API key could not be found."))?;
    let seconds = state.lifetime();
    let issued = now();
    let mut claims = json!({
        "iam_id": "iam-ServiceId-1", "id": "iam-ServiceId-1", "realmid": "iam", "jti": format!("{}", state.number()),
        "identifier": "ServiceId-1", "sub": "ServiceId-1", "sub_type": "ServiceId", "iat": issued, "exp": issued + seconds,
        "iss": "https://iam.cloud.ibm.com/identity", "grant_type": GRANT, "scope": "ibm openid", "client_id": "default",
        "acr": 1, "amr": ["pwd"], "account": {"valid": true, "bss": known.account},
    });
    if state.without_account {
        claims["account"] = json!({ "valid": true });
    }
    let header = json!({ "kid": "2026", "alg": "RS256" });
    let token = format!("{}.{}.{}", encode(&header), encode(&claims), BASE64.encode(random()));
    let record = Token {
        api_key: field("apikey").to_owned(),
        account: known.account,
        redacted: known.redacted,
        expires: issued + seconds,
    };
    state.tokens.insert(token.clone(), record);
    Ok(reply::json(
        200,
        &json!({
            "access_token": token, "refresh_token": "not_supported", "token_type": "Bearer", "expires_in": seconds,
            "expiration": issued + seconds, "scope": "ibm openid",
        }),
    ))
}

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    // Zeros would be no secret of anybody: the claims make the token unique.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    bytes
}

/// Who asks, by the token of the request.
pub(super) fn caller(state: &State, asked: &Asked) -> Option<Token> {
    let token = asked.header("authorization")?.strip_prefix("Bearer ")?;
    state.tokens.get(token).filter(|token| token.expires > now()).cloned()
}
