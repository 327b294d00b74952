//! Builds the component from its sources: the bytes of `guest/eventout.wasm`.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use wasm_metadata::AddMetadataField::Set;
use wasm_metadata::{AddMetadata, Description, Licenses, Source, Version};
use wit_component::ComponentEncoder;

use crate::root;

/// The description of the component for registries.
const DESCRIPTION: &str = "Computes stats events of containers from facts that its host reports";

/// The committed component.
pub fn path() -> PathBuf {
    root().join("guest/eventout.wasm")
}

/// Builds the component. The result depends on the sources, the lock file and the compiler alone, not on
/// where they are.
///
/// # Panics
///
/// If it cannot be built.
pub fn build() -> Vec<u8> {
    let root = root().canonicalize().expect("the workspace exists");
    let target = root.join("target/component");
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cargo"),
        PathBuf::from,
    );
    let flags = [
        format!("--remap-path-prefix={}=", root.display()),
        format!("--remap-path-prefix={}=cargo", cargo_home.display()),
        // The default of 1 MiB would be most of an instance's memory. Nothing recurses.
        "-Clink-arg=-zstack-size=65536".to_owned(),
        // Strings are searched for characters to escape 16 bytes at a time.
        "-Ctarget-feature=+simd128".to_owned(),
    ];
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--package=guest", "--lib"])
        .args(["--target=wasm32-unknown-unknown", "--profile=component"])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(
        status.success(),
        "cannot build the guest (is its target installed? rustup target add wasm32-unknown-unknown)"
    );
    let module = target.join("wasm32-unknown-unknown/component/guest.wasm");
    let module = fs::read(&module).unwrap_or_else(|e| panic!("{}: {e}", module.display()));
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(ComponentEncoder::encode)
        .unwrap_or_else(|e| panic!("cannot make a component of the module: {e:?}"));
    describe(&component)
}

/// Adds the custom sections that registries and `wasm-tools metadata show` read.
fn describe(component: &[u8]) -> Vec<u8> {
    let mut metadata = AddMetadata::default();
    metadata.name = Set("eventout".to_owned());
    metadata.version = Set(Version::new(env!("CARGO_PKG_VERSION")));
    metadata.description = Set(Description::new(DESCRIPTION));
    metadata.licenses = Set(Licenses::new(env!("CARGO_PKG_LICENSE")).expect("an SPDX expression"));
    metadata.source = Set(Source::new(env!("CARGO_PKG_REPOSITORY")).expect("a URL"));
    metadata
        .to_wasm(component)
        .expect("the component can be described")
}
