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

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Context as _, Error, Result, bail, error};
use crate::snapshot::Container;
use crate::text::shorten;

/// How long all questions to one sentry may take together.
const TIME: Duration = Duration::from_secs(2);

/// The longest answer, in bytes: some 100,000 containers.
const LIMIT: usize = 16 << 20;

/// A container by the account of the cgroups inside the sandbox.
pub(super) struct Inner {
    /// In bytes.
    pub(super) memory: Option<u64>,
    /// In nanoseconds.
    pub(super) cpu: Option<u64>,
}

/// A connection to a sentry.
pub(super) struct Sentry {
    stream: UnixStream,
    deadline: Instant,
}

/// CPU time by container, in nanoseconds.
pub(super) type Usage = HashMap<String, u64>;

/// What a sentry answers: the result, or its error.
type Answer<T> = Result<T, String>;

impl Sentry {
    /// Connects to the control socket: the one that the state names, the one in the root folder, or, with old
    /// versions, the one in the abstract namespace.
    pub(super) fn connect(root: &Path, id: &str, named: Option<&Path>) -> Result<Self> {
        let in_root = root.join(format!("runsc-{id}.sock"));
        let paths = [named.filter(|path| path.is_absolute()), Some(&*in_root)];
        let path = paths.into_iter().flatten().find(|path| path.exists());
        let (name, address) = match path {
            Some(path) => (path.display().to_string(), SocketAddrUnix::new(path)),
            None => {
                // The name ends in a NUL, as the sentry's does.
                let name = format!("runsc-sandbox.{id}\0");
                let address = SocketAddrUnix::new_abstract_name(name.as_bytes());
                (format!("@runsc-sandbox.{id}"), address)
            }
        };
        let connect = || -> io::Result<UnixStream> {
            // Without waiting: a server that doesn't accept would block us for good.
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket =
                rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            rustix::net::connect(&socket, &address?)?;
            let stream = UnixStream::from(socket);
            stream.set_nonblocking(false)?;
            Ok(stream)
        };
        Ok(Self {
            stream: connect().with_context(|| format!("cannot connect to {name}"))?,
            deadline: Instant::now() + TIME,
        })
    }

    /// The live tasks of a container, and the CPU time of all containers in nanoseconds, where the sentry
    /// tells it here. `None` where the sentry doesn't know the container.
    pub(super) fn event(&mut self, id: &str) -> Result<Option<(u64, Option<Usage>)>> {
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
        match self.ask::<EventOut>(METHOD, id)? {
            Ok(out) => Ok(Some((out.event.data.pids.current, out.usage))),
            // Before July 2023, there was no argument.
            Err(error) if error.contains("cannot unmarshal string") => {
                let out: EventOut = self.expect(METHOD, json!({}))?;
                Ok(Some((self.threads(id)?, out.usage)))
            }
            Err(error) if error.ends_with(" not found") => Ok(None),
            Err(error) => Err(refused(METHOD, &error)),
        }
    }

    /// The threads of a container's processes.
    fn threads(&mut self, id: &str) -> Result<u64> {
        #[derive(Deserialize)]
        struct Process {
            threads: Vec<IgnoredAny>,
        }
        let processes: Option<Vec<Process>> = self.expect("containerManager.Processes", id)?;
        let processes = processes.unwrap_or_default();
        Ok(processes
            .iter()
            .map(|process| process.threads.len() as u64)
            .sum())
    }

    /// The memory of the whole sandbox, in bytes.
    pub(super) fn memory(&mut self) -> Result<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Kinds {
            total: u64,
        }
        let usage: Kinds = self.expect("Usage.Collect", json!({"Full": true}))?;
        Ok(usage.total)
    }

    /// The containers by the account of the cgroups inside, in the same order. Empty where there are none.
    pub(super) fn cgroups(&mut self, containers: &[Container]) -> Result<Vec<Inner>> {
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
        let values = match self.ask("Cgroups.ReadControlFiles", json!({"args": files}))? {
            Ok(Values { results }) => results.unwrap_or_default(),
            // A sentry without cgroups is as good as one without the method.
            Err(_) => return Ok(Vec::new()),
        };
        if values.len() != files.len() {
            bail!(
                Source,
                "Cgroups.ReadControlFiles: {} answers to {} questions",
                values.len(),
                files.len()
            );
        }
        let figure = |value: &Value| match value.is_error {
            true => None,
            false => value.value.parse().ok(),
        };
        let inner = values.chunks_exact(2).map(|pair| Inner {
            memory: figure(&pair[0]),
            cpu: figure(&pair[1]),
        });
        Ok(inner.collect())
    }

    /// Asks, and takes the sentry's error for ours.
    fn expect<T: DeserializeOwned>(&mut self, method: &str, argument: impl Serialize) -> Result<T> {
        self.ask(method, argument)?
            .map_err(|error| refused(method, &error))
    }

    /// One question and its answer.
    fn ask<T: DeserializeOwned>(
        &mut self,
        method: &str,
        argument: impl Serialize,
    ) -> Result<Answer<T>> {
        #[derive(Deserialize)]
        struct Reply<T> {
            success: bool,
            #[serde(default)]
            err: String,
            result: Option<T>,
        }
        let exchange = || -> Result<Answer<T>> {
            let question = json!({"method": method, "arg": argument}).to_string();
            self.stream.set_write_timeout(Some(self.left()?))?;
            (&self.stream).write_all(question.as_bytes())?;
            let reader = BufReader::new(Answers {
                sentry: self,
                bytes: 0,
            });
            let mut json = serde_json::Deserializer::from_reader(reader);
            let reply = Reply::<T>::deserialize(&mut json).map_err(io::Error::other)?;
            Ok(match (reply.success, reply.result) {
                (false, _) => Err(reply.err),
                (true, Some(result)) => Ok(result),
                // It may be that null is the result.
                (true, None) => Ok(serde_json::from_str("null").context("there is no result")?),
            })
        };
        exchange().with_context(|| method.to_owned())
    }

    /// What is left of the time, which is more than nothing.
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::other(format!("it took longer than {TIME:?}")));
        }
        Ok(left)
    }
}

/// What a sentry sends, as long as it is in time and not too much.
struct Answers<'a> {
    sentry: &'a Sentry,
    bytes: usize,
}

impl Read for Answers<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut stream = &self.sentry.stream;
        let read = loop {
            stream.set_read_timeout(Some(self.sentry.left()?))?;
            match stream.read(buffer) {
                // The time is over, or almost.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                read => break read?,
            }
        };
        self.bytes += read;
        if self.bytes > LIMIT {
            return Err(io::Error::other(format!(
                "it answers with more than {LIMIT} bytes"
            )));
        }
        Ok(read)
    }
}

/// A sentry's error as ours: a method that it doesn't have, most of all.
fn refused(method: &str, error: &str) -> Error {
    error!(Source, "{method}: the sentry says {}", shorten(error))
}
