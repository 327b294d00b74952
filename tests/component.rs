//! The contract and the component: what is in `wit/`, and what is in the `.wasm`.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use tests::{check_golden, root};
use wit_component::{ComponentEncoder, DecodedWasm, WitPrinter};
use wit_parser::{Docs, Resolve, TypeDefKind, WorldItem};

fn wasm() -> PathBuf {
    root().join("guest/eventout.wasm")
}

/// Builds the component from its sources, in a way that doesn't depend on where they are.
fn build() -> Vec<u8> {
    let root = root().canonicalize().expect("the workspace is there");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("component");
    let cargo_home = env::var_os("CARGO_HOME").map_or_else(
        || PathBuf::from(env::var_os("HOME").expect("HOME is set")).join(".cargo"),
        PathBuf::from,
    );
    let flags = [
        format!("--remap-path-prefix={}=", root.display()),
        format!("--remap-path-prefix={}=cargo", cargo_home.display()),
        // The default is a MiB, for recursion that is not there.
        "-Clink-arg=-zstack-size=65536".to_owned(),
        // To look for what needs an escape, sixteen bytes at a time.
        "-Ctarget-feature=+simd128".to_owned(),
    ];
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--locked",
            "--package",
            "guest",
            "--lib",
        ])
        .args([
            "--target",
            "wasm32-unknown-unknown",
            "--profile",
            "component",
        ])
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&root)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(
        status.success(),
        "can't build the guest (is the target there? rustup target add wasm32-unknown-unknown)"
    );
    let module = target.join("wasm32-unknown-unknown/component/guest.wasm");
    let module = fs::read(&module).unwrap_or_else(|e| panic!("{}: {e}", module.display()));
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(ComponentEncoder::encode)
        .expect("the module becomes a component")
}

#[test]
fn the_committed_component_is_what_the_sources_make() {
    check_golden(
        &wasm(),
        &build(),
        "the sources, the lock file or the compiler changed: BLESS=1 rewrites it",
    );
}

#[test]
fn the_component_is_small() {
    let size = fs::metadata(wasm()).expect("the component is there").len();
    assert!(size <= 76 * 1024, "{size} bytes");
}

/// The functions of an interface, as they stand in WIT.
fn functions(resolve: &Resolve, item: &WorldItem) -> Vec<String> {
    match item {
        WorldItem::Interface { id, .. } => {
            resolve.interfaces[*id].functions.keys().cloned().collect()
        }
        other => panic!("neither functions nor types stand in the world itself: {other:?}"),
    }
}

#[test]
fn the_component_imports_our_interface_and_nothing_else() {
    let bytes = fs::read(wasm()).expect("the component is there");
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(&bytes).expect("it is a component")
    else {
        panic!("it is a WIT package");
    };
    let world = &resolve.worlds[world];
    let names = |items: &wit_parser::IndexMap<wit_parser::WorldKey, WorldItem>| {
        items
            .iter()
            .map(|(key, item)| (resolve.name_world_key(key), functions(&resolve, item)))
            .collect::<Vec<_>>()
    };
    let names = |items| {
        names(items)
            .into_iter()
            .map(|(name, functions)| format!("{name}: {}", functions.join(" ")))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(&world.imports),
        [
            "eventout:stats/types@0.1.0: ",
            "eventout:stats/sandbox@0.1.0: pids-count update-memory-usage memory-usage \
             container-count root-container cpu-usage cgroup-cpu-usage container-stats",
        ]
    );
    assert_eq!(
        names(&world.exports),
        ["eventout:stats/events@0.1.0: event event-json stats stats-json sweep-json oom-json"]
    );
}

#[test]
fn the_contract_renders_and_every_item_is_documented() {
    let mut resolve = Resolve::default();
    let (package, _) = resolve
        .push_dir(root().join("wit"))
        .expect("the WIT is valid");
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[]).expect("it renders");
    let text = printer.output.to_string();
    assert!(text.starts_with("package eventout:stats@0.1.0;"), "{text}");
    assert!(
        text.contains("  /// A duration, in nanoseconds.\n  type nanoseconds = u64;"),
        "{text}"
    );

    let mut missing = Vec::new();
    let mut check = |name: String, docs: &Docs| {
        if docs
            .contents
            .as_ref()
            .is_none_or(|docs| docs.trim().is_empty())
        {
            missing.push(name);
        }
    };
    for (_, world) in &resolve.worlds {
        check(world.name.clone(), &world.docs);
    }
    for (_, interface) in &resolve.interfaces {
        let name = interface.name.as_deref().expect("interfaces have names");
        check(name.to_owned(), &interface.docs);
        for (function, item) in &interface.functions {
            check(format!("{name}.{function}"), &item.docs);
        }
        for (type_, id) in &interface.types {
            let item = &resolve.types[*id];
            match &item.kind {
                // A `use`: its documentation stands where it was declared.
                TypeDefKind::Type(wit_parser::Type::Id(_)) => continue,
                TypeDefKind::Record(record) => {
                    for field in &record.fields {
                        // A field that only holds a record is documented by that record.
                        if !matches!(field.ty, wit_parser::Type::Id(id)
                            if matches!(resolve.types[id].kind, TypeDefKind::Record(_)))
                        {
                            check(format!("{name}.{type_}.{}", field.name), &field.docs);
                        }
                    }
                }
                TypeDefKind::Variant(variant) => {
                    for case in &variant.cases {
                        check(format!("{name}.{type_}.{}", case.name), &case.docs);
                    }
                }
                TypeDefKind::Enum(cases) => {
                    for case in &cases.cases {
                        check(format!("{name}.{type_}.{}", case.name), &case.docs);
                    }
                }
                _ => {}
            }
            check(format!("{name}.{type_}"), &item.docs);
        }
    }
    assert!(missing.is_empty(), "not documented: {missing:?}");
}
