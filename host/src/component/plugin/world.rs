//! The worlds of the contract, and which of them a component belongs to, by the names of its imports and exports.
//!
//! That is known before the component is compiled, which takes time and memory.

use wasmparser::{Chunk, Encoding, Parser, Payload};

const TYPES: &str = "eventout:stats/types";
const SANDBOX: &str = "eventout:stats/sandbox";
const EVENTS: &str = "eventout:stats/events";
const FORMAT: &str = "eventout:stats/format";
/// The versions of the contract that are compatible with this one begin like that.
const VERSION: &str = "0.1.";

/// A world of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// World `eventout`: the component computes events.
    Events,
    /// World `formatter`: the component formats events.
    Formatter,
}

impl World {
    /// Returns the world of a component.
    ///
    /// An error says why there is none. It can contain names that the component chose.
    pub(super) fn of(wasm: &[u8]) -> Result<Self, String> {
        let (mut imports, mut exports) = (Vec::new(), Vec::new());
        read_names(wasm, &mut imports, &mut exports)?;
        let exports = |interface| exports.iter().any(|name| is_interface(name, interface));
        let (world, allowed) = match (exports(FORMAT), exports(EVENTS)) {
            (true, _) => (Some(Self::Formatter), [TYPES].as_slice()),
            (false, true) => (Some(Self::Events), [TYPES, SANDBOX].as_slice()),
            (false, false) => (None, [TYPES, SANDBOX].as_slice()),
        };
        let is_allowed = |name: &str| allowed.iter().any(|known| is_interface(name, known));
        match imports.into_iter().find(|name| !is_allowed(name)) {
            Some(name) => Err(format!("it imports {name}, which is not in the contract")),
            None => world.ok_or_else(|| {
                format!("it exports neither {EVENTS}@{VERSION}0 nor {FORMAT}@{VERSION}0")
            }),
        }
    }
}

/// Tests if `name` names that interface, in a compatible version.
fn is_interface(name: &str, interface: &str) -> bool {
    name.split_once('@')
        .is_some_and(|(name, version)| name == interface && version.starts_with(VERSION))
}

/// Adds the names of a component's own imports and exports. What is nested in it is skipped, and nothing is
/// validated, which the compiler does.
fn read_names<'a>(
    wasm: &'a [u8],
    imports: &mut Vec<&'a str>,
    exports: &mut Vec<&'a str>,
) -> Result<(), String> {
    let mut parser = Parser::new(0);
    let mut rest = wasm;
    loop {
        let chunk = parser.parse(rest, true).map_err(|e| e.to_string())?;
        let Chunk::Parsed { consumed, payload } = chunk else {
            return Err("it ends too early".to_owned());
        };
        rest = &rest[consumed..];
        match payload {
            Payload::Version { encoding, .. } if encoding != Encoding::Component => {
                return Err("it is a core module and not a component".to_owned());
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    imports.push(import.map_err(|e| e.to_string())?.name.name);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    exports.push(export.map_err(|e| e.to_string())?.name.name);
                }
            }
            Payload::ModuleSection {
                unchecked_range: range,
                ..
            }
            | Payload::ComponentSection {
                unchecked_range: range,
                ..
            } => {
                let nested = rest.split_at_checked(range.end - range.start);
                rest = nested.ok_or("it ends too early")?.1;
            }
            Payload::End(_) => return Ok(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world(wat: &str) -> Result<World, String> {
        World::of(&wat::parse_str(wat).expect("a component"))
    }

    #[test]
    fn exports_decide_and_versions_may_be_newer() {
        let component = |exports: &[&str]| {
            let exports = exports.iter().map(|name| {
                format!(r#"(instance $x{0}) (export "{name}" (instance $x{0}))"#, "")
                    .replace("$x", &format!("$x{}", name.len()))
            });
            // What is nested does not count.
            let nested = r#"(component (import "a" (func))) (core module (import "a" "b" (func)))"#;
            format!("(component {nested} {})", exports.collect::<String>())
        };
        for (exports, expected) in [
            (
                ["eventout:stats/events@0.1.0"].as_slice(),
                Ok(World::Events),
            ),
            (&["eventout:stats/events@0.1.7"], Ok(World::Events)),
            (&["eventout:stats/format@0.1.0"], Ok(World::Formatter)),
            (
                &[
                    "eventout:stats/events@0.1.0",
                    "eventout:stats/format@0.1.10",
                ],
                Ok(World::Formatter),
            ),
            (&["eventout:stats/events@0.2.0"], Err(())),
            (&["eventout:stats/types@0.1.0"], Err(())),
            (&["other:stats/events@0.1.0"], Err(())),
            (&[], Err(())),
        ] {
            let world = world(&component(exports));
            assert_eq!(world.clone().map_err(drop), expected, "{exports:?}");
            if let Err(why) = world {
                assert!(why.starts_with("it exports neither eventout:stats/events@0.1.0"));
            }
        }
    }

    #[test]
    fn only_the_contract_can_be_imported() {
        let component = |import: &str, export: &str| {
            format!(
                r#"(component (import "{import}" (instance)) (instance $e)
                    (export "eventout:stats/{export}@0.1.0" (instance $e)))"#
            )
        };
        let allowed = [
            ("eventout:stats/types@0.1.0", "events"),
            ("eventout:stats/sandbox@0.1.0", "events"),
            ("eventout:stats/types@0.1.0", "format"),
        ];
        for (import, export) in allowed {
            assert!(world(&component(import, export)).is_ok(), "{import}");
        }
        for (import, export) in [
            ("eventout:stats/sandbox@0.1.0", "format"),
            ("wasi:cli/environment@0.2.0", "events"),
            ("env", "events"),
        ] {
            let why = world(&component(import, export)).expect_err(import);
            assert_eq!(
                why,
                format!("it imports {import}, which is not in the contract")
            );
        }
    }

    #[test]
    fn what_is_no_component_is_an_error() {
        let module = wat::parse_str("(module)").expect("a module");
        let why = World::of(&module).expect_err("a module");
        assert_eq!(why, "it is a core module and not a component");
        let wat = r#"(component (core module (func)) (instance $e)
            (export "eventout:stats/events@0.1.0" (instance $e)))"#;
        let whole = wat::parse_str(wat).expect("a component");
        for length in 0..whole.len() {
            // A section that is missing altogether is not noticed here.
            let _ = World::of(&whole[..length]);
        }
        assert!(World::of(&whole[..20]).is_err());
        assert!(World::of(b"(component)").is_err());
        assert!(World::of(b"").is_err());
        let inputs = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/inputs/component");
        for input in std::fs::read_dir(inputs).expect("there are some") {
            let input = std::fs::read(input.expect("it can be listed").path());
            let _ = World::of(&input.expect("it can be read"));
        }
    }
}
