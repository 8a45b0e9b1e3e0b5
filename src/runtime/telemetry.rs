//! Logs on stderr, with a level that can be changed while the process runs.
//!
//! No level prints a body or a header of an API call. `kube_client::client` logs whole response bodies, Secrets among
//! them, as warnings when it cannot decode them, and more at debug and trace. Its level is therefore always `error`,
//! and that of the crates below it at most `debug`. `kube_runtime` prints a warning for each attempt of a watch that is
//! refused; the operator itself prints one line for all of them.

use std::{
    fmt, io,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer, Registry, filter::Targets, fmt::format::FmtSpan, layer::SubscriberExt as _, reload,
    util::SubscriberInitExt as _,
};

/// Log targets of the operator itself: the library and the program.
const OWN_CRATES: [&str; 2] = ["image_registry_operator", "cluster_image_registry_operator"];
/// Crates that print requests and responses at trace.
const TRANSPORT_CRATES: [&str; 9] = [
    "kube_client",
    "hyper",
    "hyper_util",
    "hyper_rustls",
    "h2",
    "rustls",
    "tower",
    "reqwest",
    // All crates of the AWS SDK. At trace they print requests and responses, those of STS among them.
    "aws_",
];
/// Prints response bodies at `warn` and below.
const BODY_LOGGER: &str = "kube_client::client";
/// Prints a warning for each attempt of a watch that is refused.
const WATCH_LOGGER: &str = "kube_runtime";

/// Format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Text, one line for each message.
    #[default]
    Text,
    /// JSON, one object for each line.
    Json,
}

/// Log levels of OpenShift, as in `spec.operatorLogLevel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `info`.
    #[default]
    Normal,
    /// `debug` of this program.
    Debug,
    /// `trace` of this program.
    Trace,
    /// `trace` of all crates, except those that would print secrets.
    TraceAll,
}

/// An unknown log level.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown log level {0:?}: use Normal, Debug, Trace or TraceAll")]
pub struct UnknownLevel(String);

impl FromStr for LogLevel {
    type Err = UnknownLevel;

    /// An empty text is `Normal`.
    fn from_str(text: &str) -> Result<Self, UnknownLevel> {
        match text {
            "" | "Normal" => Ok(Self::Normal),
            "Debug" => Ok(Self::Debug),
            "Trace" => Ok(Self::Trace),
            "TraceAll" => Ok(Self::TraceAll),
            other => Err(UnknownLevel(other.to_owned())),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl LogLevel {
    fn targets(self) -> Targets {
        let (own, others) = match self {
            Self::Normal => (LevelFilter::INFO, LevelFilter::INFO),
            Self::Debug => (LevelFilter::DEBUG, LevelFilter::INFO),
            Self::Trace => (LevelFilter::TRACE, LevelFilter::INFO),
            Self::TraceAll => (LevelFilter::TRACE, LevelFilter::TRACE),
        };
        let watches = match self {
            Self::Normal | Self::Debug | Self::Trace => LevelFilter::ERROR,
            Self::TraceAll => LevelFilter::DEBUG,
        };
        Targets::new()
            .with_default(others)
            .with_target(WATCH_LOGGER, watches)
            .with_targets(OWN_CRATES.map(|target| (target, own)))
            .with_targets(TRANSPORT_CRATES.map(|target| (target, others.min(LevelFilter::DEBUG))))
            .with_target(BODY_LOGGER, LevelFilter::ERROR)
    }
}

/// What [`Telemetry::set_level`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The level is unchanged.
    None,
    /// The first level since the start, which leads to no event.
    First(LogLevel),
    /// The level changed.
    Changed {
        /// The previous level.
        from: LogLevel,
        /// The new level.
        to: LogLevel,
    },
}

/// Why a level was not set.
#[derive(Debug, thiserror::Error)]
pub enum LevelError {
    /// The level is unknown; `Normal` was set.
    #[error("{error}; using Normal")]
    Unknown {
        /// The unknown level.
        #[source]
        error: UnknownLevel,
        /// The change to `Normal`.
        change: Change,
    },
    /// The logging system refused; the level is unchanged.
    #[error("cannot change the log level: {0}")]
    Reload(#[from] reload::Error),
}

/// Handle of the logging system. Clones share it.
#[derive(Clone)]
pub struct Telemetry {
    current: Arc<Mutex<Option<LogLevel>>>,
    filter: reload::Handle<Targets, Registry>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Starts logging for the whole process, at `Normal`. An existing subscriber (in tests) stays.
    pub fn init(format: Format) -> Self {
        let (telemetry, subscriber) = Self::build(format, io::stderr);
        // Fails only if a subscriber exists.
        let _ = subscriber.try_init();
        telemetry
    }

    /// A handle without a subscriber: setting a level fails.
    #[cfg(test)]
    pub(crate) fn detached() -> Self {
        Self::build(Format::Text, io::sink).0
    }

    fn build<W>(format: Format, writer: W) -> (Self, impl tracing::Subscriber + Send + Sync)
    where
        W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static,
    {
        let (filter, handle) = reload::Layer::new(LogLevel::Normal.targets());
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_span_events(FmtSpan::NONE)
            .with_writer(writer);
        let lines = match format {
            Format::Text => lines.compact().boxed(),
            Format::Json => lines.json().flatten_event(true).boxed(),
        };
        let telemetry = Self {
            current: Arc::default(),
            filter: handle,
        };
        (telemetry, tracing_subscriber::registry().with(filter).with(lines))
    }

    /// Sets the level to `Normal` (also for an empty text), `Debug`, `Trace` or `TraceAll`. An unknown level sets
    /// `Normal` and returns an error.
    pub fn set_level(&self, level: &str) -> Result<Change, LevelError> {
        match level.parse() {
            Ok(level) => self.set(level),
            Err(error) => Err(LevelError::Unknown {
                error,
                change: self.set(LogLevel::Normal)?,
            }),
        }
    }

    fn set(&self, level: LogLevel) -> Result<Change, LevelError> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if *current == Some(level) {
            return Ok(Change::None);
        }
        if current.unwrap_or_default() != level {
            self.filter.reload(level.targets())?;
        }
        Ok(match current.replace(level) {
            None => Change::First(level),
            Some(from) => Change::Changed { from, to: level },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(data);
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    fn logging(format: Format) -> (Telemetry, Sink, tracing::subscriber::DefaultGuard) {
        let sink = Sink::default();
        let writer = sink.clone();
        let (telemetry, subscriber) = Telemetry::build(format, move || writer.clone());
        (telemetry, sink, tracing::subscriber::set_default(subscriber))
    }

    // lifecycle 125
    #[test]
    fn the_level_changes_at_run_time_and_the_first_setting_is_no_change() {
        let (telemetry, sink, _guard) = logging(Format::Text);
        let log = || {
            tracing::trace!("ours-trace");
            tracing::trace!(target: "some_crate", "theirs-trace");
            sink.text()
        };
        assert_eq!(log(), "");
        assert_eq!(telemetry.set_level("Normal").unwrap(), Change::First(LogLevel::Normal));
        assert_eq!(telemetry.set_level("").unwrap(), Change::None);
        let change = Change::Changed {
            from: LogLevel::Normal,
            to: LogLevel::Trace,
        };
        assert_eq!(telemetry.set_level("Trace").unwrap(), change);
        let text = log();
        assert!(text.contains("ours-trace") && !text.contains("theirs-trace"), "{text}");
        telemetry.set_level("TraceAll").unwrap();
        assert!(log().contains("theirs-trace"));
        telemetry.set_level("Debug").unwrap();
        assert_eq!(log(), "");
    }

    #[test]
    fn an_unknown_level_sets_normal_and_is_an_error() {
        let (telemetry, _sink, _guard) = logging(Format::Text);
        telemetry.set_level("TraceAll").unwrap();
        let error = telemetry.set_level("Loud").unwrap_err();
        assert!(error.to_string().contains("Loud"), "{error}");
        let LevelError::Unknown { change, .. } = error else {
            unreachable!()
        };
        assert_eq!(
            change,
            Change::Changed {
                from: LogLevel::TraceAll,
                to: LogLevel::Normal
            }
        );
    }

    // lifecycle 128: the client prints a response that it cannot decode as a warning
    #[test]
    fn no_level_lets_the_api_client_print_bodies() {
        let (telemetry, sink, _guard) = logging(Format::Text);
        for level in ["Normal", "Debug", "Trace", "TraceAll"] {
            telemetry.set_level(level).unwrap();
            tracing::warn!(target: "kube_client::client", "hunter2");
            tracing::trace!(target: "h2::codec", "hunter2");
            tracing::trace!(target: "hyper::proto::h1::conn", "hunter2");
            assert_eq!(sink.text(), "", "{level}");
        }
    }

    // lifecycle 128, in part: a refused watch is retried all the time
    #[test]
    fn only_the_last_level_prints_each_attempt_of_a_watch() {
        let (telemetry, sink, _guard) = logging(Format::Text);
        for (level, printed) in [
            ("Normal", false),
            ("Debug", false),
            ("Trace", false),
            ("TraceAll", true),
        ] {
            telemetry.set_level(level).unwrap();
            tracing::warn!(target: "kube_runtime::watcher", "watch initlist error with 403");
            tracing::trace!(target: "kube_runtime::watcher", "body");
            let text = sink.text();
            assert_eq!(text.contains("403"), printed, "{level}: {text}");
            assert!(!text.contains("body"), "{level}: {text}");
        }
    }

    #[test]
    fn json_lines_are_objects() {
        let (_telemetry, sink, _guard) = logging(Format::Json);
        tracing::info!(answer = 42, "hello");
        let line: serde_json::Value = serde_json::from_str(&sink.text()).unwrap();
        assert_eq!((&line["message"], &line["answer"]), (&"hello".into(), &42.into()));
    }
}
