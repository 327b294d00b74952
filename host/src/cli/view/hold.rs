//! Counters that never go backwards.

use std::collections::HashMap;

use super::Container;

/// The highest CPU times of containers of gVisor.
///
/// There, a container's CPU time is its share of what the cgroup of the sandbox has used, and the share falls when other
/// containers work (gVisor's `containerManager.Event`). Prometheus takes a counter that falls for one that began again at
/// 0, and an idle container would seem to use many CPUs. All other counters only fall when they begin again.
#[derive(Default)]
pub(crate) struct Hold {
    /// By ID, with the start time of the container.
    highest: HashMap<String, (Option<u64>, u64)>,
    /// How often a value was held.
    pub(crate) held: u64,
}

impl Hold {
    /// Raises what would go backwards to where it was. Containers that are not among these are forgotten.
    pub(crate) fn apply(&mut self, containers: &mut [Container]) {
        let mut before = std::mem::take(&mut self.highest);
        for container in containers {
            let details = &container.details;
            let is_gvisor = details.runtime.as_deref() == Some("gvisor");
            let Some(total) = container.usage.cpu.total.as_mut().filter(|_| is_gvisor) else {
                continue;
            };
            let id = &container.info.id;
            if let Some((id, (started, highest))) = before.remove_entry(id) {
                if started == details.started && *total < highest {
                    *total = highest;
                    self.held += 1;
                }
                self.highest.insert(id, (details.started, *total));
            } else {
                self.highest.insert(id.clone(), (details.started, *total));
            }
        }
    }
}
