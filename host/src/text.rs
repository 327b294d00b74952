//! Texts from outside, made fit to be shown.

use crate::error::{Result, error};

/// A component's text, fit to be shown. It may be anything, since the component may be anybody's: what is long
/// is cut, and there is nothing in it that a terminal would act on.
pub(crate) fn clean(text: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(1000).map(visible).collect()
}

/// A text from outside, quoted, so that it can stand in an error: what is long is cut.
pub(crate) fn shorten(text: &str) -> String {
    const LENGTH: usize = 64;
    match text.char_indices().nth(LENGTH) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}...", &text[..end]),
    }
}

/// Refuses control characters other than newlines and tabs: a terminal would act on them.
pub(crate) fn check_text(text: String) -> Result<String> {
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
