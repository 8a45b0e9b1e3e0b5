//! Blob services of accounts: who may do what, before Azurite does it.
//!
//! Source: https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory,
//! https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes

use super::access::Invalid;
use super::azurite::Slot;
use super::dns::Resolved;
use super::entra::STORAGE;
use super::environment::AzureCloud;
use super::signature::{Delegation, Sas, is_shared_key, string_to_sign};
use super::state::{State, now};
use crate::stores::Reply;
use crate::stores::asked::Asked;
use crate::stores::form::unescape;
use serde_json::Value;

const CONTAINERS: &str = "Microsoft.Storage/storageAccounts/blobServices/containers";
/// The last version of the API that Stack Hub knows.
const HUB_VERSION: &str = "2019-07-07";
/// How far a signed date may be away, in seconds.
const SKEW: i64 = 15 * 60;

/// Why a request does not go on.
pub(super) enum Refused {
    Reply(Reply),
    /// No connection: the host does not resolve, or leads nowhere.
    Closed,
}

impl From<Reply> for Refused {
    fn from(reply: Reply) -> Self {
        Self::Reply(reply)
    }
}

/// A request that may go on.
pub(super) struct Admitted {
    pub slot: Slot,
    /// What to answer in the place of Azurite.
    pub answer: Option<Reply>,
}

/// What a request works on.
pub(super) struct Subject<'a> {
    pub asked: &'a Asked,
    pub account: &'a str,
    pub operation: &'a str,
    pub container: String,
    pub blob: String,
}

impl<'a> Subject<'a> {
    pub fn new(asked: &'a Asked, account: &'a str, operation: &'a str) -> Self {
        let path = asked.path.trim_start_matches('/');
        let (container, blob) = path.split_once('/').unwrap_or((path, ""));
        let decode = |part: &str| unescape(&part.replace('+', "%2B"));
        Self {
            asked,
            account,
            operation,
            container: decode(container),
            blob: decode(blob),
        }
    }
}

/// What an operation needs: an action, whether it is on data, and the letters of which a SAS must have one.
fn needs(operation: &str) -> Option<(String, bool, &'static str)> {
    let (action, letters) = match operation {
        "Container_Create" | "Container_SetMetadata" | "Container_Lease" => ("write", ""),
        "Container_GetProperties" | "Service_ListContainersSegment" => ("read", ""),
        "Container_Delete" => ("delete", ""),
        "Container_GetAccessPolicy" => ("getAcl/action", ""),
        "Container_SetAccessPolicy" => ("setAcl/action", ""),
        "Container_ListBlobFlatSegment" => ("blobs/read", "l"),
        "Blob_Download" | "Blob_GetProperties" | "BlockBlob_GetBlockList" => ("blobs/read", "r"),
        "Blob_Delete" => ("blobs/delete", "d"),
        "AppendBlob_AppendBlock" => ("blobs/add/action", "aw"),
        "BlockBlob_Upload"
        | "BlockBlob_StageBlock"
        | "BlockBlob_CommitBlockList"
        | "AppendBlob_Create"
        | "PageBlob_Create"
        | "Blob_StartCopyFromURL"
        | "Blob_CopyFromURL" => ("blobs/write", "cw"),
        "Blob_SetMetadata"
        | "Blob_SetHTTPHeaders"
        | "Blob_Lease"
        | "Blob_AbortCopyFromURL"
        | "Blob_SetTier"
        | "Blob_Undelete" => ("blobs/write", "w"),
        "Service_GetProperties" => return Some((format!("{}/read", parent()), false, "")),
        "Service_SetProperties" => return Some((format!("{}/write", parent()), false, "")),
        "Service_GetUserDelegationKey" => {
            return Some((format!("{}/generateUserDelegationKey/action", parent()), false, ""));
        }
        _ => return None,
    };
    Some((format!("{CONTAINERS}/{action}"), action.starts_with("blobs/"), letters))
}

fn parent() -> &'static str {
    CONTAINERS.rsplit_once('/').map_or(CONTAINERS, |(parent, _)| parent)
}

fn failed(detail: &str) -> Reply {
    let mut reply = Reply::blob_error(
        403,
        "AuthenticationFailed",
        "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.",
    );
    let detail = detail.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let with = format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail></Error>");
    reply.body = reply.body.replace("</Error>", &with);
    reply
}

fn mismatch() -> Reply {
    Reply::blob_error(
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    )
}

/// Whether a request to an account may go on.
pub(super) fn admit(state: &mut State, subject: &Subject<'_>) -> Result<Admitted, Refused> {
    let account = state.accounts.get(subject.account).cloned();
    let resource = account
        .as_ref()
        .and_then(|account| state.resource(&account.id))
        .cloned();
    let resource = resource.filter(|one| !matches!(one.text("/properties/provisioningState"), "Creating" | "Failed"));
    let (Some(account), Some(resource)) = (account, resource) else {
        return Err(match &state.unknown_account {
            Some(code) => Reply::blob_error(404, code, "The specified account does not exist.").into(),
            None => Refused::Closed,
        });
    };
    reachable(state, subject.account, &resource)?;
    versioned(state, subject.asked)?;
    let keys_count = resource.at("/properties/allowSharedKeyAccess").and_then(Value::as_bool) != Some(false);
    let header = subject.asked.header("authorization").unwrap_or_default();
    let sas = Sas::of(&subject.asked.query);
    if let Some(given) = header.strip_prefix("SharedKey ") {
        by_key(subject, given, &account.keys, keys_count)?;
    } else if header.starts_with("Bearer ") {
        by_token(state, subject, &resource.id)?;
    } else if let Some(sas) = sas {
        by_sas(state, subject, &sas, &account.keys, keys_count, &resource.id)?;
    } else {
        return Err(anonymous(state).into());
    }
    source(state, subject, &account.keys)?;
    let answer = special(state, subject)?;
    Ok(Admitted {
        slot: account.slot,
        answer,
    })
}

fn reachable(state: &State, account: &str, resource: &super::state::Resource) -> Result<(), Refused> {
    let open = resource.text("/properties/publicNetworkAccess") != "Disabled"
        && resource.text("/properties/networkAcls/defaultAction") != "Deny";
    let seen = state
        .client_network
        .as_ref()
        .map_or(Resolved::Public, |network| state.resolve(network, account));
    match seen {
        // The public address.
        Resolved::Public if open => Ok(()),
        Resolved::Public => {
            let message = "This request is not authorized to perform this operation.";
            Err(Reply::blob_error(403, "AuthorizationFailure", message).into())
        }
        Resolved::Private(address) if state.leads_to(&address, &resource.id) => Ok(()),
        Resolved::Private(_) | Resolved::Nothing => Err(Refused::Closed),
    }
}

fn versioned(state: &State, asked: &Asked) -> Result<(), Reply> {
    let version = asked.header("x-ms-version").unwrap_or_default();
    let known = version.len() == 10 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let too_new = state.cloud == AzureCloud::StackHub && version > HUB_VERSION;
    // A request with a SAS alone needs none.
    if (version.is_empty() || known) && !too_new {
        return Ok(());
    }
    let message = "The value for one of the HTTP headers is not in the correct format.";
    let mut reply = Reply::blob_error(400, "InvalidHeaderValue", message);
    let with = format!("<HeaderName>x-ms-version</HeaderName><HeaderValue>{version}</HeaderValue></Error>");
    reply.body = reply.body.replace("</Error>", &with);
    Err(reply)
}

fn keys_refused() -> Reply {
    let message = "Key based authentication is not permitted on this storage account.";
    Reply::blob_error(403, "KeyBasedAuthenticationNotPermitted", message)
}

fn by_key(subject: &Subject<'_>, given: &str, keys: &[String; 2], keys_count: bool) -> Result<(), Reply> {
    if !keys_count {
        return Err(keys_refused());
    }
    let asked = subject.asked;
    let dated = asked
        .header("x-ms-date")
        .or_else(|| asked.header("date"))
        .unwrap_or_default();
    let date = jiff::fmt::rfc2822::parse(dated).map(|date| date.timestamp().as_second());
    if date.is_ok_and(|date| (date - now()).abs() > SKEW) || dated.is_empty() {
        return Err(failed(&format!("Request date header too old: '{dated}'")));
    }
    let (account, signature) = given.split_once(':').unwrap_or_default();
    let good = account == subject.account && keys.iter().any(|key| is_shared_key(asked, account, key, signature));
    if good {
        return Ok(());
    }
    let signed = string_to_sign(asked, subject.account, true);
    Err(failed(&format!(
        "The MAC signature found in the HTTP request '{signature}' is not the same as any computed signature. Server used following \
         string to sign: '{signed}'."
    )))
}

fn challenge(state: &State, reply: Reply) -> Reply {
    let host = state.cloud.authorities().first().copied().unwrap_or_default();
    let tenant = state.tenants.iter().next().map_or("common", String::as_str);
    let value = format!("Bearer authorization_uri=https://{host}/{tenant}/oauth2/authorize resource_id={STORAGE}");
    reply.header("www-authenticate", &value)
}

fn anonymous(state: &State) -> Reply {
    let message =
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
    challenge(state, Reply::blob_error(401, "NoAuthenticationInformation", message))
}

fn by_token(state: &mut State, subject: &Subject<'_>, id: &str) -> Result<(), Reply> {
    let invalid = |state: &State| {
        let message = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
        challenge(state, Reply::blob_error(401, "InvalidAuthenticationInfo", message))
    };
    let token = state.bearer(subject.asked).map_err(|_: Invalid| invalid(state))?;
    let own = format!("https://{}", state.cloud.blob_host(subject.account));
    if (token.audience != STORAGE && token.audience != own) || state.cloud == AzureCloud::StackHub {
        return Err(invalid(state));
    }
    let tenant = id
        .split('/')
        .nth(2)
        .and_then(|one| state.subscriptions.get(one))
        .map(|one| one.tenant.clone());
    let caller = state.applications.get(&token.client_id).map(|one| one.tenant.clone());
    if tenant != caller {
        return Err(invalid(state));
    }
    if allowed(state, &token.client_id, subject.operation, &subject.container, id) {
        return Ok(());
    }
    Err(mismatch())
}

/// Whether a role has what an operation needs. Writing a new blob is also adding one.
fn allowed(state: &mut State, client_id: &str, operation: &str, container: &str, id: &str) -> bool {
    let Some((action, data, letters)) = needs(operation) else {
        return false;
    };
    let scope = if container.is_empty() {
        id.to_owned()
    } else {
        format!("{id}/blobServices/default/containers/{container}")
    };
    if state.need(client_id, &action, data, &scope) {
        return true;
    }
    let add = format!("{CONTAINERS}/blobs/add/action");
    let write = format!("{CONTAINERS}/blobs/write");
    match letters {
        "cw" => state.need(client_id, &add, true, &scope),
        "aw" => state.need(client_id, &write, true, &scope),
        _ => false,
    }
}

fn by_sas(
    state: &mut State,
    subject: &Subject<'_>,
    sas: &Sas,
    keys: &[String; 2],
    keys_count: bool,
    id: &str,
) -> Result<(), Reply> {
    let (container, blob) = (subject.container.as_str(), subject.blob.as_str());
    if !sas.lives() {
        return Err(failed("Signature not valid in the specified time frame"));
    }
    let good = match sas.delegation() {
        None if !keys_count => return Err(keys_refused()),
        None => keys.iter().any(|key| sas.is_by(key, subject.account, container, blob)),
        Some(delegation) => {
            let known = state
                .applications
                .iter()
                .find(|(_, one)| one.object_id == delegation.object_id);
            let client_id = known.map(|(client_id, _)| client_id.clone()).unwrap_or_default();
            let key = delegation.key(&state.secret, subject.account);
            let lives = delegation
                .expiry
                .parse::<jiff::Timestamp>()
                .is_ok_and(|end| end > jiff::Timestamp::now());
            if lives && sas.is_by(&key, subject.account, container, blob) {
                if !allowed(state, &client_id, subject.operation, container, id) {
                    return Err(mismatch());
                }
                true
            } else {
                false
            }
        }
    };
    if !good {
        return Err(failed("Signature did not match."));
    }
    let permitted = needs(subject.operation).is_some_and(|(_, _, letters)| !letters.is_empty() && sas.permits(letters));
    if permitted { Ok(()) } else { Err(mismatch()) }
}

/// The account's blob that is copied may be read too.
fn source(state: &mut State, subject: &Subject<'_>, keys: &[String; 2]) -> Result<(), Reply> {
    if !matches!(subject.operation, "Blob_StartCopyFromURL" | "Blob_CopyFromURL") {
        return Ok(());
    }
    let url = subject.asked.header("x-ms-copy-source").unwrap_or_default();
    let (url, query) = url.split_once('?').unwrap_or((url, ""));
    let own = format!("https://{}/", state.cloud.blob_host(subject.account));
    let unverified = || {
        Reply::blob_error(
            403,
            "CannotVerifyCopySource",
            "This request is not authorized to perform this operation.",
        )
    };
    let path = url.strip_prefix(own.as_str()).ok_or_else(unverified)?;
    let (container, blob) = path.split_once('/').ok_or_else(unverified)?;
    let decode = |part: &str| unescape(&part.replace('+', "%2B"));
    let (container, blob) = (decode(container), decode(blob));
    if let Some(sas) = Sas::of(query) {
        let key = sas
            .delegation()
            .map(|delegation| delegation.key(&state.secret, subject.account));
        let signed = match &key {
            Some(key) => sas.is_by(key, subject.account, &container, &blob),
            None => keys
                .iter()
                .any(|key| sas.is_by(key, subject.account, &container, &blob)),
        };
        let good = signed && sas.lives() && sas.permits("r");
        return if good { Ok(()) } else { Err(unverified()) };
    }
    let Ok(token) = state.bearer(subject.asked) else {
        // With the account's key all of the account may be read.
        return Ok(());
    };
    let id = state
        .accounts
        .get(subject.account)
        .map(|account| account.id.clone())
        .unwrap_or_default();
    let id = state.resource(&id).map(|one| one.id.clone()).unwrap_or_default();
    if allowed(state, &token.client_id, "Blob_Download", &container, &id) {
        return Ok(());
    }
    Err(unverified())
}

/// What the stand-in answers itself.
fn special(state: &State, subject: &Subject<'_>) -> Result<Option<Reply>, Reply> {
    let key = (subject.account.to_owned(), subject.container.clone());
    let vanishing = state
        .vanishing
        .get(&key)
        .is_some_and(|gone| *gone > std::time::Instant::now());
    match subject.operation {
        "Container_Create" if vanishing => {
            let message = "The specified container is being deleted. Try operation later.";
            Err(Reply::blob_error(409, "ContainerBeingDeleted", message))
        }
        "Service_GetUserDelegationKey" => delegation_key(state, subject).map(Some),
        "Unknown" | "Service_SubmitBatch" | "Container_SubmitBatch" => Err(Reply::blob_error(
            501,
            "NotImplemented",
            "the stand-in does not play this operation",
        )),
        _ => Ok(None),
    }
}

fn delegation_key(state: &State, subject: &Subject<'_>) -> Result<Reply, Reply> {
    let Ok(token) = state.bearer(subject.asked) else {
        return Err(failed("Only authentication scheme Bearer is supported"));
    };
    let text = subject.asked.text();
    let element = |name: &str| {
        super::azurite::elements(&text, name)
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let owner = state.applications.get(&token.client_id);
    let delegation = Delegation {
        object_id: owner.map(|one| one.object_id.clone()).unwrap_or_default(),
        tenant: owner.map(|one| one.tenant.clone()).unwrap_or_default(),
        start: element("Start"),
        expiry: element("Expiry"),
        version: subject.asked.header("x-ms-version").unwrap_or_default().to_owned(),
    };
    if delegation.expiry.parse::<jiff::Timestamp>().is_err() {
        return Err(Reply::blob_error(
            400,
            "InvalidXmlDocument",
            "XML specified is not syntactically valid.",
        ));
    }
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey><SignedOid>{}</SignedOid><SignedTid>{}</SignedTid>\
         <SignedStart>{}</SignedStart><SignedExpiry>{}</SignedExpiry><SignedService>b</SignedService>\
         <SignedVersion>{}</SignedVersion><Value>{}</Value></UserDelegationKey>",
        delegation.object_id,
        delegation.tenant,
        delegation.start,
        delegation.expiry,
        delegation.version,
        delegation.key(&state.secret, subject.account)
    );
    Ok(Reply::new(200, &body).header("content-type", "application/xml"))
}
