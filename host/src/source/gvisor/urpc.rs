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

#[cfg(test)]
mod tests {
    use std::thread::{self, JoinHandle};

    use serde_json::Value;

    use tempfile::tempdir;

    use super::*;

    /// Returns a connection whose other end makes these responses, one a call, and then returns the calls.
    fn connection(responses: Vec<Value>) -> (Sentry, JoinHandle<Vec<Value>>) {
        let (stream, mut peer) = UnixStream::pair().expect("sockets");
        let peer = thread::spawn(move || {
            let mut calls = Vec::new();
            for response in responses {
                let mut json = serde_json::Deserializer::from_reader(&peer);
                calls.push(Value::deserialize(&mut json).expect("a call"));
                let response = response.to_string();
                peer.write_all(response.as_bytes()).expect("it is read");
            }
            calls
        });
        let time = Duration::from_secs(60);
        let sentry = Sentry {
            stream,
            deadline: Instant::now() + time,
            time,
        };
        (sentry, peer)
    }

    fn result(result: Value) -> Value {
        json!({"success": true, "err": "", "result": result})
    }

    fn error(error: &str) -> Value {
        json!({"success": false, "err": error, "result": null})
    }

    fn container(id: &str) -> Container {
        Container {
            id: id.to_owned(),
            ..Container::default()
        }
    }

    #[test]
    fn an_event_has_the_tasks_of_the_container_and_the_cpu_time_of_all() {
        let (mut sentry, calls) = connection(vec![result(json!({
            "event": {"type": "stats", "data": {"pids": {"current": 2}}},
            "containerUsage": {"web": 7, "db": 0},
        }))]);
        let event = sentry.event("web").expect("a response");
        let (tasks, usage) = event.expect("no error").expect("a container");
        assert_eq!(tasks, 2);
        let usage = usage.expect("CPU time");
        assert_eq!((usage.len(), usage["web"], usage["db"]), (2, 7, 0));
        let call = json!({"method": "containerManager.Event", "arg": "web"});
        assert_eq!(calls.join().expect("no panic"), [call]);
    }

    #[test]
    fn a_sentry_that_takes_no_container_counts_the_threads_of_its_processes() {
        let (mut sentry, calls) = connection(vec![
            error("json: cannot unmarshal string into Go value of type struct {}"),
            result(json!({"event": {"data": {"pids": {}}}, "containerUsage": null})),
            result(json!([{"threads": [1, 2]}, {"threads": [5]}])),
        ]);
        let event = sentry.event("web").expect("a response");
        assert_eq!(event.expect("no error"), Some((3, None)));
        let calls = calls.join().expect("no panic");
        let arguments: Vec<_> = calls.iter().map(|call| &call["arg"]).collect();
        assert_eq!(arguments, [&json!("web"), &json!({}), &json!("web")]);
        assert_eq!(calls[2]["method"], "containerManager.Processes");
    }

    #[test]
    fn errors_of_a_sentry_are_its_own_and_those_of_unknown_containers_are_none() {
        let long = format!("\u{1b}[2J{}", "x".repeat(100_000));
        let (mut sentry, _calls) = connection(vec![
            error("container \"web\" not found"),
            error(&long),
            result(json!({"event": {"data": {"pids": {"current": "2"}}}})),
        ]);
        let absent = sentry.event("web").expect("a response");
        assert_eq!(absent.expect("no error"), None);
        let refused = sentry.event("web").expect("a response");
        let refused = format!("{:#}", refused.expect_err("an error"));
        let prefix = "containerManager.Event: the sentry reports ";
        assert!(refused.starts_with(prefix), "{refused}");
        assert!(
            refused.len() < 500 && !refused.contains('\u{1b}'),
            "{refused}"
        );
        let invalid = sentry.event("web").expect_err("it is not understood");
        let invalid = format!("{invalid:#}");
        assert!(invalid.contains("invalid type: string \"2\""), "{invalid}");
    }

    #[test]
    fn memory_and_cpu_time_of_inner_cgroups_are_in_the_order_of_the_containers() {
        let value = |value: &str| json!({"value": value, "is_error": false});
        let (mut sentry, calls) = connection(vec![result(json!({"results": [
            value("4096"), value("7"),
            {"value": "no such file", "is_error": true}, value("many"),
        ]}))]);
        let cgroups = sentry.cgroups(&[container("web"), container("db")]);
        let cgroups = cgroups.expect("a response");
        let values: Vec<_> = cgroups.iter().map(|c| (c.memory, c.cpu)).collect();
        assert_eq!(values, [(Some(4096), Some(7)), (None, None)]);
        let calls = calls.join().expect("no panic");
        let files = calls[0]["arg"]["args"].as_array().expect("a list").iter();
        let files = files.map(|file| {
            let part = |name: &str| file["file"][name].as_str().expect("a string").to_owned();
            format!("{} {}", part("path"), part("name"))
        });
        assert_eq!(
            files.collect::<Vec<_>>(),
            [
                "/web memory.usage_in_bytes",
                "/web cpuacct.usage",
                "/db memory.usage_in_bytes",
                "/db cpuacct.usage"
            ]
        );
    }

    #[test]
    fn a_sentry_without_cgroups_inside_has_none_and_one_that_miscounts_is_an_error() {
        let (mut sentry, _calls) = connection(vec![
            error("unknown method"),
            result(json!({"results": [{"value": "1", "is_error": false}]})),
        ]);
        let none = sentry.cgroups(&[container("web")]);
        assert!(none.expect("a response").is_empty());
        let few = sentry.cgroups(&[container("web")]).err();
        let few = few.expect("a value is missing").to_string();
        assert!(few.ends_with("1 values of 2 files"), "{few}");
    }

    #[test]
    fn all_calls_share_one_time_limit() {
        let (stream, _peer) = UnixStream::pair().expect("sockets");
        let time = Duration::from_millis(50);
        let mut sentry = Sentry {
            stream,
            deadline: Instant::now() + time,
            time,
        };
        for _ in 0..2 {
            let error = sentry.memory().expect_err("nobody responds");
            let error = format!("{error:#}");
            assert_eq!(error, "Usage.Collect: it took longer than 50ms");
        }
    }

    #[test]
    fn what_is_not_a_socket_is_not_connected_to() {
        let directory = tempdir().expect("a directory");
        let file = directory.path().join("file");
        std::fs::write(&file, "").expect("a file");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        for path in [directory.path(), &file, &link] {
            let error = connect_to_path(path).expect_err("it is not a socket");
            assert_eq!(error.to_string(), "it is not a socket", "{path:?}");
        }
    }
}
