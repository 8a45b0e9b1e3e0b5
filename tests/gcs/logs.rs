//! What the operator's code logs while these tests run, at its most talkative level.

use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SECRETS: Mutex<Vec<String>> = Mutex::new(Vec::new());
static START: Once = Once::new();
/// Lines that were searched.
static SEARCHED: AtomicUsize = AtomicUsize::new(0);

struct Lines;

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

/// Begins to collect, once for the whole program.
pub fn collect() {
    START.call_once(|| {
        let own = Targets::new().with_target("image_registry_operator", LevelFilter::TRACE);
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(Lines);
        tracing_subscriber::registry().with(layer.with_filter(own)).init();
    });
}

/// No log of any test may show this.
pub fn never_show(secret: &str) {
    let mut secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner);
    secrets.push(secret.to_owned());
}

/// How many lines were searched so far.
pub fn searched() -> usize {
    SEARCHED.load(Ordering::Relaxed)
}

/// What was logged since the last call, by whichever test; without any secret.
pub fn check() {
    let lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    let text = String::from_utf8_lossy(&lines);
    SEARCHED.fetch_add(text.lines().count(), Ordering::Relaxed);
    let secrets = SECRETS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let marks = ["ya29.", "eyJhbGci", "PRIVATE KEY"].map(str::to_owned);
    for secret in secrets.iter().chain(&marks) {
        let line = text.lines().find(|line| line.contains(secret.as_str()));
        assert!(line.is_none(), "a secret in the log: {line:?}");
    }
}
