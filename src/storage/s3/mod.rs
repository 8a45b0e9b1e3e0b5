//! Amazon S3, and stores that speak its protocol.

pub mod ca;
pub mod client;
pub mod credentials;
pub mod effective;
pub mod endpoint;
pub mod environment;
pub mod error;
pub mod identity;
pub mod name;
mod retry;
mod shared_config;
mod sts;
pub mod tags;
mod transport;
