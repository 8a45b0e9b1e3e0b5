//! HTTP to clouds: clients by CA certificates and proxy, retries, errors without secrets, cached tokens, the clock.

pub mod cause;
pub mod clock;
pub mod error;
pub mod http;
pub mod issued;
pub mod jwt;
pub mod lifetime;
pub mod network;
pub mod no_proxy;
pub mod percent;
pub mod recent;
pub mod retry;
pub mod token;
pub mod transport;
pub mod verifier;
