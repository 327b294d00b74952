//! Third-party components, most of them hostile, made of the texts in `fixtures`.

use std::fs;
use std::path::PathBuf;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use crate::{contract, fixture, root};

/// The functions of the world `eventout`, and their parameters in core wasm.
const EXPORTS: [(&str, &str); 5] = [
    ("event", "i32 i32"),
    ("event-json", "i32 i32"),
    ("stats", "i32 i32"),
    ("stats-json", "i32 i32 i32"),
    ("oom-json", "i32 i32"),
];

/// Returns the file of a component of the world `eventout`, which is made of `fixtures/components/NAME.wat`.
///
/// # Panics
///
/// If it cannot be made.
pub fn component(name: &str) -> PathBuf {
    let mut items = text(&format!("components/{name}.wat"));
    for (function, parameters) in EXPORTS {
        if !items.contains(&format!("(func ${function} ")) {
            items += &format!("(func ${function} (param {parameters}) (result i32) unreachable)\n");
        }
    }
    if !items.contains("(memory $memory ") {
        items += "(memory $memory 1)\n";
    }
    let module = module("component.wat", &items);
    write("components", name, &encode(module, "eventout"))
}

/// Returns the file of a component of the world `formatter`, which is made of `fixtures/formatters/NAME.wat`.
///
/// # Panics
///
/// If it cannot be made.
pub fn formatter(name: &str) -> PathBuf {
    let items = text(&format!("formatters/{name}.wat"));
    let module = module("formatter.wat", &items);
    write("formatters", name, &encode(module, "formatter"))
}

/// Returns the file of a component of another world, which is `fixtures/strangers/NAME.wat`.
///
/// # Panics
///
/// If it cannot be made.
pub fn stranger(name: &str) -> PathBuf {
    let text = text(&format!("strangers/{name}.wat"));
    let binary = wat::parse_str(text).unwrap_or_else(|e| panic!("{name}: {e}"));
    write("strangers", name, &binary)
}

fn text(name: &str) -> String {
    fs::read_to_string(fixture(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Returns the module in that file with more items at its beginning, where imports have to be.
fn module(file: &str, items: &str) -> Vec<u8> {
    let module = text(file).replacen("(module\n", &format!("(module\n{items}\n"), 1);
    wat::parse_str(&module).unwrap_or_else(|e| panic!("{e}\n{module}"))
}

/// Makes a component of a module that imports and exports what that world does.
fn encode(mut module: Vec<u8>, world: &str) -> Vec<u8> {
    let (resolve, package) = contract();
    let world = resolve.select_world(&[package], Some(world));
    let world = world.expect("the contract has such a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)
        .expect("it can be embedded");
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(ComponentEncoder::encode)
        .unwrap_or_else(|e| panic!("it does not become a component: {e:?}"))
}

/// Writes a component, as a whole: other tests may be using that file.
fn write(kind: &str, name: &str, component: &[u8]) -> PathBuf {
    let directory = root().join("target/tmp").join(kind);
    fs::create_dir_all(&directory).expect("a directory");
    let mut file = tempfile::NamedTempFile::new_in(&directory).expect("a file");
    std::io::Write::write_all(&mut file, component).expect("it can be written");
    let path = directory.join(name).with_extension("wasm");
    file.persist(&path).expect("it can be renamed");
    path
}
