//! The host functions of the contract, interface `sandbox`: each returns a fact of one snapshot.

use std::sync::Arc;

use super::limiter::Limiter;
use crate::bindings::sandbox;
use crate::bindings::types::{self, Stats};
use crate::snapshot::{Container, Snapshot};

/// The state of an instance on the host's side: all that the instance can reach.
pub(super) struct State {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) limiter: Limiter,
}

impl State {
    fn container(&self, id: &str) -> Result<&Container, sandbox::Error> {
        let mut containers = self.snapshot.containers.iter();
        let container = containers.find(|container| container.id == id);
        container.ok_or(sandbox::Error::ContainerNotFound)
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
        Ok(self.container(&container)?.stats.as_deref().cloned())
    }
}
