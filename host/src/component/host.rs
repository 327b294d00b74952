//! The interface `sandbox` of the contract: answers a component's calls from one snapshot.

use std::sync::Arc;

use super::limiter::Limiter;
use crate::bindings::sandbox;
use crate::bindings::types::{self, ContainerCpu, Stats};
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
            None => Ok(container.pids),
            Some(error) => Err(sandbox::Error::Unavailable(error.clone())),
        }
    }

    fn update_memory_usage(&mut self) -> Result<(), sandbox::Error> {
        match &self.snapshot.update_memory_error {
            None => Ok(()),
            Some(error) => Err(sandbox::Error::Unavailable(error.clone())),
        }
    }

    fn usage(&mut self) -> Result<sandbox::SandboxUsage, sandbox::Error> {
        let snapshot = &*self.snapshot;
        let containers = snapshot.containers.iter();
        let listed = containers.filter_map(|container| Some((&container.id, container.cpu_ns?)));
        let bytes = listed.clone().map(|(id, _)| id.len() + 1).sum();
        let mut containers = String::with_capacity(bytes);
        let mut usage = Vec::with_capacity(snapshot.containers.len());
        for (id, ns) in listed {
            if !usage.is_empty() {
                containers.push('\0');
            }
            containers.push_str(id);
            usage.push(ns);
        }
        Ok(sandbox::SandboxUsage {
            memory: snapshot.memory_bytes,
            container_count: snapshot.containers.len() as u64,
            // Nobody needs it of a container alone, and each text costs a call into the component.
            root_container: (snapshot.containers.len() > 1).then(|| snapshot.root.clone()),
            cpu: ContainerCpu { containers, usage },
        })
    }

    fn cgroup_cpu_usage(&mut self) -> Result<Option<u64>, sandbox::Error> {
        Ok(self.snapshot.cgroup_cpu_ns)
    }

    fn container_stats(&mut self, container: String) -> Result<Option<Stats>, sandbox::Error> {
        self.container(&container)
            .map(|container| container.stats.as_deref().cloned())
    }
}
