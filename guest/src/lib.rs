//! The component that computes stats events. Its contract stands in `../wit`.
//!
//! `component` alone knows that it is one: it asks the host and answers the caller. What comes between is
//! pure, so that it is tested, and raced against, natively.

#![no_std]

extern crate alloc;
// Natively, in tests and benches, `std` supplies the allocator and the panic handler.
#[cfg(not(target_family = "wasm"))]
extern crate std;

pub mod arena;
#[cfg(target_family = "wasm")]
mod component;
pub mod event;
pub mod json;
mod scan;
pub mod types;
