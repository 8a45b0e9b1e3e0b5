//! Code that is the same for every backend: selection, existence, creation, ownership, settings, stages, removal,
//! emptying.
//!
//! The engine decides; a backend ([`ObjectBackend`](super::traits::ObjectBackend)) only talks to its cloud. The engine
//! never imports a backend.

pub mod cache;
pub mod context;
mod emptying;
mod existence;
pub(in crate::storage) mod intent;
pub(in crate::storage) mod location;
mod missing;
pub mod object_storage;
pub mod ownership;
pub mod platform;
mod provision;
pub mod reconcile;
pub mod removal;
pub mod select;
mod settings;
mod stages;
pub mod steps;
mod stopped;
mod work;
