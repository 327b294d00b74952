//! The host functions of the contract, interface `sandbox`: each returns a fact of one snapshot.

use std::sync::Arc;

use super::limiter::Limiter;
use crate::bindings::sandbox;
use crate::bindings::types::{self, Stats};
use crate::snapshot::{Container, Snapshot};

/// The state of an instance on the host's side: all that the instance can reach.
pub(super) struct State {
    pub(super) snapshot: Arc<Snapshot>,
    /// The place there of the container that the last call was about.
    last: usize,
    pub(super) limiter: Limiter,
}

impl State {
    pub(super) fn new(snapshot: Arc<Snapshot>, limiter: Limiter) -> Self {
        Self {
            snapshot,
            last: 0,
            limiter,
        }
    }

    /// Replaces the snapshot.
    pub(super) fn set_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = snapshot;
        self.last = 0;
    }

    /// Finds a container. The search begins where the last one ended, since a component calls for one after the
    /// other.
    fn container(&mut self, id: &str) -> Result<&Container, sandbox::Error> {
        let containers = &self.snapshot.containers;
        let (before, behind) = containers.split_at(self.last.min(containers.len()));
        let mut places = (self.last..).zip(behind).chain((0..).zip(before));
        let (at, container) = places
            .find(|(_, container)| container.id == id)
            .ok_or(sandbox::Error::ContainerNotFound)?;
        self.last = at;
        Ok(container)
    }
}

impl types::Host for State {}

impl sandbox::Host for State {
    fn pids_count(&mut self, container: String) -> Result<u64, sandbox::Error> {
        let container = self.container(&container)?;
        match &container.error {
            None => Ok(container.pids_count),
            Some(error) => Err(sandbox::Error::Unavailable(error.clone())),
        }
    }

    fn memory_usage(&mut self) -> Result<Option<u64>, sandbox::Error> {
        Ok(self.snapshot.memory_usage)
    }

    fn container_count(&mut self) -> Result<u64, sandbox::Error> {
        Ok(self.snapshot.containers.len() as u64)
    }

    fn root_container(&mut self) -> Result<String, sandbox::Error> {
        Ok(self.snapshot.root_container.clone())
    }

    fn cpu_usage(&mut self) -> Result<Vec<(String, u64)>, sandbox::Error> {
        let containers = self.snapshot.containers.iter();
        let usage = containers.filter_map(|c| Some((c.id.clone(), c.cpu_usage?)));
        Ok(usage.collect())
    }

    fn cgroup_cpu_usage(&mut self) -> Result<Option<u64>, sandbox::Error> {
        Ok(self.snapshot.cgroup_cpu_usage)
    }

    fn container_stats(&mut self, container: String) -> Result<Option<Stats>, sandbox::Error> {
        self.container(&container)
            .map(|container| container.stats.as_deref().cloned())
    }
}
