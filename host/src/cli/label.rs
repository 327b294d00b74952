//! Labels of metrics on the command line.

use std::str::FromStr;

/// A label of containers that have an annotation: `NAME=ANNOTATION`.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(super) name: String,
    pub(super) annotation: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, annotation) = text.split_once('=').ok_or("expected NAME=ANNOTATION")?;
        let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || name.starts_with(|c: char| c.is_ascii_digit())
            || name.starts_with("__")
            || !name.chars().all(is_valid)
        {
            return Err(format!("{name:?} cannot be the name of a label"));
        }
        if LABELS.contains(&name) {
            return Err(format!("containers have a label {name:?} already"));
        }
        Ok(Self {
            name: name.to_owned(),
            annotation: annotation.to_owned(),
        })
    }
}

/// The names of labels that are taken.
const LABELS: &[&str] = &[
    "cgroup",
    "container",
    "cpu",
    "device",
    "failure_type",
    "id",
    "image",
    "interface",
    "name",
    "namespace",
    "pagesize",
    "pod",
    "runtime",
    "sandbox",
    "scope",
    "source",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels_are_those_that_prometheus_takes() {
        for label in ["team=x", "_a=x", "A1_=", "a=b=c"] {
            assert!(label.parse::<Label>().is_ok(), "{label}");
        }
        for label in [
            "", "=", "a", "1=x", "__a=x", "a-b=x", "ä=x", "pod=x", "device=x",
        ] {
            assert!(label.parse::<Label>().is_err(), "{label}");
        }
    }
}
