//! The control socket of a sentry, which speaks urpc (gVisor's pkg/urpc): a JSON object with a method and an
//! argument one way, one with the result or an error back. The methods used here are there in the versions of
//! runsc that Debian has, 20221219 and 20240729:
//!
//! - `containerManager.Event`: the tasks of a container, and the CPU time of all containers. In the
//!   older version it takes no container, and counts the tasks of the whole sandbox;
//! - `containerManager.Processes`, with the older version: the threads of a container's processes;
//! - `Usage.Collect`: the memory of the whole sandbox;
//! - `Cgroups.ReadControlFiles`: memory and CPU time of each container, where the sentry has cgroups of
//!   its own for them, which it has where a container's spec mounts the cgroup filesystem.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::geteuid;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::state::Sandbox;
use crate::error::{Context as _, Error, Result, bail, error};
use crate::linux::file::fd_path;
use crate::snapshot::Container;
use crate::text::{clean, shorten};

/// The longest response, in bytes: some 100,000 containers.
const LIMIT: usize = 16 << 20;

/// A container according to its cgroup inside the sandbox.
pub(super) struct SentryCgroup {
    /// In bytes.
    pub(super) memory: Option<u64>,
    /// In nanoseconds.
    pub(super) cpu: Option<u64>,
}

/// A connection to a sentry.
pub(super) struct Sentry {
    stream: UnixStream,
    deadline: Instant,
    /// The time limit of all calls together.
    time: Duration,
}

/// The number of live tasks of a container, and the CPU time of all containers if the sentry reports it here.
type Tasks = (u64, Option<Usage>);

/// CPU time by container, in nanoseconds.
pub(super) type Usage = HashMap<String, u64>;

/// The response of a sentry: the result, or its error.
type RpcResult<T> = Result<T, String>;

impl Sentry {
    /// Connects to the control socket: the one that the state names, the one in the root directory, or, with old
    /// versions, the one in the abstract namespace.
    pub(super) fn connect(
        root: &Path,
        id: &str,
        sandbox: &Sandbox,
        time: Duration,
    ) -> Result<Self> {
        let in_root = root.join(format!("runsc-{id}.sock"));
        let named = sandbox.control_socket_path.as_deref();
        let paths = [named.filter(|path| path.is_absolute()), Some(&*in_root)];
        let path = paths.into_iter().flatten().find(|path| path.exists());
        let (name, stream) = match path {
            Some(path) => (path.display().to_string(), connect_to_path(path)),
            None => (
                format!("@runsc-sandbox.{id}"),
                connect_to_abstract(id, sandbox.pid),
            ),
        };
        let stream = stream.with_context(|| format!("cannot connect to {name}"))?;
        Ok(Self::new(stream, time))
    }

    /// Takes a connection. All calls together may take that much time from now.
    pub(super) fn new(stream: UnixStream, time: Duration) -> Self {
        Self {
            stream,
            deadline: Instant::now() + time,
            time,
        }
    }

    /// Calls for the live tasks of a container, and the CPU time of all containers in nanoseconds, if the sentry
    /// reports it here. `None` if the sentry does not know the container. The inner error is the sentry's own.
    pub(super) fn event(&mut self, id: &str) -> Result<Result<Option<Tasks>>> {
        const METHOD: &str = "containerManager.Event";
        #[derive(Deserialize)]
        struct EventOut {
            event: Event,
            #[serde(rename = "containerUsage")]
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Event {
            data: Data,
        }
        #[derive(Deserialize)]
        struct Data {
            pids: Pids,
        }
        #[derive(Deserialize)]
        struct Pids {
            #[serde(default)]
            current: u64,
        }
        Ok(match self.try_call::<EventOut>(METHOD, id)? {
            Ok(out) => Ok(Some((out.event.data.pids.current, out.usage))),
            // Before July 2023, there was no argument.
            Err(error) if error.contains("cannot unmarshal string") => {
                let out: EventOut = self.call(METHOD, json!({}))?;
                Ok(Some((self.threads(id)?, out.usage)))
            }
            Err(error) if error.ends_with(" not found") => Ok(None),
            Err(error) => Err(refused(METHOD, &error)),
        })
    }

    /// Calls for the number of threads of a container's processes.
    fn threads(&mut self, id: &str) -> Result<u64> {
        #[derive(Deserialize)]
        struct Process {
            threads: Vec<IgnoredAny>,
        }
        let processes: Option<Vec<Process>> = self.call("containerManager.Processes", id)?;
        let processes = processes.unwrap_or_default();
        Ok(processes
            .iter()
            .map(|process| process.threads.len() as u64)
            .sum())
    }

    /// Calls for the memory of the whole sandbox, in bytes.
    pub(super) fn memory(&mut self) -> Result<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Kinds {
            total: u64,
        }
        let usage: Kinds = self.call("Usage.Collect", json!({"Full": true}))?;
        Ok(usage.total)
    }

    /// Reads the cgroups inside, one for each container, in the same order. Empty if there are none.
    pub(super) fn cgroups(&mut self, containers: &[Container]) -> Result<Vec<SentryCgroup>> {
        #[derive(Deserialize)]
        struct Values {
            results: Option<Vec<Value>>,
        }
        #[derive(Deserialize)]
        struct Value {
            value: String,
            is_error: bool,
        }
        let file = |id: &str, controller: &str, name: &str| {
            let path = format!("/{id}");
            json!({"file": {"controller": controller, "path": path, "name": name}})
        };
        let files: Vec<_> = containers
            .iter()
            .flat_map(|container| {
                [
                    file(&container.id, "memory", "memory.usage_in_bytes"),
                    file(&container.id, "cpuacct", "cpuacct.usage"),
                ]
            })
            .collect();
        let values = match self.try_call("Cgroups.ReadControlFiles", json!({"args": files}))? {
            Ok(Values { results }) => results.unwrap_or_default(),
            // A sentry without cgroups is as good as one without the method.
            Err(_) => return Ok(Vec::new()),
        };
        if values.len() != files.len() {
            bail!(
                Source,
                "Cgroups.ReadControlFiles: {} values of {} files",
                values.len(),
                files.len()
            );
        }
        let number = |value: &Value| match value.is_error {
            true => None,
            false => value.value.parse().ok(),
        };
        let inner = values.chunks_exact(2).map(|pair| SentryCgroup {
            memory: number(&pair[0]),
            cpu: number(&pair[1]),
        });
        Ok(inner.collect())
    }

    /// Calls a method, and returns the sentry's error as one of this library.
    fn call<T: DeserializeOwned>(&mut self, method: &str, argument: impl Serialize) -> Result<T> {
        self.try_call(method, argument)?
            .map_err(|error| refused(method, &error))
    }

    /// Calls a method.
    fn try_call<T: DeserializeOwned>(
        &mut self,
        method: &str,
        argument: impl Serialize,
    ) -> Result<RpcResult<T>> {
        #[derive(Deserialize)]
        struct Reply<T> {
            success: bool,
            #[serde(default)]
            err: String,
            result: Option<T>,
        }
        let exchange = || -> Result<RpcResult<T>> {
            let request = json!({"method": method, "arg": argument}).to_string();
            self.stream.set_write_timeout(Some(self.remaining()?))?;
            (&self.stream).write_all(request.as_bytes())?;
            let reader = BufReader::new(LimitedReader {
                sentry: self,
                bytes: 0,
            });
            let mut json = serde_json::Deserializer::from_reader(reader);
            let reply = Reply::<T>::deserialize(&mut json).map_err(|e| match e.is_data() {
                // It may hold a value from the response, of any length.
                true => io::Error::other(clean(&e.to_string())),
                false => io::Error::from(e),
            })?;
            Ok(match (reply.success, reply.result) {
                (false, _) => Err(reply.err),
                (true, Some(result)) => Ok(result),
                // It may be that null is the result.
                (true, None) => Ok(serde_json::from_str("null").context("there is no result")?),
            })
        };
        exchange().with_context(|| method.to_owned())
    }

    /// Returns what is left of the time, which is more than nothing.
    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        if remaining.is_zero() {
            let time = self.time;
            return Err(io::Error::other(format!("it took longer than {time:?}")));
        }
        Ok(remaining)
    }
}

/// Connects to a socket in the filesystem. Its path may be longer than an address has room for, so that the
/// socket is opened first.
fn connect_to_path(path: &Path) -> io::Result<UnixStream> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let socket = openat(CWD, path, flags, Mode::empty())?;
    if FileType::from_raw_mode(fstat(&socket)?.st_mode) != FileType::Socket {
        return Err(io::Error::other("it is not a socket"));
    }
    match connect(&SocketAddrUnix::new(fd_path(&socket))?) {
        // Without /proc.
        Err(e) if e.kind() == io::ErrorKind::NotFound => connect(&SocketAddrUnix::new(path)?),
        stream => stream,
    }
}

/// Connects to a socket in the abstract namespace, which anybody can make: it has to be the sandbox's, or one of
/// a user who may do everything that this process may do.
fn connect_to_abstract(id: &str, pid: u32) -> io::Result<UnixStream> {
    // The name ends in a NUL, as the sentry's does.
    let name = format!("runsc-sandbox.{id}\0");
    let stream = connect(&SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    let peer = socket_peercred(&stream)?;
    let is_sandbox = i64::from(peer.pid.as_raw_nonzero().get()) == i64::from(pid);
    if !is_sandbox && !peer.uid.is_root() && peer.uid != geteuid() {
        return Err(io::Error::other("it is the socket of another process"));
    }
    Ok(stream)
}

fn connect(address: &SocketAddrUnix) -> io::Result<UnixStream> {
    // Without waiting: a server that does not accept would block for good.
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match rustix::net::connect(&socket, address) {
        Err(Errno::AGAIN) => {
            return Err(io::Error::other("it does not accept connections"));
        }
        connected => connected?,
    }
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Reads what a sentry sends, as long as it is in time and not too much.
struct LimitedReader<'a> {
    sentry: &'a Sentry,
    bytes: usize,
}

impl Read for LimitedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = &self.sentry.stream;
        let read = loop {
            stream.set_read_timeout(Some(self.sentry.remaining()?))?;
            match stream.read(buffer) {
                // The time is over, or almost.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        self.bytes += read;
        if self.bytes > LIMIT {
            return Err(io::Error::other(format!(
                "its response is larger than {LIMIT} bytes"
            )));
        }
        Ok(read)
    }
}

/// Returns a sentry's error as one of this library. Most of all, it is about a method that it does not have.
fn refused(method: &str, error: &str) -> Error {
    error!(Source, "{method}: the sentry reports {}", shorten(error))
}
