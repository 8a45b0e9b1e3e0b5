//! PURE: the input of one reconcile pass ([`snapshot`]) and its validated form ([`resolve`]).
//!
//! All validation and defaulting happens here, once: a [`resolve::Resolved`] cannot hold an invalid value. This room uses no
//! client, no clock (time is a parameter), no environment variables and no randomness. It may import `api` and `names`.

pub mod admission;
pub mod certificate;
pub mod complete;
pub mod content;
pub mod defaults;
pub mod elapsed;
pub mod environment;
pub mod error_class;
pub mod event_request;
pub mod facts;
pub mod gates;
pub mod host;
pub mod last_logged;
pub mod notice;
pub mod rejection;
pub mod resolve;
pub mod snapshot;
pub mod tls;
pub mod trim;
pub mod yaml;
