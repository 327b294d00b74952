//! World `formatter`: components that format events.

use std::sync::Arc;

use wasmtime::component::Linker;

use crate::bindings;
use crate::bindings::types::StatsEvent;
use crate::component::host::State;
use crate::component::runtime::{Instance, Runtime};
use crate::error::{Context as _, Result, error};
use crate::text::{clean, shorten};

/// A component that formats events, ready to run.
pub struct Formatter {
    runtime: Runtime,
    pre: bindings::formatter::FormatterPre<State>,
    /// The instance that served the last call, unless it failed then.
    instance: Option<Instance<bindings::formatter::Formatter>>,
}

impl Formatter {
    pub(super) fn link(
        runtime: Runtime,
        component: &wasmtime::component::Component,
    ) -> wasmtime::Result<Self> {
        // There are only types to import.
        let linker = Linker::new(&runtime.engine);
        let pre = bindings::formatter::FormatterPre::new(linker.instantiate_pre(component)?)?;
        Ok(Self {
            runtime,
            pre,
            instance: None,
        })
    }

    /// Formats an event as text, which can be empty or have several lines.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Component`](crate::ErrorKind::Component) where the component traps or returns an error,
    /// [`ErrorKind::Limit`](crate::ErrorKind::Limit) where it exceeds its limits.
    pub fn format(&mut self, event: &StatsEvent) -> Result<String> {
        let pre = &self.pre;
        let text = self.runtime.with_instance(
            &mut self.instance,
            Arc::default(),
            |store| pre.instantiate(store),
            |guest, store| guest.eventout_stats_format().call_format(store, event),
        );
        text.and_then(|text| text.map_err(|why| error!(Component, "{}", clean(&why))))
            .and_then(|text| self.runtime.check_output(&text).map(|()| text))
            .and_then(check_text)
            .with_context(|| {
                let (id, name) = (shorten(&event.id), &self.runtime.name);
                format!("cannot format stats of container {id} with component {name}")
            })
    }
}

/// Refuses control characters other than newlines and tabs: a terminal would act on them.
fn check_text(text: String) -> Result<String> {
    let refused = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    match text.chars().find(refused) {
        None => Ok(text),
        Some(c) => Err(error!(
            Component,
            "the text has a control character: U+{:04X}",
            u32::from(c)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_refused() {
        for text in ["", "a\tb\nc\n", "\u{e9}\u{a0}\u{1f600}"] {
            assert!(check_text(text.to_owned()).is_ok(), "{text:?}");
        }
        for text in [
            "\x1b[2J", "a\rb", "\0", "\x07", "\x7f", "\u{80}", "\u{9b}2J",
        ] {
            let e = check_text(text.to_owned()).expect_err("a control character");
            assert!(
                e.to_string()
                    .starts_with("the text has a control character: U+00")
            );
        }
    }
}
