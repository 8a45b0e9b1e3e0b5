//! PURE: what one pass looks at ([`snapshot`]), and what it means ([`resolve`]).
//!
//! All validation and defaulting happens here, once; a [`resolve::Resolved`] cannot hold a wrong value. This room knows no
//! client, no clock (time is a parameter), no environment and no randomness. It may use `api` and `names`.

pub mod complete;
pub mod defaults;
pub mod environment;
pub mod facts;
pub mod gates;
pub mod notice;
pub mod rejection;
pub mod resolve;
pub mod snapshot;
pub mod tls;
pub mod yaml;
