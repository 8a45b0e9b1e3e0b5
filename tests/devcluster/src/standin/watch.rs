//! The watches that feed the cache: one a kind, each in a task of its own.

use std::pin::pin;
use std::time::Duration;

use futures::TryStreamExt as _;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, DynamicObject};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use tokio::sync::mpsc::Sender;
use tracing::warn;

use super::cache::{Event, Kind};

const PAUSE: Duration = Duration::from_millis(500);

/// Watches a kind for ever. A kind of a CRD is watched from the moment at which the CRD is established.
pub(super) async fn watch(client: Client, kind: Kind, events: Sender<Event>) {
    loop {
        if let Some(crd) = kind.crd() {
            let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
            if let Err(error) = await_condition(crds, crd, conditions::is_crd_established()).await {
                warn!(crd, %error, "stand-ins: waiting for a CRD");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        }
        // Ends with an error, such as a CRD's removal or an API server that restarts; a new list then starts afresh.
        match follow(&client, kind, &events).await {
            Ok(()) => return,
            Err(error) => {
                warn!(?kind, %error, "stand-ins: watch");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Passes on events until the watch fails, or nobody listens any more.
async fn follow(client: &Client, kind: Kind, events: &Sender<Event>) -> Result<(), watcher::Error> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &kind.resource());
    let config = watcher::Config {
        field_selector: kind.field_selector().map(str::to_owned),
        ..Default::default()
    };
    let mut stream = pin!(watcher(api, config));
    while let Some(event) = stream.try_next().await? {
        let event = match event {
            watcher::Event::Init => Event::Listing(kind),
            watcher::Event::InitApply(object) => Event::Listed(kind, Box::new(object)),
            watcher::Event::InitDone => Event::Complete(kind),
            watcher::Event::Apply(object) => Event::Applied(kind, Box::new(object)),
            watcher::Event::Delete(object) => Event::Deleted(kind, Box::new(object)),
        };
        if events.send(event).await.is_err() {
            break;
        }
    }
    Ok(())
}
