//! The configuration of engines. `build.rs` includes this file, since precompiled code is only accepted by an
//! engine of the configuration that made it.

use wasmtime::Config;

/// The origin of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It is part of this library, and trusted.
    Builtin,
    /// It is a third-party component from a file, and may be hostile.
    #[allow(dead_code, reason = "build.rs compiles the built-in component alone")]
    Plugin,
}

/// The largest memory that an instance of the built-in component can have, in bytes.
pub(crate) const BUILTIN_MEMORY: usize = 256 << 20;

/// Returns the configuration of the engine for a component, at build time and at run time.
pub(crate) fn config(origin: Origin) -> Config {
    let mut config = Config::new();
    // By default, a memory reserves 4 GiB of address space, which saves bounds checks, but which a process may not
    // have (`ulimit -v`).
    config.guard_before_linear_memory(false);
    config.memory_guard_size(64 << 10);
    match origin {
        Origin::Builtin => {
            // In a fixed place and with a fixed bound, the checks cost 2 to 4 % of a call.
            config.memory_reservation(BUILTIN_MEMORY as u64);
            config.memory_may_move(false);
            // Its 3 KB of data are copied into an instance faster than they are mapped.
            config.memory_init_cow(false);
        }
        Origin::Plugin => {
            // A memory takes its initial size and `memory_reservation_for_growth`. That is no part of the precompiled
            // code, which is therefore the same for all limits.
            config.memory_reservation(0);
            // Stops a component that doesn't end. The built-in one does, and the checks would cost it a third more
            // time, and a process that prints one line the start of a thread.
            config.epoch_interruption(true);
        }
    }
    // Backtraces of a component without symbols say nothing, and cost tables.
    config.wasm_backtrace_max_frames(None);
    config.generate_address_map(false);
    // Nobody unwinds through it: a panic in the host is caught before it gets there.
    config.native_unwind_info(false);
    config
}
