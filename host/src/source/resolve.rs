//! Which container a name, or the beginning of an ID, means.

use std::collections::BTreeSet;

use super::Source;
use crate::error::{Result, bail};
use crate::text::shorten;

/// Finds the ID of the container that `text` means. See [`Source::resolve`].
pub(super) fn resolve<S: Source + ?Sized>(source: &mut S, text: &str) -> Result<String> {
    // A source that cannot be listed says so when the container is read.
    let containers = source.containers().unwrap_or_default();
    let ids: BTreeSet<String> = containers.into_iter().map(|info| info.id).collect();
    if ids.contains(text) || text.is_empty() {
        return Ok(text.to_owned());
    }
    let named = ids.iter().filter(|id| is_name(source, id, text));
    let named: Vec<_> = named.collect();
    if let Some(id) = only(&named, text, "the name")? {
        return Ok(id);
    }
    let begun: Vec<_> = ids.iter().filter(|id| id.starts_with(text)).collect();
    let id = only(&begun, text, "the beginning of the ID")?;
    Ok(id.unwrap_or_else(|| text.to_owned()))
}

/// Returns whether `text` is the name of a container, with or without that of its pod.
fn is_name<S: Source + ?Sized>(source: &mut S, id: &str, text: &str) -> bool {
    // One that cannot be read has no name.
    let details = source.details(id).unwrap_or_default();
    let Some(name) = details.name.as_deref() else {
        return false;
    };
    let in_pod = || {
        let (pod, own) = text.split_once('/')?;
        Some(own == name && details.pod.as_deref() == Some(pod))
    };
    name == text || in_pod().unwrap_or(false)
}

/// Returns the only one of these IDs, if there are any.
fn only(ids: &[&String], text: &str, role: &str) -> Result<Option<String>> {
    const SHOWN: usize = 5;
    if ids.len() > 1 {
        let count = ids.len();
        let more = if count > SHOWN { ", ..." } else { "" };
        let shown: Vec<_> = ids.iter().take(SHOWN).map(|id| shorten(id)).collect();
        let shown = shown.join(", ");
        bail!(
            InvalidRequest,
            "{} is {role} of {count} containers: {shown}{more}",
            shorten(text)
        );
    }
    Ok(ids.first().map(|id| (*id).clone()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::details::Details;
    use crate::error::{ErrorKind, error};
    use crate::snapshot::Snapshot;
    use crate::source::ContainerInfo;

    /// Containers: ID, name, pod.
    struct Named(&'static [(&'static str, &'static str, &'static str)]);

    impl Source for Named {
        fn containers(&mut self) -> Result<Vec<ContainerInfo>> {
            let infos = self.0.iter().map(|(id, ..)| ContainerInfo {
                id: (*id).to_owned(),
                sandbox: String::new(),
                source: String::new(),
            });
            Ok(infos.collect())
        }

        fn snapshot(&mut self, _: &str) -> Result<Arc<Snapshot>> {
            Err(error!(Source, "it has no usage"))
        }

        fn details(&mut self, container: &str) -> Result<Arc<Details>> {
            let mut containers = self.0.iter();
            let (_, name, pod) = containers
                .find(|(id, ..)| *id == container)
                .ok_or_else(|| error!(ContainerNotFound, "there is none"))?;
            let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Ok(Arc::new(Details {
                name: filled(name),
                pod: filled(pod),
                ..Details::default()
            }))
        }
    }

    #[test]
    fn an_id_counts_before_a_name_and_a_name_before_the_beginning_of_an_id() {
        let mut source = Named(&[
            ("aa11", "web", "shop"),
            ("aa22", "web", "blog"),
            ("web2", "db", ""),
            ("db", "aa11", ""),
            ("cc33", "", ""),
        ]);
        for (text, id) in [
            ("aa11", "aa11"),
            ("db", "db"),
            ("shop/web", "aa11"),
            ("blog/web", "aa22"),
            ("c", "cc33"),
            ("aa2", "aa22"),
            ("web2", "web2"),
            // There are none.
            ("shop/db", "shop/db"),
            ("/web", "/web"),
            ("x", "x"),
            ("", ""),
        ] {
            let found = source.resolve(text).expect("it means one, or none");
            assert_eq!(found, id, "{text:?}");
        }
        for (text, why) in [
            (
                "web",
                r#""web" is the name of 2 containers: "aa11", "aa22""#,
            ),
            (
                "aa",
                r#""aa" is the beginning of the ID of 2 containers: "aa11", "aa22""#,
            ),
        ] {
            let error = source.resolve(text).expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert_eq!(error.to_string(), why);
        }
    }
}
