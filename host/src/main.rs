//! The program: stats events on the command line.

mod cli;

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use eventout::{Result, SourceSpec};

use cli::args::{Cli, Command};
use cli::output::Output;
use cli::{events, record};

fn main() -> ExitCode {
    if let Some(code) = eventout::compiler_process() {
        return code;
    }
    // Ctrl-C ends the program at once, between two lines. Where the handler is refused, the signal
    // itself does.
    let _ = signal_hook::flag::register_conditional_shutdown(
        signal_hook::consts::SIGINT,
        130,
        Arc::new(AtomicBool::new(true)),
    );
    let cli = Cli::parse();
    let mut out = Output::new();
    if let Err(e) = run(&cli, &mut out) {
        out.fail(&e);
    }
    ExitCode::from(u8::from(out.failed))
}

fn run(cli: &Cli, out: &mut Output) -> Result<()> {
    let spec = match &cli.source {
        Some(spec) => spec,
        None => &SourceSpec::Runtime(cli.root.clone()),
    };
    let mut source = spec.open()?;
    match &cli.command {
        Command::Events(args) => events::run(cli, args, source, out),
        Command::List => {
            for listed in source.containers()? {
                let line = serde_json::to_string(&listed).map_err(io::Error::from)?;
                out.line(&line)?;
            }
            out.flush()
        }
        Command::Record {
            container, rhythm, ..
        } => record::run(source, container.as_deref(), *rhythm, out),
    }
}
