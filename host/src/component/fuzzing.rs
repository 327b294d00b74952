//! The entry points of the fuzzer.

use super::formatter::check_text;
use super::world::World;

/// Finds out to which world a file belongs, and checks a text that a formatter returned.
pub fn component(input: &[u8]) {
    let _ = World::of(input);
    if let Ok(text) = check_text(String::from_utf8_lossy(input).into_owned()) {
        assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'));
    }
}
