//! Sources by name.

use std::path::PathBuf;
use std::str::FromStr;

use super::Source;
use super::cgroup::Cgroups;
use super::runtime::Runtimes;
use super::scenario::Scenario;
use super::state_dir::RuntimeKind;
use crate::error::{Error, Result, bail};

/// A source by name: what `--source` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceSpec {
    /// `scenario:FILE`: recorded or invented samples.
    Scenario(PathBuf),
    /// `demo`: a built-in scenario of a pod.
    Demo,
    /// `cgroup[:ROOT]`: each child of the cgroup ROOT is a container.
    Cgroup(Option<PathBuf>),
    /// `runc[:ROOT]`: the containers in runc's state directory.
    Runc(Option<PathBuf>),
    /// `crun[:ROOT]`: the containers in crun's state directory.
    Crun(Option<PathBuf>),
    /// `gvisor[:ROOT]`: the containers in runsc's root directory.
    Gvisor(Option<PathBuf>),
    /// Whatever runtime knows the container, looked up in that directory, or in the usual ones.
    Runtime(Option<PathBuf>),
}

impl FromStr for SourceSpec {
    type Err = Error;

    /// Parses what `--source` takes: a kind, and where it has one, a colon and a path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`](crate::ErrorKind::InvalidRequest) if there is no such kind, a path is missing, or
    /// there is nothing behind the colon.
    fn from_str(spec: &str) -> Result<Self> {
        let (kind, place) = match spec.split_once(':') {
            Some((kind, place)) => (kind, Some(PathBuf::from(place))),
            None => (spec, None),
        };
        if place
            .as_ref()
            .is_some_and(|place| place.as_os_str().is_empty())
        {
            bail!(InvalidRequest, "nothing stands behind the colon");
        }
        match (kind, place) {
            ("scenario", Some(file)) => Ok(Self::Scenario(file)),
            ("scenario", None) => bail!(InvalidRequest, "a scenario needs a file: scenario:FILE"),
            ("demo", None) => Ok(Self::Demo),
            ("cgroup", root) => Ok(Self::Cgroup(root)),
            ("runc", root) => Ok(Self::Runc(root)),
            ("crun", root) => Ok(Self::Crun(root)),
            ("gvisor", root) => Ok(Self::Gvisor(root)),
            _ => bail!(
                InvalidRequest,
                "there are scenario:FILE, demo, cgroup[:ROOT], runc[:ROOT], crun[:ROOT] and \
                gvisor[:ROOT]"
            ),
        }
    }
}

impl SourceSpec {
    /// Opens the source.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Source`](crate::ErrorKind::Source) where a scenario is not valid, or there is no cgroup
    /// filesystem where one is expected. The state of a runtime is not read before a container is.
    pub fn open(&self) -> Result<Box<dyn Source>> {
        Ok(match self {
            Self::Scenario(file) => Box::new(Scenario::open(file)?),
            Self::Demo => Box::new(Scenario::demo()?),
            Self::Cgroup(root) => Box::new(Cgroups::open(root.as_deref())?),
            Self::Runc(root) => Box::new(Runtimes::new(&[RuntimeKind::Runc], root.clone())),
            Self::Crun(root) => Box::new(Runtimes::new(&[RuntimeKind::Crun], root.clone())),
            Self::Gvisor(root) => Box::new(Runtimes::new(&[RuntimeKind::Gvisor], root.clone())),
            Self::Runtime(root) => {
                let kinds = [RuntimeKind::Runc, RuntimeKind::Crun, RuntimeKind::Gvisor];
                Box::new(Runtimes::new(&kinds, root.clone()))
            }
        })
    }
}
