//! Where images are kept: the only room that talks to a cloud. One module per backend.
//!
//! A driver answers; it never writes the Config. Each step ([`Next`]) is idempotent from what is stored (spec, status,
//! annotation) and what the cloud says; the controller records what a step returns and enters again. What is decided for
//! every backend alike (which one is selected, proof of ownership before anything is deleted, the gate of removal) is in
//! this file and nowhere else. This room may use `config`, `api` and `names`, never `plan`.

pub mod fault;
