//! The metrics of the process, in the text format of Prometheus.
//!
//! Recording rules and telemetry of OpenShift use the names and labels of the first five, which must not change. There are no
//! process or runtime metrics: cAdvisor and the node exporter have them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, EncodeMetric, MetricEncoder, text::encode},
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Content type of [`Metrics::text`].
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Numbers of image stream tags by source and location.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageStreamTags {
    /// Imported, in namespaces that begin with `openshift`.
    pub imported_openshift: i64,
    /// Imported, in other namespaces.
    pub imported_other: i64,
    /// Pushed, in namespaces that begin with `openshift`.
    pub pushed_openshift: i64,
    /// Pushed, in other namespaces.
    pub pushed_other: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TagLabels {
    source: &'static str,
    location: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StorageLabel {
    storage: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabel {
    controller: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    controller: &'static str,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VersionLabel {
    version: String,
}

/// A condition of an object, without its message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ConditionLabels {
    /// Kind of the object: `Config` or `ImagePruner`.
    pub(crate) object: &'static str,
    /// `type` of the condition.
    pub(crate) r#type: String,
    /// `True`, `False` or `Unknown`.
    pub(crate) status: String,
    /// `reason` of the condition; may be empty.
    pub(crate) reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretLabel {
    secret: &'static str,
}

/// How a pass of a controller ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The pass succeeded.
    Success,
    /// The pass failed; a condition reports the error.
    Error,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Success => "success",
            Self::Error => "error",
        }
        .encode(encoder)
    }
}

/// A gauge that has no sample until it is set.
#[derive(Clone, Debug)]
struct LateGauge(Arc<AtomicI64>);

impl LateGauge {
    const UNSET: i64 = i64::MIN;

    fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

impl Default for LateGauge {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(Self::UNSET)))
    }
}

impl EncodeMetric for LateGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self.0.load(Ordering::Relaxed) {
            Self::UNSET => Ok(()),
            value => encoder.encode_gauge(&value),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    storage_reconfigured: Counter,
    /// Without a value until the first pass of the pruner: a process that waits for the Lease knows nothing of it.
    pruner_install_status: LateGauge,
    azure_key_cache: Family<ResultLabel, Counter>,
    image_stream_tags: Family<TagLabels, Gauge>,
    storage_type: Family<StorageLabel, Gauge>,
    passes: Family<PassLabels, Counter>,
    pass_duration: Family<ControllerLabel, Histogram, fn() -> Histogram>,
    api_requests: Family<RequestLabels, Counter>,
    events_failed: Counter,
    leader: Gauge,
    conditions: Family<ConditionLabels, Gauge>,
    certificate_expiry: Family<SecretLabel, Gauge>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers everything; `version` is that of the program.
    pub fn new(version: &str) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            storage_reconfigured: Counter::default(),
            pruner_install_status: LateGauge::default(),
            azure_key_cache: Family::default(),
            image_stream_tags: Family::default(),
            storage_type: Family::default(),
            passes: Family::default(),
            pass_duration: Family::new_with_constructor(|| Histogram::new([0.01, 0.05, 0.25, 1.0, 5.0, 30.0, 120.0])),
            api_requests: Family::default(),
            events_failed: Counter::default(),
            leader: Gauge::default(),
            conditions: Family::default(),
            certificate_expiry: Family::default(),
        };
        metrics.register();
        metrics.register_own(version);
        metrics
    }

    /// The encoder appends `_total` to the names of counters.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "image_registry_operator_storage_reconfigured",
            "Times the registry was switched to another storage type or location",
            self.storage_reconfigured.clone(),
        );
        registry.register(
            "image_registry_operator_image_pruner_install_status",
            "Whether pruning is set up: 0 not installed, 1 suspended, 2 enabled",
            self.pruner_install_status.clone(),
        );
        registry.register(
            "image_registry_operator_azure_key_cache_requests",
            "Lookups in the cache of Azure account keys",
            self.azure_key_cache.clone(),
        );
        registry.register(
            "image_registry_image_stream_tags_total",
            "Image stream tags by source and location",
            self.image_stream_tags.clone(),
        );
        registry.register(
            "image_registry_storage_type",
            "1 for the storage in use",
            self.storage_type.clone(),
        );
    }

    /// What this operator adds to the metrics of the platform.
    fn register_own(&mut self, version: &str) {
        let build: Family<VersionLabel, Gauge> = Family::default();
        build
            .get_or_create(&VersionLabel {
                version: version.to_owned(),
            })
            .set(1);
        let registry = &mut self.registry;
        registry.register(
            "image_registry_operator_reconciles",
            "Passes of each controller by outcome",
            self.passes.clone(),
        );
        registry.register(
            "image_registry_operator_reconcile_duration_seconds",
            "Duration of the passes of each controller",
            self.pass_duration.clone(),
        );
        registry.register(
            "image_registry_operator_api_requests",
            "Requests to the cluster's API by method and status; 0 is no answer",
            self.api_requests.clone(),
        );
        registry.register(
            "image_registry_operator_events_failed",
            "Events that could not be published",
            self.events_failed.clone(),
        );
        registry.register(
            "image_registry_operator_leader",
            "1 while this process leads",
            self.leader.clone(),
        );
        registry.register(
            "image_registry_operator_condition",
            "1 for the status and reason of each condition of the Config and the ImagePruner",
            self.conditions.clone(),
        );
        registry.register(
            "image_registry_operator_certificate_expiry_timestamp_seconds",
            "End of the validity of a serving certificate, in seconds since 1970",
            self.certificate_expiry.clone(),
        );
        registry.register("image_registry_operator_build_info", "1 for the running version", build);
    }

    /// Sets the storage type of `Config.status`: `EmptyDir`, `S3`, `Swift`, `GCS`, `IBMCOS`, `PVC`, `Azure` or
    /// `OSS`. Afterwards
    /// exactly one series exists; none for `None`.
    pub(crate) fn storage_type(&self, storage: Option<&str>) {
        self.storage_type.clear();
        if let Some(storage) = storage {
            self.storage_type
                .get_or_create(&StorageLabel {
                    storage: storage.to_owned(),
                })
                .set(1);
        }
    }

    /// Counts a change of the storage type or location.
    pub(crate) fn storage_reconfigured(&self) {
        self.storage_reconfigured.inc();
    }

    /// 0 not installed, 1 suspended, 2 enabled.
    pub(crate) fn pruner_install_status(&self, status: i64) {
        self.pruner_install_status.set(status);
    }

    /// Counts a lookup of an Azure account key. `hit`: the cache had a fresh key.
    pub(crate) fn azure_key_cache(&self, hit: bool) {
        let result = if hit { "hit" } else { "miss" };
        self.azure_key_cache.get_or_create(&ResultLabel { result }).inc();
    }

    /// Sets the numbers of image stream tags.
    pub(crate) fn image_stream_tags(&self, tags: ImageStreamTags) {
        for (source, location, number) in [
            ("imported", "openshift", tags.imported_openshift),
            ("imported", "other", tags.imported_other),
            ("pushed", "openshift", tags.pushed_openshift),
            ("pushed", "other", tags.pushed_other),
        ] {
            self.image_stream_tags
                .get_or_create(&TagLabels { source, location })
                .set(number);
        }
    }

    /// Counts a pass of a controller.
    pub(crate) fn reconciled(&self, controller: &'static str, outcome: Outcome, duration: Duration) {
        self.passes.get_or_create(&PassLabels { controller, outcome }).inc();
        self.pass_duration
            .get_or_create(&ControllerLabel { controller })
            .observe(duration.as_secs_f64());
    }

    /// Counts a request to the cluster's API; `code` is its HTTP status, 0 if there was none.
    pub(crate) fn api_request(&self, method: &http::Method, code: u16) {
        self.api_requests
            .get_or_create(&RequestLabels {
                method: method.to_string(),
                code,
            })
            .inc();
    }

    /// Counts an event that was dropped or refused.
    pub(crate) fn event_failed(&self) {
        self.events_failed.inc();
    }

    /// Sets whether this process leads.
    pub(crate) fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// Sets the conditions of all objects. Conditions that are not among them have no series any more.
    pub(crate) fn conditions(&self, conditions: impl IntoIterator<Item = ConditionLabels>) {
        self.conditions.clear();
        for labels in conditions {
            self.conditions.get_or_create(&labels).set(1);
        }
    }

    /// Sets when the serving certificate in a Secret expires, in seconds since 1970; `None`: no certificate.
    pub(crate) fn certificate_expiry(&self, secret: &'static str, at: Option<i64>) {
        let label = SecretLabel { secret };
        match at {
            Some(at) => drop(self.certificate_expiry.get_or_create(&label).set(at)),
            None => drop(self.certificate_expiry.remove(&label)),
        }
    }

    /// All metrics as text of type [`CONTENT_TYPE`].
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(4096);
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(metrics: &Metrics, prefix: &str) -> Vec<String> {
        metrics
            .text()
            .unwrap()
            .lines()
            .filter(|line| line.starts_with(prefix))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn the_metrics_of_the_platform_have_their_exact_names_and_labels() {
        let metrics = Metrics::new("1.2.3");
        metrics.storage_type(Some("PVC"));
        metrics.storage_reconfigured();
        // A 0 would mean that the pruner is not installed.
        let text = metrics.text().unwrap();
        assert!(
            !text.contains("image_registry_operator_image_pruner_install_status 0"),
            "{text}"
        );
        metrics.pruner_install_status(2);
        metrics.azure_key_cache(true);
        metrics.image_stream_tags(ImageStreamTags {
            imported_openshift: 3,
            pushed_other: 4,
            ..Default::default()
        });
        let text = metrics.text().unwrap();
        for line in [
            "image_registry_operator_storage_reconfigured_total 1",
            "# TYPE image_registry_operator_storage_reconfigured counter",
            "image_registry_operator_image_pruner_install_status 2",
            "image_registry_operator_azure_key_cache_requests_total{result=\"hit\"} 1",
            "# TYPE image_registry_image_stream_tags_total gauge",
            "image_registry_image_stream_tags_total{source=\"imported\",location=\"openshift\"} 3",
            "image_registry_image_stream_tags_total{source=\"pushed\",location=\"other\"} 4",
            "image_registry_storage_type{storage=\"PVC\"} 1",
            "image_registry_operator_build_info{version=\"1.2.3\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn exactly_one_storage_type_is_set_after_a_change() {
        let metrics = Metrics::new("1");
        metrics.storage_type(Some("EmptyDir"));
        metrics.storage_type(Some("S3"));
        assert_eq!(
            series(&metrics, "image_registry_storage_type{"),
            ["image_registry_storage_type{storage=\"S3\"} 1"]
        );
        metrics.storage_type(None);
        assert!(series(&metrics, "image_registry_storage_type{").is_empty());
    }

    #[test]
    fn conditions_have_one_series_each_which_goes_when_the_condition_changes() {
        let metrics = Metrics::new("1");
        let degraded = |object, status: &str, reason: &str| ConditionLabels {
            object,
            r#type: "Degraded".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
        };
        metrics.conditions([degraded("Config", "False", "AsExpected")]);
        metrics.conditions([
            degraded("Config", "True", "Error"),
            degraded("ImagePruner", "False", ""),
        ]);
        let prefix = "image_registry_operator_condition{object=";
        let mut all = series(&metrics, prefix);
        all.sort();
        assert_eq!(
            all,
            [
                format!("{prefix}\"Config\",type=\"Degraded\",status=\"True\",reason=\"Error\"}} 1"),
                format!("{prefix}\"ImagePruner\",type=\"Degraded\",status=\"False\",reason=\"\"}} 1"),
            ]
        );
    }

    #[test]
    fn the_expiry_of_a_certificate_goes_with_the_certificate() {
        let metrics = Metrics::new("1");
        metrics.certificate_expiry("s", Some(2_000_000_000));
        let prefix = "image_registry_operator_certificate_expiry_timestamp_seconds{";
        assert_eq!(series(&metrics, prefix), [format!("{prefix}secret=\"s\"}} 2000000000")]);
        metrics.certificate_expiry("s", None);
        assert!(series(&metrics, prefix).is_empty());
    }

    #[test]
    fn passes_are_counted_by_outcome() {
        let metrics = Metrics::new("1");
        metrics.reconciled("registry", Outcome::Error, Duration::from_millis(20));
        assert_eq!(
            series(&metrics, "image_registry_operator_reconciles_total"),
            ["image_registry_operator_reconciles_total{controller=\"registry\",outcome=\"error\"} 1"]
        );
    }
}
