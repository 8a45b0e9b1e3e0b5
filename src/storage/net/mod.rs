//! HTTP to clouds: clients by CA certificates and proxy, retries, errors without secrets, cached tokens, the clock.

pub mod cause;
pub mod clock;
pub mod error;
pub mod http;
pub mod network;
pub mod retry;
pub mod token;
