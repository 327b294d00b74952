#![no_main]

#[path = "../../host/src/component/plugin/world.rs"]
mod world;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(world::World::of(input)));
