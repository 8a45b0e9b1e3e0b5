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
//! {api, names} -> sensitive`. `cli` fills [`controllers::Settings`]; `controllers` never uses `cli`. `storage` may use status, config
//! and api, never plan. `runtime` uses `names` only; the cluster's rooms below `controllers` do not use it. `node_ca` is
//! the program of the nodes, which only `cli` starts. `tests/house` reads the imports and fails on a breach;
//! docs/architecture.md draws the picture.

pub mod api;
mod apply;
pub mod cli;
pub mod config;
pub mod controllers;
pub mod names;
pub mod node_ca;
mod observe;
pub mod plan;
pub mod program;
pub mod runtime;
mod sensitive;
pub mod status;
pub mod storage;
#[cfg(test)]
mod testing;
