//! Precompiles the component, so that the program doesn't have to when it starts.
//!
//! Also links libgcc_eh, which unwinds the stack, statically: loading it took a tenth of a start.

#[path = "src/component/engine.rs"]
mod engine;

use std::path::PathBuf;
use std::{env, fs};

use wasmtime::error::Context as _;
use wasmtime::{Engine, Result};

const COMPONENT: &str = "eventout.wasm";

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed={COMPONENT}");
    println!("cargo::rerun-if-changed=src/component/engine.rs");
    let target = env::var("TARGET")?;
    let mut config = engine::config(engine::Origin::Builtin);
    // A named target means its baseline: nothing that only the machine at hand can do.
    config.target(&target)?;
    // SAFETY: the flag only takes away what keeps hostile code from reading memory by speculation.
    unsafe { config.cranelift_flag_set("enable_heap_access_spectre_mitigation", "false") };
    let code = fs::read(COMPONENT)
        .map_err(wasmtime::Error::from)
        .and_then(|wasm| Engine::new(&config)?.precompile_component(&wasm))
        .with_context(|| format!("cannot compile {COMPONENT} for {target}"))?;
    let out = PathBuf::from(env::var("OUT_DIR")?).join("eventout.cwasm");
    fs::write(&out, code).with_context(|| format!("cannot write {}", out.display()))?;
    if target.ends_with("-linux-gnu") {
        let linked = "-Wl,--push-state,--whole-archive,-lgcc_eh,--pop-state";
        println!("cargo::rustc-link-arg-bins={linked}");
    }
    Ok(())
}
