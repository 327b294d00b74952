//! The contract in `wit/`, and the component.

use std::fs;
use std::path::Path;

use tests::{artifact, can_run, check_golden, contract, root};
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{CloneMaps, Docs, PackageId, Resolve, TypeDefKind, WorldItem};

#[test]
fn the_committed_component_is_built_from_the_sources() {
    check_golden(
        &artifact::path(),
        &artifact::build(),
        "the sources, the lock file or the compiler changed: `cargo build-component` writes it anew",
    );
}

#[test]
fn the_component_is_small() {
    let file = fs::metadata(artifact::path()).expect("the component is committed");
    assert!(file.len() <= 100 * 1024, "{} bytes", file.len());
}

#[test]
fn the_component_describes_itself_in_the_standard_sections() {
    let bytes = fs::read(artifact::path()).expect("the component is committed");
    let payload = wasm_metadata::Payload::from_binary(&bytes).expect("it is a component");
    let metadata = payload.metadata();
    assert_eq!(metadata.name.as_deref(), Some("eventout"));
    let text = |field: Option<String>| field.expect("the section exists");
    let version = text(metadata.version.as_ref().map(ToString::to_string));
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let licenses = text(metadata.licenses.as_ref().map(ToString::to_string));
    assert_eq!(licenses, "Apache-2.0");
    let description = text(metadata.description.as_ref().map(ToString::to_string));
    assert!(description.contains("stats events"), "{description}");
    let source = text(metadata.source.as_ref().map(ToString::to_string));
    assert!(source.starts_with("https://"), "{source}");
}

/// Returns the names of the functions of an interface.
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
    let bytes = fs::read(artifact::path()).expect("the component is there");
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
            "eventout:stats/sandbox@0.1.0: pids-count memory-usage container-count root-container cpu-usage cgroup-cpu-usage container-stats",
        ]
    );
    assert_eq!(
        names(&world.exports),
        ["eventout:stats/events@0.1.0: event event-json stats stats-json oom-json"]
    );
}

#[test]
fn the_contract_renders_and_every_item_is_documented() {
    let (resolve, package) = contract();
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[]).expect("it renders");
    let text = printer.output.to_string();
    assert!(text.starts_with("package eventout:stats@0.1.0;"), "{text}");
    assert!(
        text.contains("  /// A duration in nanoseconds.\n  type nanoseconds = u64;"),
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

#[test]
fn the_pages_of_the_contract_are_what_the_generator_makes_of_it() {
    for name in ["eventout", "formatter"] {
        let (mut resolve, package) = contract();
        let world = resolve.packages[package].worlds[name];
        let mut files = wit_bindgen_core::Files::default();
        wit_bindgen_markdown::Opts::default()
            .build()
            .generate(&mut resolve, world, &mut files)
            .expect("it can be rendered");
        let page = files.iter().find(|(file, _)| file.ends_with(".md"));
        let (_, page) = page.expect("the generator makes Markdown");
        let golden = root().join(format!("docs/contract/{name}.md"));
        check_golden(&golden, page, "wit/ changed: BLESS=1 renders it anew");
    }
}

/// Reads the contract, and one of a version before it.
fn with_older(older: &str) -> (Resolve, PackageId, PackageId) {
    let (mut resolve, new) = contract();
    // Two packages of one name need two versions. The check looks at neither.
    let older = older.replacen(";", "-older;", 1);
    let older = resolve.push_str("older.wit", &older).expect("it is valid");
    (resolve, older, new)
}

/// Returns the first world that components for `older` do not fit any more, and why.
fn broken(older: &str) -> Option<String> {
    let (resolve, older, new) = with_older(older);
    let worlds = resolve.packages[older].worlds.iter();
    let why = worlds.map(|(name, world)| {
        let new = resolve.packages[new].worlds.get(name)?;
        let check = wit_component::semver_check(resolve.clone(), *world, *new);
        check.err().map(|e| format!("{name}: {e:#}"))
    });
    let gone = |name: &&String| !resolve.packages[new].worlds.contains_key(*name);
    let gone = resolve.packages[older].worlds.keys().find(gone);
    gone.map(|name| format!("{name} is gone"))
        .or_else(|| why.flatten().next())
}

/// `contract-0.1.0.wit` is the contract of that version. A change that breaks components that were made for it takes
/// another version, and a file of that version here.
#[test]
fn the_contract_breaks_no_component_without_another_version() {
    let (resolve, package) = contract();
    let version = resolve.packages[package].name.version.as_ref();
    let version = version.expect("it has one");
    // Before 1.0.0, the second number changes with what breaks components.
    let file = match version.major {
        0 => format!("tests/contract-0.{}.0.wit", version.minor),
        major => format!("tests/contract-{major}.0.0.wit"),
    };
    let older = fs::read_to_string(root().join(&file));
    let older = older.unwrap_or_else(|e| panic!("{file} should be the contract of now: {e}"));
    assert_eq!(broken(&older), None);
    // The check finds what breaks them.
    for (was, is) in [
        (
            "pids-count: func(container: string)",
            "pids-count: func(container: u32)",
        ),
        ("    pids: u64,", "    pids: u32,"),
        ("    runc,\n", "    runc,\n    crun,\n"),
        ("oom-json: func", "oom-line: func"),
        ("world formatter", "world formatters"),
        (
            "format: func(event: stats-event)",
            "format: func(event: string)",
        ),
    ] {
        let other = older.replace(was, is);
        assert_ne!(other, older, "{was}");
        assert!(broken(&other).is_some(), "{is}");
    }
}

/// Checks that a component fits a world, in which it may import WASI if `wasi` is set.
fn fits(file: &Path, world: &str, wasi: bool) {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let name = file.display();
    let DecodedWasm::Component(mut decoded, own) =
        wit_component::decode(&bytes).expect("it is a component")
    else {
        panic!("{name} is a WIT package");
    };
    for (key, item) in &decoded.worlds[own].imports {
        let import = decoded.name_world_key(key);
        // A host has nothing to provide for types.
        let types = functions(&decoded, item).is_empty();
        let is_ours = import.starts_with("eventout:stats/");
        assert!(types || is_ours || wasi, "{name} imports {import}");
        assert!(
            types || is_ours || import.starts_with("wasi:"),
            "{name} imports {import}"
        );
    }
    // What it imports is added to the world, as far as it is allowed.
    decoded.worlds[own].exports.clear();
    let (mut resolve, package) = contract();
    let others = "package test:provider; world provider { export eventout:stats/sandbox@0.1.0; }
        world composed { export eventout:stats/events@0.1.0; }";
    let others = resolve.push_str("others.wit", others).expect("it is valid");
    let world = resolve
        .select_world(&[package], Some(world))
        .or_else(|_| resolve.select_world(&[others], Some(world)))
        .expect("there is such a world");
    if wasi {
        let remap = resolve.merge(decoded).expect("they go together");
        let own = remap
            .map_world(own, Default::default())
            .expect("it can be read");
        resolve
            .merge_worlds(own, world, &mut CloneMaps::default())
            .expect("they go together");
    }
    wit_component::targets(&resolve, world, &bytes, false)
        .unwrap_or_else(|e| panic!("{name}: {e:#}"));
}

#[test]
fn each_component_fits_its_world() {
    fits(&artifact::path(), "eventout", false);
    let target = root().join("target/examples");
    let mut absent = String::new();
    for (file, world, wasi) in [
        ("formatters/influx.wasm", "formatter", false),
        ("formatters/sentence.wasm", "formatter", false),
        (
            "wasmtime/build/wasm32-wasip2/release/cgroup.wasm",
            "provider",
            true,
        ),
        (
            "wasmtime/build/wasm32-wasip2/release/examples/mock.wasm",
            "provider",
            true,
        ),
        ("wasmtime/stats.wasm", "composed", true),
        ("wasmtime/mock.wasm", "composed", true),
    ] {
        match target.join(file) {
            file if file.exists() => fits(&file, world, wasi),
            _ => absent = format!("target/examples/{file} is not built (see tests/run)"),
        }
    }
    can_run(&absent);
}
