//! The entry points of the fuzzer: a function for each kind of input from outside. `fuzz/` has a target of that name.
//!
//! Each takes any bytes, and checks what must hold of the result. None of them panics unless there is a bug.

pub use crate::linux::fuzzing::{interface_file, mountinfo, process};
pub use crate::source::fuzzing::{scenario, sentry, state};
use crate::text::{clean, shorten};

/// Takes a text from outside that is shown.
pub fn text(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (cleaned, quoted) = (clean(&text), shorten(&text));
    assert!(cleaned.chars().count() <= 1000 && quoted.len() <= 64 * "\\u{10ffff}".len() + 5);
    assert!(!cleaned.contains(char::is_control) && !quoted.contains(char::is_control));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::thread;

    type Target = fn(&[u8]);

    const TARGETS: [(&str, Target); 7] = [
        ("interface_file", super::interface_file),
        ("mountinfo", super::mountinfo),
        ("process", super::process),
        ("scenario", super::scenario),
        ("sentry", super::sentry),
        ("state", super::state),
        ("text", super::text),
    ];

    /// Shows the input of a target that panics.
    struct Shown<'a>(&'a str, &'a [u8]);

    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("target {}, input b\"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }

    /// Calls `change` with what becomes of `input` by small changes: a fixed sequence without a pattern (xorshift).
    fn changes(input: &[u8], mut call: impl FnMut(&[u8])) {
        const PIECES: &str = "0 1 9 - + . , : = max 18446744073709551615 18446744073709551616 -1 \n \t \0 \" { } [ ] é \u{2028}";
        let pieces: Vec<&str> = PIECES.split(' ').chain([" "]).collect();
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = |below: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed % below.max(1) as u64) as usize
        };
        for _ in 0..1000 {
            let mut bytes = input.to_vec();
            for _ in 0..=random(4) {
                let from = random(bytes.len() + 1);
                let to = (from + random(8)).min(bytes.len());
                match random(4) {
                    0 => drop(bytes.drain(from..to)),
                    1 => drop(bytes.splice(from..to, pieces[random(pieces.len())].bytes())),
                    2 => drop(bytes.splice(from..to, [random(256) as u8])),
                    _ => {
                        let copy = bytes[from..to].to_vec();
                        let at = random(bytes.len() + 1);
                        bytes.splice(at..at, copy);
                    }
                }
            }
            call(&bytes);
        }
    }

    #[test]
    fn any_input_is_a_value_or_an_error() {
        for (name, target) in TARGETS {
            let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/inputs");
            for input in fs::read_dir(inputs.join(name)).expect(name) {
                let input = fs::read(input.expect(name).path()).expect(name);
                let call = |bytes: &[u8]| {
                    let _shown = Shown(name, bytes);
                    target(bytes);
                };
                call(&input);
                changes(&input, call);
            }
        }
    }
}
