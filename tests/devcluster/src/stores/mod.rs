//! Real storage servers for tests: programs of their own on loopback, each with its own ports, directory and clean
//! environment, gone when the value is dropped.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use devcluster::stores::{Moto, MotoOptions};
//! let moto = Moto::start(MotoOptions { authorisation: true, ..Default::default() }).await?;
//! let statements = serde_json::json!([{ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }]);
//! let keys = moto.user("registry", &statements).await?;
//! // ... point something at moto.url() with those keys ...
//! # Ok(())
//! # }
//! ```
//!
//! Names: addresses and `localhost` mean path style for both servers. With the bucket in the host, clients ask for
//! `BUCKET.s3.localhost` or `BUCKET.s3.test.example`, which no resolver of this machine knows: they go through a
//! forward proxy that does, or have the name resolved for them.

mod asked;
mod form;
mod gate;
mod home;
mod moto;
mod port;
mod seaweed;
mod serve;
mod tls;
mod wire;

pub use asked::Asked;
pub use gate::{Fault, Gate, Hook, Latch, Reply, When};
pub use moto::{ACCOUNT, Moto, MotoOptions, OTHER_ACCOUNT};
pub use seaweed::{Seaweed, SeaweedOptions};
pub use tls::{Authority, NAMES};
pub use wire::{Answer, Call, Keys, Target};
