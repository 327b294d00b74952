//! Writes the contract for those who have no checkout: `wit-package DIRECTORY` makes NAMESPACE-NAME-VERSION there,
//! as `.wasm`, the binary form of a WIT package, which registries hold, and as `.wit`, all of `wit/` in one text.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use wit_component::{WitPrinter, encode};
use wit_parser::Resolve;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os()
        .nth(1)
        .ok_or("usage: wit-package DIRECTORY")?;
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(tests::root().join("wit"))?;
    let name = &resolve.packages[package].name;
    let version = name.version.as_ref().ok_or("the contract has no version")?;
    let file = format!("{}-{}-{version}", name.namespace, name.name);
    let write = |kind: &str, bytes: &[u8]| {
        let path = PathBuf::from(&directory).join(format!("{file}.{kind}"));
        fs::write(&path, bytes).map_err(|e| format!("cannot write {}: {e}", path.display()))
    };
    write("wasm", &encode(&resolve, package, false)?)?;
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[])?;
    write("wit", String::from(printer.output).as_bytes())?;
    Ok(())
}
