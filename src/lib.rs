//! The image registry operator of OKD/OpenShift.
//!
//! One reconcile, six steps:
//!
//! ```text
//! gather  ->  resolve  ->  storage  ->  plan  ->  apply  ->  judge + write status
//! stores      pure         cloud I/O    pure      cluster    pure, then one write
//! ```
//!
//! Imports point one way: `main -> cli -> controllers -> {observe, apply, storage} -> {plan, status} -> config ->
//! {api, names}`; `runtime` is used by controllers and cli only and itself uses names only. `storage` may use
//! status, config and api, never plan. `tests/house.rs` enforces it. docs/architecture.md draws it.

pub mod api;
pub mod apply;
pub mod cli;
pub mod config;
pub mod controllers;
pub mod names;
pub mod observe;
pub mod plan;
pub mod runtime;
pub mod status;
pub mod storage;
