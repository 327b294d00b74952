//! State files of runtimes, and what they say of a container besides where its usage is.

use std::fs::File;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::CWD;
use serde_json::Value;

use crate::details::Details;
use crate::error::{Error, error};
use crate::linux::file::{open_regular, read};
use crate::text::clean;

/// The largest file that details are taken from, in bytes: many times what runtimes write. As JSON in memory, it may
/// take thirty times as much.
const LARGEST: u64 = 1 << 20;

/// The longest annotation, name and value together, in bytes, and the number of those that are kept.
const LONGEST: usize = 4096;
const MOST: usize = 1000;

/// The annotations that name a container, its pod and the pod's namespace, and the image: those of containerd's CRI
/// plugin, the labels that CRI-O makes annotations of, and nerdctl's.
const NAME: &[&str] = &[
    "io.kubernetes.cri.container-name",
    "io.kubernetes.container.name",
    "nerdctl/name",
    "io.kubernetes.cri-o.Name",
];
const POD: &[&str] = &[
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.pod.name",
    "io.kubernetes.cri-o.KubeName",
];
const NAMESPACE: &[&str] = &[
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.pod.namespace",
    "io.kubernetes.cri-o.Namespace",
];
const IMAGE: &[&str] = &[
    "io.kubernetes.cri.image-name",
    "io.kubernetes.cri-o.ImageName",
];

/// Returns an error for a state file that cannot be parsed. serde's message may hold a value from it, of any
/// length.
pub(super) fn not_a_state(runtime: &str, e: &serde_json::Error) -> Error {
    let why = clean(&e.to_string());
    error!(Source, "it is not a state of {runtime}: {why}")
}

/// Reads a file that details are taken from. One that cannot be read or understood is as good as an empty one: it costs
/// the details.
pub(super) fn read_json(path: &Path) -> Value {
    let text = open_regular(CWD, path).and_then(|file| read(File::from(file), LARGEST));
    let value = text
        .ok()
        .and_then(|text| serde_json::from_slice(&text).ok());
    value.unwrap_or_default()
}

/// Returns the text at a place in a file (RFC 6901).
pub(super) fn text<'a>(json: &'a Value, pointer: &str) -> Option<&'a str> {
    json.pointer(pointer)?.as_str()
}

/// Returns the number at a place in a file. 0 is that a limit is not set, and so is less.
pub(super) fn limit(json: &Value, pointer: &str) -> Option<u64> {
    json.pointer(pointer)?.as_u64().filter(|limit| *limit > 0)
}

/// Returns the details in an OCI configuration.
pub(super) fn of_config(runtime: &str, config: &Value) -> Details {
    let annotations = config.get("annotations").and_then(Value::as_object);
    let annotations = annotations.into_iter().flatten();
    let annotations =
        annotations.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    Details {
        cpu_quota: limit(config, "/linux/resources/cpu/quota"),
        cpu_period: limit(config, "/linux/resources/cpu/period"),
        cpu_shares: limit(config, "/linux/resources/cpu/shares"),
        ..annotated(runtime, annotations)
    }
}

/// Returns the details in annotations.
pub(super) fn annotated<'a>(
    runtime: &str,
    annotations: impl Iterator<Item = (&'a str, &'a str)>,
) -> Details {
    let annotations = annotations
        .filter(|(name, value)| name.len() + value.len() <= LONGEST)
        .take(MOST)
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut details = Details {
        runtime: Some(runtime.to_owned()),
        annotations,
        ..Details::default()
    };
    let first = |names: &[&str]| {
        let mut values = names
            .iter()
            .filter_map(|name| details.annotations.get(*name));
        values.find(|value| !value.is_empty()).cloned()
    };
    (details.name, details.pod) = (first(NAME), first(POD));
    (details.namespace, details.image) = (first(NAMESPACE), first(IMAGE));
    details
}

/// Parses a time as runtimes write it (RFC 3339), and returns nanoseconds since 1970.
pub(super) fn timestamp(text: &str) -> Option<u64> {
    let time: Timestamp = text.parse().ok()?;
    time.as_nanosecond().try_into().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use tempfile::tempdir;

    use super::*;
    use crate::linux::file::tests::write;

    /// As `date --date=TEXT +%s` has them.
    #[test]
    fn times_are_nanoseconds_since_1970() {
        for (text, time) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            (
                "2026-11-23T11:25:23.495761464Z",
                Some(1_795_433_123_495_761_464),
            ),
            (
                "2026-11-23T11:25:22.228168Z",
                Some(1_795_433_122_228_168_000),
            ),
            (
                "2024-02-29T23:59:59.5+01:30",
                Some(1_709_245_799_500_000_000),
            ),
            ("2000-03-01T00:00:00-08:00", Some(951_897_600_000_000_000)),
            ("2100-02-28T12:00:00Z", Some(4_107_499_200_000_000_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-11-23T11:25:23", None),
            ("2026-11-23T11:25:23.Z", None),
            ("2026-11-23T11:25:23.1234567890Z", None),
            ("2026-11-23T11:25:2\u{e9}Z", None),
            ("+026-11-23T11:25:23Z", None),
            ("", None),
        ] {
            assert_eq!(timestamp(text), time, "{text:?}");
        }
    }

    #[test]
    fn containers_are_named_by_whoever_manages_them() {
        let named = |annotations: Value| {
            let details = of_config("runc", &json!({"annotations": annotations}));
            let Details {
                name,
                pod,
                namespace,
                image,
                ..
            } = details;
            [name, pod, namespace, image].map(Option::unwrap_or_default)
        };
        let containerd = json!({
            "io.kubernetes.cri.container-type": "container",
            "io.kubernetes.cri.container-name": "web",
            "io.kubernetes.cri.sandbox-name": "shop-1",
            "io.kubernetes.cri.sandbox-namespace": "sales",
            "io.kubernetes.cri.image-name": "docker.io/library/nginx:1",
        });
        let all = ["web", "shop-1", "sales", "docker.io/library/nginx:1"];
        assert_eq!(named(containerd), all);
        let crio = json!({
            "io.kubernetes.cri-o.Name": "k8s_web_shop-1_sales_0b1c_0",
            "io.kubernetes.cri-o.ImageName": "docker.io/library/nginx:1",
            "io.kubernetes.container.name": "web",
            "io.kubernetes.pod.name": "shop-1",
            "io.kubernetes.pod.namespace": "sales",
        });
        assert_eq!(named(crio), all);
        let nerdctl = json!({"nerdctl/name": "web", "nerdctl/namespace": "default"});
        assert_eq!(named(nerdctl), ["web", "", "", ""]);
        // As Podman 4.3.1 writes them.
        let podman = json!({"io.container.manager": "libpod", "io.kubernetes.cri-o.TTY": "false"});
        assert_eq!(named(podman), [""; 4]);
    }

    #[test]
    fn a_value_that_is_wrong_or_too_long_costs_itself() {
        let config = json!({
            "annotations": {
                "io.kubernetes.cri.container-name": ["web"],
                "nerdctl/name": "",
                "io.kubernetes.cri.sandbox-name": "shop",
                "long": "x".repeat(LONGEST),
                "number": 1,
            },
            "linux": {"resources": {"cpu": {"quota": -1, "period": "100000", "shares": 512}}},
        });
        let details = of_config("runc", &config);
        assert_eq!((details.name, details.pod), (None, Some("shop".to_owned())));
        let annotations: Vec<_> = details.annotations.into_keys().collect();
        assert_eq!(
            annotations,
            ["io.kubernetes.cri.sandbox-name", "nerdctl/name"]
        );
        assert_eq!((details.cpu_quota, details.cpu_period), (None, None));
        assert_eq!(details.cpu_shares, Some(512));

        let many: serde_json::Map<_, _> =
            (0..2 * MOST).map(|n| (n.to_string(), "x".into())).collect();
        let details = of_config("runc", &json!({"annotations": many}));
        assert_eq!(details.annotations.len(), MOST);
        for config in [
            json!(null),
            json!([]),
            json!({"annotations": [1], "linux": "x"}),
        ] {
            let details = of_config("runc", &config);
            assert_eq!(details, annotated("runc", std::iter::empty()), "{config}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_is_as_good_as_none() {
        let test = tempdir().expect("a directory");
        let large = |len: u64| {
            let text = format!("[\"{}\"]", "x".repeat(len as usize - 4));
            write(&test, "state.json", text);
            read_json(&test.path().join("state.json"))
        };
        assert!(large(LARGEST).is_array());
        assert!(large(LARGEST + 1).is_null());
        assert!(read_json(test.path()).is_null());
        assert!(read_json(&test.path().join("none")).is_null());
    }
}
