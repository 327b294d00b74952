//! Where the facts come from.

mod cgroup;
mod gvisor;
mod oom;
mod runtime;
mod scenario;

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::OFlags;
use serde::Serialize;

use crate::error::{Refused, Result};
use crate::snapshot::Snapshot;
use runtime::Kind;

/// Something that can tell about sandboxes and their containers.
///
/// [`Spec::open`] opens the ones that come with this library. One of your own needs two functions; the
/// component does the accounting.
pub trait Source: Send {
    /// The containers that the source knows now.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    fn containers(&mut self) -> Result<Vec<Listed>>;

    /// The ID of the container that `container` means: itself, unless the source's users may shorten IDs.
    ///
    /// # Errors
    ///
    /// Where it could mean more than one.
    fn resolve(&mut self, container: &str) -> Result<String> {
        Ok(container.to_owned())
    }

    /// Begins the next instant. What is read from now on is no older, and readings of one sandbox may
    /// be the same until the next instant begins.
    ///
    /// # Errors
    ///
    /// Where the source can't be read.
    fn advance(&mut self) -> Result<()> {
        Ok(())
    }

    /// One reading of the sandbox that `container` belongs to.
    ///
    /// # Errors
    ///
    /// Where the source can't be read; [`NotFound`] where there is no such container any more. A
    /// snapshot without the container is as good, and says so in gVisor's words.
    fn snapshot(&mut self, container: &str) -> Result<Arc<Snapshot>>;

    /// Watches a container, of which there was a snapshot, for tasks that the kernel kills for want of
    /// memory. To do so again is nothing; it ends with the container. A source that knows nothing of such
    /// kills has nothing to do.
    ///
    /// # Errors
    ///
    /// Where that is not allowed, or there are too many.
    fn watch_oom(&mut self, _container: &str) -> Result<()> {
        Ok(())
    }

    /// What is readable when [`Source::oom_kills`] may have something to tell.
    fn oom_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// The watched containers in which tasks were killed since the last call, each as often as that
    /// happened.
    fn oom_kills(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// A container that a source knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The ID of the container.
    pub id: String,
    /// The ID of the root container of its sandbox: its own where it is alone.
    pub sandbox: String,
    /// The source, as `--source` takes it.
    pub source: String,
}

/// A source by name: what `--source` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `scenario:FILE`: recorded or invented instants.
    Scenario(PathBuf),
    /// `demo`: a built-in scenario of a pod.
    Demo,
    /// `cgroup[:ROOT]`: each group below ROOT is a container.
    Cgroup(Option<PathBuf>),
    /// `runc[:ROOT]`: the containers in runc's state folder.
    Runc(Option<PathBuf>),
    /// `crun[:ROOT]`: the containers in crun's state folder.
    Crun(Option<PathBuf>),
    /// `gvisor[:ROOT]`: the containers in runsc's root folder.
    Gvisor(Option<PathBuf>),
    /// Whatever runtime knows the container, looked up in that state folder, or in the usual ones.
    Runtime(Option<PathBuf>),
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(spec: &str) -> Result<Self, String> {
        let (kind, place) = match spec.split_once(':') {
            Some((kind, place)) => (kind, Some(PathBuf::from(place))),
            None => (spec, None),
        };
        if place
            .as_ref()
            .is_some_and(|place| place.as_os_str().is_empty())
        {
            return Err("nothing stands behind the colon".to_owned());
        }
        match (kind, place) {
            ("scenario", Some(file)) => Ok(Self::Scenario(file)),
            ("scenario", None) => Err("a scenario needs a file: scenario:FILE".to_owned()),
            ("demo", None) => Ok(Self::Demo),
            ("cgroup", root) => Ok(Self::Cgroup(root)),
            ("runc", root) => Ok(Self::Runc(root)),
            ("crun", root) => Ok(Self::Crun(root)),
            ("gvisor", root) => Ok(Self::Gvisor(root)),
            _ => Err(
                "there are scenario:FILE, demo, cgroup[:ROOT], runc[:ROOT], crun[:ROOT] and \
                gvisor[:ROOT]"
                    .to_owned(),
            ),
        }
    }
}

impl Spec {
    /// Opens the source.
    ///
    /// # Errors
    ///
    /// Where a scenario is not valid, or there is no cgroup filesystem where one is expected. A
    /// runtime's state is only read when a container is asked for.
    pub fn open(&self) -> Result<Box<dyn Source>> {
        Ok(match self {
            Self::Scenario(file) => Box::new(scenario::Scenario::open(file)?),
            Self::Demo => Box::new(scenario::Scenario::demo()?),
            Self::Cgroup(root) => Box::new(cgroup::Cgroups::open(root.as_deref())?),
            Self::Runc(root) => Box::new(runtime::Runtimes::new(&[Kind::Runc], root.clone())),
            Self::Crun(root) => Box::new(runtime::Runtimes::new(&[Kind::Crun], root.clone())),
            Self::Gvisor(root) => Box::new(runtime::Runtimes::new(&[Kind::Gvisor], root.clone())),
            Self::Runtime(root) => {
                let kinds = [Kind::Runc, Kind::Crun, Kind::Gvisor];
                Box::new(runtime::Runtimes::new(&kinds, root.clone()))
            }
        })
    }
}

/// Checks that `id` can name a folder and leads nowhere else: it comes from outside.
fn check_folder_name(id: &str) -> Result<()> {
    let why = if id.is_empty() {
        "it is empty"
    } else if id.len() > 255 {
        "it is longer than 255 bytes"
    } else if id == "." || id == ".." {
        "it names a folder of its own accord"
    } else if id.contains(['/', '\0']) {
        "it has a slash or a NUL in it"
    } else {
        return Ok(());
    };
    Err(Refused(format!(
        "no container of this source can have such an ID: {why}"
    ))
    .into())
}

/// The whole of a file of up to `limit` bytes.
pub(crate) fn read(mut file: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.by_ref().take(limit).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == limit && file.read(&mut [0])? > 0 {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// The whole of a small text file that a kernel or a runtime wrote.
fn read_text(path: &Path) -> io::Result<String> {
    const LIMIT: u64 = 16 << 20;
    // In a folder of the user's making it could be a pipe that nobody writes to.
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    String::from_utf8(read(file, LIMIT)?).map_err(|_| io::Error::other("it is not UTF-8"))
}
