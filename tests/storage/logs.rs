//! What the operator's code logs while a test runs, at its most talkative level. A test runs in one thread, and sees its own lines.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::sync::Once;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

thread_local! {
    static LINES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static TAKEN: Cell<usize> = const { Cell::new(0) };
}
static START: Once = Once::new();

struct Lines;

impl Write for Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        LINES.with_borrow_mut(|lines| lines.write(text))
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

/// What this test's thread logged since the last call.
pub fn take() -> String {
    let lines = LINES.take();
    let text = String::from_utf8_lossy(&lines).into_owned();
    TAKEN.set(TAKEN.get() + text.lines().count());
    text
}

/// How many lines of this test were taken so far.
pub fn taken() -> usize {
    TAKEN.get()
}
