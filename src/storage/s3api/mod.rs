//! The S3 API: calls to one bucket with the AWS SDK, for every backend that uses the S3 protocol.

pub mod address;
pub mod client;
pub mod codes;
mod contents;
pub mod error;
mod objects;
pub mod plane;
pub mod retry;
mod settings;
pub mod static_keys;
pub mod transport;
