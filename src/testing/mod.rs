//! Test doubles that unit tests of several rooms share. No production code may use them.

pub(crate) mod clock;
pub(crate) mod fake_api;
pub(crate) mod settings;
pub(crate) mod takeover;
