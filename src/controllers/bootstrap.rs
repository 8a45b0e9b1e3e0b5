//! Creates the default Config if none exists.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Context;
use crate::api::openshift::InfrastructureStatus;
use crate::api::{Config, Kind, ObjectRef};
use crate::apply::WriteError;
use crate::config::content::is_deleting;
use crate::config::defaults;
use crate::config::elapsed;
use crate::config::error_class::ErrorClass;
use crate::config::snapshot::Snapshot;
use crate::config::tls::ServingInfo;
use crate::names;
use crate::status::cluster_operator::BootstrapDelay;
use crate::status::conditions::REPORT_AFTER;
use crate::storage::{self, BootstrapClaim};

/// Why the Config was not created. The message names the object, the cause and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NotCreated {
    /// Something that the platform creates is missing. The controller waits for it, at most this long.
    Waiting(String, Duration),
    /// A call failed, or the platform's storage is not known.
    Failed(ErrorClass, String),
}

impl NotCreated {
    /// A refused Config has fields of the environment: whoever reads the message has to know which.
    fn of_the_variable(self, given: &Map<String, Value>) -> Self {
        match self {
            Self::Failed(ErrorClass::ActionRequired, message) if !given.is_empty() => {
                let fields: Vec<&str> = given.keys().map(String::as_str).collect();
                let message = format!(
                    "{message}. Fields {} come from environment variable DEFAULT_CONFIG_SPEC of the operator (value `config` of the chart)",
                    fields.join(", ")
                );
                Self::Failed(ErrorClass::ActionRequired, message)
            }
            other => other,
        }
    }

    /// For the ClusterOperator, and the time after which it changes although nothing happens. `since`: the first of these
    /// failures.
    pub(super) fn report(self, since: Timestamp, now: Timestamp) -> (BootstrapDelay, Option<Duration>) {
        match self {
            Self::Waiting(message, left) => (BootstrapDelay::Pending(message), Some(left)),
            Self::Failed(ErrorClass::Transient, message) => match elapsed::left(since, now, REPORT_AFTER) {
                Some(left) => (BootstrapDelay::Retrying(message), Some(left)),
                None => (BootstrapDelay::Failed(message), None),
            },
            Self::Failed(ErrorClass::Invalid(_) | ErrorClass::ActionRequired | ErrorClass::NoAccess, message) => {
                (BootstrapDelay::Failed(message), None)
            }
        }
    }
}

/// What the last attempt to create the Config did, if it failed.
#[derive(Default)]
pub(super) struct LastAttempt {
    /// The Config that was sent, and why the API server did not create it.
    sent: Option<(Value, NotCreated)>,
}

/// Creates the default PersistentVolumeClaim if the platform uses one, then the Config. The ClusterOperator reports the
/// error, because no Config exists yet. `since`: start of the first attempt. Until the backoff is over (`due`), the Config of
/// the last attempt is not sent again: any change in the cluster starts a pass, but an admission policy still denies the Config.
pub(super) async fn bootstrap(
    context: &Context,
    snapshot: &Snapshot,
    since: Timestamp,
    last: &mut LastAttempt,
    due: bool,
) -> Result<(), NotCreated> {
    let infrastructure = match snapshot.infrastructure() {
        Some(infrastructure) => infrastructure,
        None if snapshot.has_no_platform() => InfrastructureStatus::default(),
        None => {
            return Err(NotCreated::Failed(
                ErrorClass::Transient,
                "Infrastructure cluster does not exist, so the platform and its default storage are unknown: create \
                 it, or create Config cluster with spec.storage"
                    .to_owned(),
            ));
        }
    };
    let platform = defaults::platform(&infrastructure);
    let given = &snapshot.environment.default_spec;
    let given_storage = defaults::given_storage(given).map_err(|error| {
        let message =
            format!("environment variable DEFAULT_CONFIG_SPEC of the operator: storage: {error}: correct the variable");
        NotCreated::Failed(ErrorClass::ActionRequired, message)
    })?;
    let storage = if given_storage.is_some() {
        given_storage
    } else {
        let found = storage::platform_default(snapshot, platform.as_deref(), &context.storage).await;
        let storage = found.map_err(|error| {
            let message = format!("the default storage of the platform is not known: {}", error.message);
            NotCreated::Failed(error.class, message)
        })?;
        if storage.as_ref().is_some_and(|s| s.pvc.is_some()) {
            create_claim(context, snapshot, platform.as_deref(), since).await?;
        }
        storage
    };
    let observed = match snapshot.objects.unreadable(Kind::ApiServer) {
        None => ServingInfo::observed(snapshot.api_server().as_ref()).to_observed_config(),
        Some(_) => Value::Null,
    };
    let config = defaults::bootstrap_config(&infrastructure, storage.as_ref(), &observed);
    let config = defaults::with_spec(config, given);
    if let Some((tried, error)) = last.sent.as_ref().filter(|_| !due)
        && *tried == config
    {
        return Err(error.clone());
    }
    let created = create(context, &ObjectRef::new(Kind::Config, "", names::CLUSTER), &config).await;
    let created = created.map(|_| ()).map_err(|error| error.of_the_variable(given));
    last.sent = created.as_ref().err().map(|error| (config, error.clone()));
    created
}

/// Whether a pass needs the PersistentVolumes of the cluster: it may create the claim of a new cluster.
pub(super) fn reads_volumes(snapshot: &Snapshot, config: Option<&Config>) -> bool {
    let storage = config.and_then(|config| config.spec.storage.as_ref());
    if storage.is_some_and(|storage| !storage.backends().is_empty()) {
        return false;
    }
    let platform = snapshot.infrastructure().and_then(|i| defaults::platform(&i));
    storage::bootstrap_claim_reads_volumes(snapshot, platform.as_deref())
}

async fn create_claim(
    context: &Context,
    snapshot: &Snapshot,
    platform: Option<&str>,
    since: Timestamp,
) -> Result<(), NotCreated> {
    let reference = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, names::DEFAULT_CLAIM);
    if let Some(found) = snapshot.objects.find(&reference) {
        return not_leaving(&reference, found);
    }
    match storage::bootstrap_claim(snapshot, platform, since) {
        BootstrapClaim::Create(claim) => {
            let gone = || NotCreated::Failed(ErrorClass::Transient, format!("{reference} was deleted meanwhile"));
            let found = create(context, &reference, &claim).await?.ok_or_else(gone)?;
            not_leaving(&reference, &found)
        }
        BootstrapClaim::Wait { message, left } => Err(NotCreated::Waiting(message, left)),
    }
}

/// Refuses a claim that is being deleted: a Config that names the claim would never get another one. The watch of claims starts the
/// next pass.
fn not_leaving(reference: &ObjectRef, claim: &Value) -> Result<(), NotCreated> {
    if !is_deleting(claim) {
        return Ok(());
    }
    let message = format!(
        "{reference} is being deleted: when the claim is gone, the operator creates a new one, and then the Config. Delete pods that \
         still use the claim"
    );
    Err(NotCreated::Failed(ErrorClass::Transient, message))
}

/// Creates an object, and returns it as the API server has it. An object that exists already counts as created: its watch event has
/// not arrived yet. `None` if it is gone again.
async fn create(context: &Context, reference: &ObjectRef, body: &Value) -> Result<Option<Value>, NotCreated> {
    match context.create(reference, body).await {
        Ok(created) => Ok(Some(created)),
        Err(WriteError::Conflict(_)) => {
            let found = context.writer.read(reference).await;
            found.map_err(|error| failed("read", reference, &error))
        }
        Err(error) => Err(failed("create", reference, &error)),
    }
}

/// A refusal waits for an administrator (content, quota, permissions); all else may pass.
fn failed(verb: &str, reference: &ObjectRef, error: &WriteError) -> NotCreated {
    let class = match error {
        WriteError::Refused(_) | WriteError::Forbidden(_) => ErrorClass::ActionRequired,
        WriteError::NotLeading | WriteError::Conflict(_) | WriteError::NotFound | WriteError::Transient(_) => {
            ErrorClass::Transient
        }
    };
    NotCreated::Failed(class, format!("cannot {verb} {reference}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::apply::Refusal;
    use crate::config::resolve::Reason;
    use crate::controllers::tests::cluster::Cluster;

    // storage-volumes 24, 26
    #[tokio::test(start_paused = true)]
    async fn a_claim_that_is_being_deleted_is_waited_for_and_made_again() {
        let platform = json!({"apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"platformStatus": {"type": "oVirt"}, "infrastructureName": "i"}});
        let class =
            json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "ovirt-csi-sc"}});
        let leaving = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {
            "name": names::DEFAULT_CLAIM, "namespace": names::NAMESPACE, "uid": "old",
            "deletionTimestamp": "2031-05-06T07:08:09Z", "finalizers": ["kubernetes.io/pvc-protection"]}});
        let claim = ObjectRef::new(Kind::PersistentVolumeClaim, names::NAMESPACE, names::DEFAULT_CLAIM);
        let config = ObjectRef::new(Kind::Config, "", names::CLUSTER);
        let cluster = Cluster::new([platform, class, leaving]);
        // As the watch shows it, and before its watch event.
        let seen = cluster.context.caches.snapshot();
        let mut unseen = seen.clone();
        unseen.objects.remove(&claim);
        for snapshot in [&seen, &unseen] {
            let failed = bootstrap(
                &cluster.context,
                snapshot,
                snapshot.now,
                &mut LastAttempt::default(),
                true,
            )
            .await;
            let Err(NotCreated::Failed(ErrorClass::Transient, message)) = failed else {
                panic!("{failed:?}");
            };
            assert!(
                message.contains(&claim.to_string()) && message.contains("is being deleted"),
                "{message}"
            );
            assert!(cluster.get(&config).is_none());
        }
        let path = format!(
            "/api/v1/namespaces/{}/persistentvolumeclaims/{}",
            names::NAMESPACE,
            names::DEFAULT_CLAIM
        );
        cluster.api.delete(&path);
        let made = bootstrap(&cluster.context, &unseen, unseen.now, &mut LastAttempt::default(), true).await;
        assert_eq!(made, Ok(()));
        assert!(
            cluster.get(&claim).unwrap()["metadata"]
                .get("deletionTimestamp")
                .is_none()
        );
        let storage = cluster.get(&config).unwrap()["spec"]["storage"].clone();
        assert_eq!(storage, json!({"pvc": {"claim": names::DEFAULT_CLAIM}}));
    }

    /// A Keystone that refuses every login. Returns its URL, and the number of its requests.
    async fn refusing_keystone() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v3", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                // The body of a login ends with its only line of JSON.
                while !request.ends_with(b"}") && stream.read_buf(&mut request).await.unwrap() > 0 {}
                counted.fetch_add(1, Ordering::SeqCst);
                let response = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(response).await.unwrap();
            }
        });
        (url, count)
    }

    // storage-swift: credentials that are wrong while the operator waits to log in again
    #[tokio::test]
    async fn a_refused_login_is_not_repeated_at_once_but_with_other_credentials() {
        let (url, logins) = refusing_keystone().await;
        let secret = |password: &str| {
            let clouds = format!(
                "clouds:\n  openstack:\n    auth:\n      auth_url: {url}\n      username: u\n      password: {password}\n      \
                 user_domain_name: D\n      project_name: P\n      project_domain_name: D\n"
            );
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": names::MINTED_SECRET, "namespace": names::NAMESPACE},
                "data": {"clouds.yaml": STANDARD.encode(clouds)}})
        };
        let platform = json!({"apiVersion": "config.openshift.io/v1", "kind": "Infrastructure", "metadata": {"name": "cluster"},
            "status": {"platformStatus": {"type": "OpenStack"}, "infrastructureName": "i"}});
        let cluster = Cluster::new([platform, secret("old")]);
        let before = cluster.context.caches.snapshot();
        let mut changed = before.clone();
        let reference = ObjectRef::new(Kind::Secret, names::NAMESPACE, names::MINTED_SECRET);
        changed.objects.insert(reference, secret("new"));
        for (what, snapshot, seconds, total) in [
            ("the first attempt", &before, 0.0, 1),
            ("a watch event", &before, 0.0, 1),
            ("another watch event", &before, 0.9, 1),
            ("a refusal counts for longer than the first waits", &before, 5.0, 1),
            ("other credentials", &changed, 5.1, 2),
            ("a watch event with them", &changed, 6.0, 2),
        ] {
            let mut snapshot = snapshot.clone();
            snapshot.now += jiff::SignedDuration::from_secs_f64(seconds);
            let last = &mut LastAttempt::default();
            let failed = bootstrap(&cluster.context, &snapshot, snapshot.now, last, true).await;
            let Err(NotCreated::Failed(ErrorClass::NoAccess, message)) = failed else {
                panic!("{what}: {failed:?}");
            };
            assert!(message.contains("401"), "{what}: {message}");
            assert_eq!(logins.load(Ordering::SeqCst), total, "{what}");
        }
    }

    // lifecycle 34
    #[test]
    fn a_failure_that_may_pass_is_degraded_after_two_minutes_and_all_others_at_once() {
        let since: Timestamp = "2026-02-03T04:05:06Z".parse().unwrap();
        let claim = ObjectRef::new(Kind::PersistentVolumeClaim, "n", "c");
        let write = |error: WriteError| failed("create", &claim, &error);
        let of_class = |class| NotCreated::Failed(class, "m".to_owned());
        let text = || "m".to_owned();
        let minutes = |minutes: f64| Duration::from_secs_f64(minutes * 60.0);
        for (what, failure, after, degraded) in [
            (
                "invalid",
                of_class(ErrorClass::Invalid(Reason::StorageNotConfigured)),
                0.0,
                true,
            ),
            ("for an administrator", of_class(ErrorClass::ActionRequired), 0.0, true),
            ("quota", write(WriteError::Forbidden(text())), 0.0, true),
            (
                "content",
                write(WriteError::Refused(Refusal {
                    text: text(),
                    ..Refusal::default()
                })),
                0.0,
                true,
            ),
            ("503", write(WriteError::Transient(text())), 0.0, false),
            ("503 for a while", write(WriteError::Transient(text())), 1.9, false),
            ("503 for long", write(WriteError::Transient(text())), 2.0, true),
            ("gone", write(WriteError::NotFound), 1.0, false),
            ("conflict", write(WriteError::Conflict(text())), 0.5, false),
            ("no leader", write(WriteError::NotLeading), 1.0, false),
            (
                "a clock that was set back a minute",
                of_class(ErrorClass::Transient),
                -1.0,
                false,
            ),
            (
                "a clock that was set back an hour",
                of_class(ErrorClass::Transient),
                -60.0,
                true,
            ),
            (
                "a class that is missing",
                NotCreated::Waiting(text(), minutes(1.0)),
                1.0,
                false,
            ),
        ] {
            let now = since + jiff::SignedDuration::from_secs_f64(after * 60.0);
            let (delay, left) = failure.report(since, now);
            assert_eq!(
                matches!(delay, BootstrapDelay::Failed(_)),
                degraded,
                "{what}: {delay:?}"
            );
            assert_eq!(left.is_none(), degraded, "{what}: {left:?}");
        }
        let (_, left) = of_class(ErrorClass::Transient).report(since, since);
        assert_eq!(left, Some(REPORT_AFTER));
    }
}
