//! `Stats` in JSON without the parts that have their default value: an option that is `none`, an empty list, 0,
//! or a record of such fields.
//!
//! The types are generated from the contract, so they cannot carry serde's attributes for that.

use std::sync::LazyLock;

use serde::de::{Deserializer, Error as _};
use serde::ser::{Error as _, Serializer};
use serde::{Deserialize as _, Serialize as _};
use serde_json::{Map, Value};

use crate::bindings::types::Stats;

/// All parts with their default values.
static DEFAULT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(Stats::default()).unwrap_or_default());

pub(super) fn serialize<S: Serializer>(
    stats: &Option<Box<Stats>>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let Some(stats) = stats else {
        return to.serialize_none();
    };
    let mut value = serde_json::to_value(stats).map_err(S::Error::custom)?;
    remove_equal(&mut value, &DEFAULT);
    value.serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Box<Stats>>, D::Error> {
    let given = Map::deserialize(from)?;
    let mut value = DEFAULT.clone();
    merge(&mut value, Value::Object(given));
    let mut unknown = None;
    let ignored = &mut |path: serde_ignored::Path<'_>| {
        unknown.get_or_insert_with(|| path.to_string());
    };
    let stats: Result<Box<Stats>, _> =
        serde_path_to_error::deserialize(serde_ignored::Deserializer::new(value, ignored));
    let stats =
        stats.map_err(|e| D::Error::custom(format_args!("stats.{}: {}", e.path(), e.inner())))?;
    match unknown {
        Some(path) => Err(D::Error::custom(format_args!("unknown field stats.{path}"))),
        // Without any value they say nothing, and thousands of them would take a lot of memory.
        None => Ok(Some(stats).filter(|stats| **stats != Stats::default())),
    }
}

/// Removes the members of objects that are equal in `default`.
fn remove_equal(value: &mut Value, default: &Value) {
    if let (Value::Object(members), Value::Object(defaults)) = (value, default) {
        members.retain(|key, member| defaults.get(key) != Some(member));
        for (key, member) in members {
            remove_equal(member, &defaults[key]);
        }
    }
}

/// Replaces the parts of `value` that are in `given`.
fn merge(value: &mut Value, given: Value) {
    match (value, given) {
        (Value::Object(members), Value::Object(given)) => {
            for (key, member) in given {
                merge(members.entry(key).or_insert(Value::Null), member);
            }
        }
        (value, given) => *value = given,
    }
}

#[cfg(test)]
mod tests {
    use crate::snapshot::Container;

    fn stats(json: &str) -> Result<Container, String> {
        let container = format!(r#"{{"id":"a","pids_count":1,"stats":{json}}}"#);
        serde_json::from_str(&container).map_err(|e| e.to_string())
    }

    #[test]
    fn parts_that_are_left_out_have_their_default_and_are_not_written() {
        let json = r#"{"memory":{"usage":{"limit":0},"raw":[["anon",18446744073709551615]]},"pids":{"limit":5}}"#;
        let container = stats(json).expect("it is valid");
        let stats = container.stats.as_deref().expect("there are some");
        assert_eq!(stats.memory.usage.limit, Some(0));
        assert_eq!(stats.memory.usage.usage, None);
        assert_eq!(stats.memory.raw, [("anon".to_owned(), u64::MAX)]);
        assert_eq!(stats.pids.limit, Some(5));
        let written = serde_json::to_string(&container).expect("it can be written");
        assert!(
            written.ends_with(&format!(r#""stats":{json}}}"#)),
            "{written}"
        );
    }

    #[test]
    fn errors_name_the_part() {
        for (json, error) in [
            (r#"{"cpus":{}}"#, "unknown field stats.cpus"),
            (
                r#"{"cpu":{"usage":{"totl":1}}}"#,
                "unknown field stats.cpu.usage.totl",
            ),
            (
                r#"{"blkio":{"entries":[{"major":8,"minor":0,"op":"Read","bytes":1}]}}"#,
                "unknown field stats.blkio.entries.0.bytes",
            ),
            (r#"{"pids":{"limit":-1}}"#, "stats.pids.limit: "),
            (
                r#"{"pids":{"limit":18446744073709551616}}"#,
                "stats.pids.limit: ",
            ),
            (r#"{"pids":{"limit":1.5}}"#, "stats.pids.limit: "),
            (r#"{"cpu":null}"#, "stats.cpu: "),
            (r#"[]"#, "invalid type: sequence"),
        ] {
            let message = stats(json).expect_err(json);
            assert!(message.starts_with(error), "{json}: {message}");
        }
    }
}
