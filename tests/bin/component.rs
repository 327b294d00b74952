//! `cargo build-component`: builds the component from its sources and writes `guest/eventout.wasm`.

use std::fs;

fn main() -> std::io::Result<()> {
    let component = tests::artifact::build();
    fs::write(tests::artifact::path(), &component)?;
    println!("guest/eventout.wasm: {} bytes", component.len());
    Ok(())
}
