//! Texts from outside, made fit to be shown.

/// Returns the beginning of a text from a component, a sentry or a file, without anything that a terminal would act on.
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
