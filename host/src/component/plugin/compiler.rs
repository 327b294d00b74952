//! Compilation in a child process, within limits of time and memory.
//!
//! The child is this very program, started again with a hidden argument. It reads the component from standard
//! input, and writes the precompiled code, or why there is none, to standard output.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::retry_on_intr;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use wasmtime::Engine;

use crate::component::engine::{self, Origin};
use crate::error::{Context as _, Error, ErrorKind, Result, bail, error};
use crate::text::clean;

/// The argument that makes a program a compiler. The address space in bytes and the CPU time in seconds follow it.
const ARGUMENT: &str = "compile-component-from-standard-input";
/// Follows the code in the output, so that code that was cut off, or the output of a program that is no compiler, is
/// not taken for code.
const END: &[u8] = b"\0precompiled by eventout\0";

/// Limits of the compilation of a component in a process of its own. See
/// [`Plugin::from_file_in_child`](crate::Plugin::from_file_in_child).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileLimits {
    /// The time of a compilation.
    pub time: Duration,
    /// The address space of the process, in bytes.
    pub memory: u64,
}

impl Default for CompileLimits {
    /// Returns 5 min and 2 GiB, several times the needs of a component with an interpreter in it, also on a
    /// machine with other work.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(300),
            memory: 2 << 30,
        }
    }
}

/// Compiles a component if this process was started for that, and returns the exit code of the process.
///
/// A program that calls [`Plugin::from_file_in_child`](crate::Plugin::from_file_in_child) must call this before
/// anything else:
///
/// ```no_run
/// # use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = eventout::compiler_process() {
///         return code;
///     }
///     // ...
/// #   ExitCode::SUCCESS
/// }
/// ```
pub fn compiler_process() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != *ARGUMENT {
        return None;
    }
    let mut limits = arguments.map(|limit| limit.to_str()?.parse().ok());
    let (memory, seconds) = (limits.next().flatten(), limits.next().flatten());
    let code = set_limits(memory, seconds)
        .map_err(wasmtime::Error::from)
        .and_then(|()| {
            let mut wasm = Vec::new();
            io::stdin().lock().read_to_end(&mut wasm)?;
            Engine::new(&engine::config(Origin::Plugin))?.precompile_component(&wasm)
        });
    let mut stdout = io::stdout().lock();
    let (written, exit) = match code {
        Ok(code) => {
            let written = stdout.write_all(&code).and_then(|()| stdout.write_all(END));
            (written, ExitCode::SUCCESS)
        }
        Err(e) => (write!(stdout, "{e:#}"), ExitCode::FAILURE),
    };
    Some(match written.and_then(|()| stdout.flush()) {
        Ok(()) => exit,
        Err(_) => ExitCode::from(2),
    })
}

/// Limits this process, which is the child.
fn set_limits(memory: Option<u64>, seconds: Option<u64>) -> io::Result<()> {
    // Nobody waits for the code of a parent that has been killed.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let limits = [
        (Resource::As, memory),
        (Resource::Cpu, seconds),
        (Resource::Core, Some(0)),
    ];
    for (resource, limit) in limits {
        let old = getrlimit(resource);
        let limit = [limit, old.current, old.maximum]
            .into_iter()
            .flatten()
            .min();
        let (current, maximum) = (limit, limit);
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    Ok(())
}

/// Compiles a component in a child process.
///
/// # Errors
///
/// [`ErrorKind::Limit`] where that takes more than `limits`, [`ErrorKind::Component`] where it is not possible.
pub(super) fn precompile_in_child(
    name: &str,
    wasm: &[u8],
    limits: &CompileLimits,
) -> Result<Vec<u8>> {
    let mut command = Command::new("/proc/self/exe");
    // A safety net: the deadline comes first, unless this process is stopped.
    let seconds = limits.time.as_secs().saturating_add(2);
    command.args([ARGUMENT, &limits.memory.to_string(), &seconds.to_string()]);
    run(command, name, wasm, limits)
}

fn run(mut command: Command, name: &str, wasm: &[u8], limits: &CompileLimits) -> Result<Vec<u8>> {
    let start = Instant::now();
    let output =
        File::from(memfd_create("component", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
    let output = output_of(&mut command, output, wasm, start + limits.time);
    let output = output
        .map_err(|e| Error::from_cause(ErrorKind::Component, e))
        .with_context(|| format!("cannot run a compiler for component {name}"))?;
    let Some((status, mut output)) = output else {
        bail!(
            Limit,
            "component {name} took longer than {:?} to compile",
            limits.time
        );
    };
    if status.success() && output.ends_with(END) {
        output.truncate(output.len() - END.len());
        return Ok(output);
    }
    Err(failure(status, &output, name, limits))
}

/// Words the failure of a compilation.
fn failure(status: ExitStatus, output: &[u8], name: &str, limits: &CompileLimits) -> Error {
    let signal = status.signal().and_then(Signal::from_named_raw);
    match (status.code(), signal) {
        (Some(1), _) => {
            let why = clean(&String::from_utf8_lossy(output));
            error!(Component, "{why}").context(format!("cannot compile component {name}"))
        }
        // Allocations that fail abort. The kernel kills where there is no memory for what was allocated.
        (_, Some(Signal::ABORT | Signal::KILL)) => error!(
            Limit,
            "component {name} needs more than {} of memory to compile",
            size(limits.memory)
        ),
        (_, Some(Signal::XCPU)) => {
            error!(
                Limit,
                "component {name} took longer than {:?} to compile", limits.time
            )
        }
        _ => error!(Component, "the compiler ended with {status}")
            .context(format!("cannot compile component {name}")),
    }
}

/// Runs a command with `input`, which is written to `file` first. Returns `None` where it does not end in time.
fn output_of(
    command: &mut Command,
    mut file: File,
    input: &[u8],
    deadline: Instant,
) -> io::Result<Option<(ExitStatus, Vec<u8>)>> {
    file.write_all(input)?;
    file.rewind()?;
    let mut child = command
        .stdin(file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let mut output = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    let read = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match wait_readable(&stdout, left) {
            Ok(true) => {}
            other => break other,
        }
        match stdout.read(&mut buffer) {
            Ok(0) => break Ok(true),
            Ok(length) => output.extend_from_slice(&buffer[..length]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    if !matches!(read, Ok(true)) {
        child.kill()?;
    }
    let status = child.wait()?;
    Ok(read?.then_some((status, output)))
}

/// Waits until there is something to read, or its end. Returns `false` where that takes too long.
fn wait_readable(file: &impl AsFd, time: Duration) -> io::Result<bool> {
    let time = Timespec::try_from(time).ok();
    let ready = retry_on_intr(|| poll(&mut [PollFd::new(file, PollFlags::IN)], time.as_ref()));
    Ok(ready? > 0)
}

/// Words a number of bytes.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units
        .into_iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    match unit {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a shell script as the compiler.
    fn compile(script: &str, wasm: &[u8], time: Duration) -> Result<Vec<u8>> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let memory = 1 << 30;
        run(command, "x.wasm", wasm, &CompileLimits { time, memory })
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn code_is_taken_whole_or_not_at_all() {
        let wasm = vec![b'x'; 1 << 20];
        let code = compile(
            r"cat; printf '\000precompiled by eventout\000'",
            &wasm,
            LONG,
        );
        assert_eq!(code.expect("code"), wasm);
        for script in ["cat", "true", r"cat; printf '\000precompiled by'", "exit 3"] {
            let error = compile(script, &wasm, LONG).expect_err(script);
            assert_eq!(error.kind(), ErrorKind::Component);
            assert_eq!(error.to_string(), "cannot compile component x.wasm");
        }
    }

    #[test]
    fn the_reason_of_the_compiler_is_told() {
        let error = compile(r"printf 'no\033 good'; exit 1", b"", LONG).expect_err("fails");
        assert_eq!(
            format!("{error:#}"),
            "cannot compile component x.wasm: no\u{fffd} good"
        );
    }

    #[test]
    fn limits_are_errors_of_their_own() {
        let start = Instant::now();
        for script in ["exec sleep 60", "while :; do echo y; sleep 0.01; done"] {
            let error = compile(script, b"", Duration::from_millis(200)).expect_err("too long");
            assert_eq!(error.kind(), ErrorKind::Limit);
            assert_eq!(
                error.to_string(),
                "component x.wasm took longer than 200ms to compile"
            );
        }
        assert!(start.elapsed() < Duration::from_secs(30));
        let error = compile("kill -ABRT $$", b"", LONG).expect_err("aborted");
        assert_eq!(error.kind(), ErrorKind::Limit);
        assert_eq!(
            error.to_string(),
            "component x.wasm needs more than 1 GiB of memory to compile"
        );
    }

    #[test]
    fn sizes_have_the_largest_unit_that_is_exact() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (1000, "1000 bytes"),
            (1024, "1 KiB"),
            (64 << 20, "64 MiB"),
            (2 << 30, "2 GiB"),
            ((2 << 30) + 1, "2147483649 bytes"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
