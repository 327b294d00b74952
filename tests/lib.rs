//! What the tests share: where things are, and goldens.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Compares `actual` with the file `golden`, byte for byte. With `BLESS=1` in the environment it
/// writes the file instead.
///
/// # Panics
///
/// Where they differ. `hint` says what that means.
#[track_caller]
pub fn check_golden(golden: &Path, actual: &[u8], hint: &str) {
    if env::var_os("BLESS").is_some_and(|value| value == "1") {
        fs::write(golden, actual).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
        return;
    }
    let expected = fs::read(golden).unwrap_or_else(|e| panic!("{}: {e}", golden.display()));
    if expected == actual {
        return;
    }
    let at = expected
        .iter()
        .zip(actual)
        .take_while(|(a, b)| a == b)
        .count();
    if let (Ok(expected), Ok(actual)) = (str::from_utf8(&expected), str::from_utf8(actual)) {
        println!("--- expected\n{expected}\n--- actual\n{actual}");
    }
    panic!(
        "{} has {} bytes, and now it would have {}; they differ from byte {at} on\n{hint}",
        golden.display(),
        expected.len(),
        actual.len(),
    );
}
