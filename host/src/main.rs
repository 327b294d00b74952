//! The program: stats events on the command line.

mod cli;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, io};

use clap::Parser as _;
use eventout::{Error, Result, SourceSpec};
use rustix::fs::fstat;
use rustix::io::Errno;

use cli::args::{Cli, Command};
use cli::output::Output;
use cli::{compat, events, generate, list, record, serve, top};

/// Set if standard output was closed when the program began.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs before `main`, as std opens /dev/null in place of a closed standard output before `main` does.
// SAFETY: the section is an array of such functions, and this one needs nothing that std sets up.
#[used]
#[unsafe(link_section = ".init_array")]
static CHECK_STDOUT: extern "C" fn() = {
    extern "C" fn check() {
        let closed = fstat(io::stdout()).is_err_and(|e| e == Errno::BADF);
        STDOUT_WAS_CLOSED.store(closed, Ordering::Relaxed);
    }
    check
};

fn main() -> ExitCode {
    if let Some(code) = eventout::compiler_process() {
        return code;
    }
    let mut out = Output::new();
    let cli = Cli::parse_from(compat::normalize(env::args_os()));
    if let Err(e) = run(&cli, &mut out) {
        out.fail(&e);
    }
    out.finish();
    ExitCode::from(u8::from(out.failed))
}

fn run(cli: &Cli, out: &mut Output) -> Result<()> {
    if STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
        let e = Error::from(io::Error::from(Errno::BADF));
        return Err(e.context("cannot write to standard output"));
    }
    let open = || match &cli.source {
        Some(spec) => spec.open(),
        None => SourceSpec::Runtime(cli.root.clone()).open(),
    };
    match &cli.command {
        Command::Events(args) => events::run(args, open()?, out),
        Command::List { format } => list::run(open()?, *format, out),
        Command::Top(args) => top::run(args, open()?, out),
        Command::Record {
            container,
            once,
            poll,
            ..
        } => record::run(open()?, container.as_deref(), *once, *poll, out),
        Command::Serve(args) => serve::run(args, open()?, out),
        Command::Completions { shell } => generate::completions(*shell, out),
        Command::Man { dir } => generate::man(dir),
    }
}
