//! Whether Swift can be the default storage of a new cluster. Only an answer decides: an outage never chooses the claim.

use http::Method;
use serde_json::Value;

use super::catalog::{self, Selection};
use super::client::{Call, Client};
use super::effective::Effective;
use super::keystone::Login;
use super::session::Sessions;
use super::trust;
use super::wire::Wire;
use crate::api::registry_storage::SwiftStorage;
use crate::config::snapshot::Snapshot;
use crate::storage::model::call::{CallError, Cause};
use crate::storage::model::error::StorageError;
use crate::storage::model::fingerprint::Fingerprint;
use crate::storage::net::http::Egress;
use crate::storage::net::network::Network;

/// Whether the cloud has a Swift whose containers the cluster's credentials may list.
///
/// # Errors
/// That is not known: credentials are missing or refused, Keystone or Swift does not answer, throttles or fails.
pub async fn is_usable(network: &Network, sessions: &Sessions, snapshot: &Snapshot) -> Result<bool, StorageError> {
    let (effective, login, wire) = login(network, snapshot)?;
    let session = sessions.of(login, &wire);
    let failed = |error: CallError| {
        let message = format!("whether the cloud has a usable Swift is not known: {error}");
        error.storage_error_with(message)
    };
    let token = session.token(&wire).await.map_err(&failed)?;
    let selection = Selection {
        region: effective.region.clone(),
        interface: effective.interface,
        as_registry: false,
    };
    if !token.body.scoped {
        // Its catalogue is empty whatever the cloud has.
        return Err(StorageError::action_required(format!(
            "whether the cloud has a usable Swift is not known: the login names no project: correct {}",
            effective.source
        )));
    }
    if catalog::find(&token.body.endpoints, &selection).is_none() {
        sessions.log_claim(&catalog::not_found(&token.body, &selection));
        return Ok(false);
    }
    let client = Client::new(wire, session, selection, network.settings.leading.clone());
    let call = Call {
        expected: &[200, 204, 300],
        ..Call::of_account("GET account", Method::GET)
    };
    let call = call.query("format=json").header("accept", "application/json");
    match client.call(&call).await {
        // Something in between may answer in place of Swift.
        Ok(answer) if answer.status == 200 && serde_json::from_slice::<Vec<Value>>(&answer.body).is_err() => {
            Err(StorageError::transient(
                "whether the cloud has a usable Swift is not known: its list of containers cannot be read",
            ))
        }
        Ok(_) => Ok(true),
        Err(error) if !error.of_identity && !error.is_undecided() && is_verdict(error.cause) => {
            sessions.log_claim(&format!("Swift cannot be used: {error}"));
            Ok(false)
        }
        // A login that was refused only now, and all that may pass.
        Err(error) if error.of_identity => Err(failed(error)),
        Err(error) => {
            let of_others = if is_verdict(error.cause) {
                ". The answer is not one of Swift itself (no header X-Trans-Id): correct the catalogue or what stands in between, or \
                 create Config cluster with spec.storage"
            } else {
                ""
            };
            Err(StorageError::transient(format!("{}{of_others}", failed(error).message)))
        }
    }
}

/// What the operator logs in with if the spec names nothing, and its connection to Keystone and Swift.
fn login(network: &Network, snapshot: &Snapshot) -> Result<(Effective, Login, Wire), StorageError> {
    let effective = Effective::of(&SwiftStorage::default(), snapshot)?;
    let credentials = effective.credentials.clone()?;
    let wire = Wire::new(network, trust::trust(effective.verify, snapshot)?, Egress::Process)?;
    let login = Login::of(&effective, &credentials);
    Ok((effective, login, wire))
}

/// Digest of everything in the cluster on which [`is_usable`] depends; `None` if that makes no call.
pub fn inputs_of_usable(network: &Network, snapshot: &Snapshot) -> Option<Fingerprint> {
    let (effective, login, wire) = login(network, snapshot).ok()?;
    let region = effective.region.as_deref().unwrap_or_default();
    Some(
        wire.path()
            .and(login.texts())
            .and([region, effective.interface.text(), &effective.source]),
    )
}

/// Responses of Swift that say that the containers cannot be listed.
fn is_verdict(cause: Cause) -> bool {
    matches!(cause, Cause::Answer(401 | 403 | 404 | 405 | 501))
}
