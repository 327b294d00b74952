//! The entry point of the fuzzer.

use super::world::World;

/// Finds out to which world a component belongs.
pub fn component(input: &[u8]) {
    let _ = World::of(input);
}
