//! Signed URLs of the XML API, versions 2 and 4, with the key of a service account.
//!
//! Source: https://cloud.google.com/storage/docs/authentication/signatures,
//! https://cloud.google.com/storage/docs/access-control/signed-urls-v2

use super::super::Reply;
use super::super::asked::Asked;
use super::path::{decode, encode, hex};
use super::state::{State, now};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const ALGORITHM: &str = "GOOG4-RSA-SHA256";

fn denied(message: &str) -> Reply {
    Reply::error(403, "SignatureDoesNotMatch", message)
}

fn expired() -> Reply {
    Reply::error(400, "ExpiredToken", "The provided token has expired.")
}

/// The service account that signed the URL; nothing if it is not signed.
pub(super) fn signer(state: &State, asked: &Asked) -> Result<Option<String>, Reply> {
    let parameter = |name: &str| asked.parameter(name).unwrap_or_default();
    let (email, text, signature) = if asked.parameter("X-Goog-Signature").is_some() {
        let credential = parameter("X-Goog-Credential");
        let (email, scope) = credential.split_once('/').ok_or_else(|| denied("credential"))?;
        check_time(&parameter("X-Goog-Date"), &parameter("X-Goog-Expires"))?;
        let text = version_4(asked, scope)?;
        (email.to_owned(), text, unhex(&parameter("X-Goog-Signature")))
    } else if asked.parameter("GoogleAccessId").is_some() {
        let ends: i64 = parameter("Expires").parse().unwrap_or_default();
        if ends <= now() {
            return Err(expired());
        }
        let text = format!("{}\n\n\n{ends}\n{}", asked.method, asked.path);
        (
            parameter("GoogleAccessId"),
            text,
            STANDARD.decode(parameter("Signature")).ok(),
        )
    } else {
        return Ok(None);
    };
    let signature = signature.ok_or_else(|| denied("signature"))?;
    let account = state.accounts.get(&email).ok_or_else(|| denied("account"))?;
    let fits = account.keys.values().any(|key| key.fits(text.as_bytes(), &signature));
    if fits {
        Ok(Some(email))
    } else {
        Err(denied(
            "The request signature we calculated does not match the signature you provided.",
        ))
    }
}

fn check_time(date: &str, seconds: &str) -> Result<(), Reply> {
    let begun = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok();
    let begun = begun.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let begun = begun.ok_or_else(|| denied("X-Goog-Date"))?.timestamp().as_second();
    let seconds: i64 = seconds.parse().map_err(|_| denied("X-Goog-Expires"))?;
    if begun + seconds > now() {
        Ok(())
    } else {
        Err(expired())
    }
}

/// What version 4 signs.
fn version_4(asked: &Asked, scope: &str) -> Result<String, Reply> {
    let mut query: Vec<(String, String)> = asked
        .query
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(&decode(name)), encode(&decode(value))))
        .filter(|(name, _)| name != "X-Goog-Signature")
        .collect();
    query.sort();
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let signed = asked.parameter("X-Goog-SignedHeaders").unwrap_or_default();
    let mut headers = String::new();
    for name in signed.split(';') {
        let value = asked.header(name).ok_or_else(|| denied("a signed header is missing"))?;
        headers.extend([name, ":", value.trim(), "\n"]);
    }
    let request = format!(
        "{}\n{}\n{}\n{headers}\n{signed}\nUNSIGNED-PAYLOAD",
        asked.method,
        asked.path,
        query.join("&")
    );
    let hash = digest::digest(&digest::SHA256, request.as_bytes());
    let hash = hex(hash.as_ref());
    let date = asked.parameter("X-Goog-Date").unwrap_or_default();
    Ok(format!("{ALGORITHM}\n{date}\n{scope}\n{hash}"))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}
