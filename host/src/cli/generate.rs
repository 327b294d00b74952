//! Completions and manual pages, generated from the arguments.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use eventout::{Error, Result};

use super::args::Cli;
use super::output::Output;

/// Prints a script that completes arguments in a shell.
pub(crate) fn completions(shell: Shell, out: &mut Output) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "eventout", &mut script);
    out.line(String::from_utf8_lossy(&script).trim_end());
    out.flush()
}

/// Writes the manual pages of the program and its commands to a directory.
pub(crate) fn man(dir: &Path) -> Result<()> {
    clap_mangen::generate_to(Cli::command(), dir)
        .map_err(|e| Error::from(e).context(format!("cannot write manual pages to {dir:?}")))
}
