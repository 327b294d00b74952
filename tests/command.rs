//! Calls of the program: [`Eventout`] is a command line, [`Running`] a call that goes on, [`Finished`] the result.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

use crate::{program, root};

/// A call of the program. Its command line grows from left to right:
///
/// ```no_run
/// # use tests::Eventout;
/// let line = Eventout::new().source("demo").events(["web"]).stats().stdout();
/// ```
#[must_use]
pub struct Eventout(Command);

impl Eventout {
    /// A call without arguments, of the program as it is now, built with the profile of the tests.
    #[expect(
        clippy::new_without_default,
        reason = "a call without arguments is the beginning of one"
    )]
    pub fn new() -> Self {
        let mut command = Command::new(program());
        command.stdin(Stdio::null());
        // Precompiled code of fixtures is of no use to the user.
        command.env("XDG_CACHE_HOME", root().join("target/tmp/cache"));
        Self(command)
    }

    /// `--source SPEC`.
    pub fn source(self, spec: impl AsRef<OsStr>) -> Self {
        self.arg("--source").arg(spec)
    }

    /// `--source scenario:FILE`.
    pub fn scenario(self, file: impl AsRef<Path>) -> Self {
        self.source(format!("scenario:{}", file.as_ref().display()))
    }

    /// `--source cgroup:ROOT`.
    pub fn cgroup(self, root: impl AsRef<Path>) -> Self {
        self.source(format!("cgroup:{}", root.as_ref().display()))
    }

    /// `events ID...`, or `events --all`.
    pub fn events<S: AsRef<OsStr>>(self, ids: impl IntoIterator<Item = S>) -> Self {
        self.arg("events").args(ids)
    }

    /// `record ID`, or `record --all`.
    pub fn record(self, id: impl AsRef<OsStr>) -> Self {
        self.arg("record").arg(id)
    }

    /// `list`.
    pub fn list(self) -> Self {
        self.arg("list")
    }

    /// `--stats`: one event of each container, or one sample.
    pub fn stats(self) -> Self {
        self.arg("--stats")
    }

    /// `--interval DURATION`.
    pub fn interval(self, duration: &str) -> Self {
        self.arg("--interval").arg(duration)
    }

    /// `--format FORMAT`.
    pub fn format(self, format: &str) -> Self {
        self.arg("--format").arg(format)
    }

    /// `--component FILE`.
    pub fn component(self, file: impl AsRef<Path>) -> Self {
        self.arg("--component").arg(file.as_ref())
    }

    /// Any other argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Any other arguments.
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.0.args(args);
        self
    }

    /// Returns the command, for tests that run it in a way of their own.
    pub fn into_command(self) -> Command {
        self.0
    }

    /// Starts the call, and leaves it running.
    ///
    /// # Panics
    ///
    /// If the program cannot be started.
    pub fn start(mut self) -> Running {
        let call = format!("{:?}", self.0);
        let pipes = self.0.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("the program runs");
        let stdout = child.stdout.take().map(BufReader::new);
        let mut stderr = child.stderr.take().expect("it is piped");
        // Read at once: a full pipe would stop the program.
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("it prints UTF-8");
            text
        });
        Running {
            call,
            child,
            stdout,
            stderr: Some(stderr),
        }
    }

    /// Runs the call to its end. It is killed if it takes longer than a minute.
    ///
    /// # Panics
    ///
    /// If the program cannot be started.
    pub fn run(self) -> Finished {
        self.run_once()
    }

    fn run_once(&self) -> Finished {
        let mut bounded = Command::new("timeout");
        bounded
            .args(["--signal=KILL", "60"])
            .arg(self.0.get_program())
            .args(self.0.get_args())
            .stdin(Stdio::null());
        for (name, value) in self.0.get_envs() {
            match value {
                Some(value) => bounded.env(name, value),
                None => bounded.env_remove(name),
            };
        }
        Self(bounded).start().wait()
    }

    /// Runs the call, which must succeed without a word on standard error, and returns what it prints.
    ///
    /// # Panics
    ///
    /// If it fails or prints to standard error.
    #[track_caller]
    pub fn stdout(self) -> String {
        self.succeed().stdout
    }

    /// Runs the call, which must succeed. It is repeated if a sentry is slow, as it may be on a busy machine.
    #[track_caller]
    fn succeed(self) -> Finished {
        let mut attempts = 0;
        loop {
            let finished = self.run_once();
            attempts += 1;
            if attempts == 5 || !finished.stderr.contains("it took longer than 2s") {
                finished.succeeds();
                return finished;
            }
        }
    }

    /// [`Eventout::stdout`] as values, one a line.
    ///
    /// # Panics
    ///
    /// As there, and if a line is not JSON.
    #[track_caller]
    pub fn lines(self) -> Vec<Value> {
        self.succeed().lines()
    }

    /// [`Eventout::stdout`] as the value of its only line.
    ///
    /// # Panics
    ///
    /// As there, and if it is not one line of JSON.
    #[track_caller]
    pub fn line(self) -> Value {
        let mut lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    /// Runs the call, which must [fail](Finished::fails).
    ///
    /// # Panics
    ///
    /// If it does not.
    #[track_caller]
    pub fn fails(self, code: i32) -> Finished {
        let finished = self.run();
        finished.fails(code);
        finished
    }
}

/// The end of a call.
#[derive(Debug)]
pub struct Finished {
    /// The command.
    pub call: String,
    /// The exit status.
    pub status: ExitStatus,
    /// Everything on standard output that was not read before.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Finished {
    /// Returns the exit code, or `None` after a signal.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Checks that the call has succeeded and printed nothing to standard error.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert!(self.status.success() && self.stderr.is_empty(), "{self:?}");
        self
    }

    /// Checks that the call has failed with that exit code, one error that can be shown on a terminal, and no output.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn fails(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert!(self.stderr.starts_with("error: "), "{self:?}");
        assert_eq!(self.stderr.matches("error: ").count(), 1, "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        assert!(self.stderr.len() < 2000, "{self:?}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!self.stderr.contains(control), "{self:?}");
        self
    }

    /// Checks that standard error contains `text`.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn says(&self, text: &str) -> &Self {
        assert!(self.stderr.contains(text), "no {text:?} in {self:?}");
        self
    }

    /// Returns standard output as values, one a line.
    ///
    /// # Panics
    ///
    /// If a line is not JSON.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        let value = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {self:?}"));
        self.stdout.lines().map(value).collect()
    }
}

/// A call that goes on. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    call: String,
    child: Child,
    /// `None` once it is closed.
    stdout: Option<BufReader<ChildStdout>>,
    /// `None` once it has ended.
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    /// Returns the ID of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line of standard output, and returns it without the newline; `None` at its end.
    ///
    /// # Panics
    ///
    /// If it is not a whole line of UTF-8.
    #[track_caller]
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = String::new();
        let stdout = self.stdout.as_mut().expect("it is open");
        if stdout.read_line(&mut line).expect("it prints UTF-8") == 0 {
            return None;
        }
        assert_eq!(line.pop(), Some('\n'), "{line:?} of {self:?}");
        Some(line)
    }

    /// Waits for a line as [`Running::next_line`] does, but no longer than `time`. `None` if there is none by then.
    ///
    /// # Panics
    ///
    /// As there.
    #[track_caller]
    pub fn next_line_within(&mut self, time: Duration) -> Option<String> {
        let stdout = self.stdout.as_ref().expect("it is open");
        if stdout.buffer().is_empty() {
            let time = Timespec::try_from(time).expect("a short time");
            let mut pipe = [PollFd::new(stdout.get_ref(), PollFlags::IN)];
            if poll(&mut pipe, Some(&time)).expect("it can be polled") == 0 {
                return None;
            }
        }
        self.next_line()
    }

    /// Waits for a line of standard output, and returns its value.
    ///
    /// # Panics
    ///
    /// If there is none, or it is not JSON.
    #[track_caller]
    pub fn next_value(&mut self) -> Value {
        let line = self
            .next_line()
            .unwrap_or_else(|| panic!("no line of {self:?}"));
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// Closes the end of the pipe that standard output is read from.
    pub fn close_stdout(&mut self) {
        self.stdout = None;
    }

    /// Sends a signal, such as `INT`.
    ///
    /// # Panics
    ///
    /// If it cannot be sent.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let script = format!("kill -{name} {}", self.id());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.expect("sh runs").success(), "{self:?}");
    }

    /// Returns whether the process has not ended.
    ///
    /// # Panics
    ///
    /// If the kernel does not know.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is a child").is_none()
    }

    /// Waits for the end of the call.
    ///
    /// # Panics
    ///
    /// If it prints anything but UTF-8.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let mut stdout = String::new();
        if let Some(pipe) = &mut self.stdout {
            pipe.read_to_string(&mut stdout).expect("it prints UTF-8");
        }
        let stderr = self.stderr.take().expect("it has not ended").join();
        Finished {
            call: std::mem::take(&mut self.call),
            status: self.child.wait().expect("it is a child"),
            stdout,
            stderr: stderr.expect("it prints UTF-8"),
        }
    }

    /// Kills the process, and returns what it has printed.
    ///
    /// # Panics
    ///
    /// If it prints anything but UTF-8.
    #[track_caller]
    pub fn kill(mut self) -> Finished {
        self.child.kill().expect("it is a child");
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
