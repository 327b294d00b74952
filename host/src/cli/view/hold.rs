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
    /// The number of values that were held.
    pub(crate) held: u64,
}

impl Hold {
    /// Raises what would go backwards to where it was. `unread` are the IDs of containers that exist, but could not be
    /// read. Containers that are in neither are forgotten.
    pub(crate) fn apply(&mut self, containers: &mut [Container], unread: &[String]) {
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
        self.highest
            .extend(unread.iter().filter_map(|id| before.remove_entry(id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventout::{ContainerInfo, Details};
    use std::sync::Arc;
    use std::time::Instant;

    fn container(runtime: &str, started: Option<u64>, total: u64) -> Container {
        let mut details = Details::default();
        details.runtime = Some(runtime.to_owned());
        details.started = started;
        let mut container = Container {
            instant: Instant::now(),
            info: ContainerInfo {
                id: "web".to_owned(),
                sandbox: "web".to_owned(),
                source: String::new(),
            },
            details: Arc::new(details),
            usage: Default::default(),
        };
        container.usage.cpu.total = Some(total);
        container
    }

    /// Returns what is shown of containers, one a view, and how often something was held.
    fn shown(views: impl IntoIterator<Item = Option<Container>>) -> (Vec<Option<u64>>, u64) {
        let mut hold = Hold::default();
        let mut shown = Vec::new();
        for container in views {
            let mut containers = Vec::from_iter(container);
            hold.apply(&mut containers, &[]);
            shown.extend(containers.iter().map(|c| c.usage.cpu.total));
        }
        (shown, hold.held)
    }

    #[test]
    fn a_share_that_falls_is_held_until_it_is_higher_again() {
        let views =
            [100, 120, 105, 119, 121].map(|total| Some(container("gvisor", Some(1), total)));
        assert_eq!(
            shown(views),
            ([100, 120, 120, 120, 121].map(Some).into(), 2)
        );
    }

    #[test]
    fn a_container_that_begins_again_begins_at_0() {
        let again = [(Some(1), 100), (Some(2), 5)];
        let views = again.map(|(started, total)| Some(container("gvisor", started, total)));
        assert_eq!(shown(views), ([100, 5].map(Some).into(), 0));
        // One that was away is another one, too.
        let views = [
            Some(container("gvisor", None, 100)),
            None,
            Some(container("gvisor", None, 5)),
        ];
        assert_eq!(shown(views), ([100, 5].map(Some).into(), 0));
    }

    #[test]
    fn a_share_is_held_over_a_view_without_it() {
        let mut hold = Hold::default();
        hold.apply(&mut [container("gvisor", Some(1), 120)], &[]);
        hold.apply(&mut [], &["web".to_owned()]);
        let mut containers = [container("gvisor", Some(1), 105)];
        hold.apply(&mut containers, &[]);
        assert_eq!(containers[0].usage.cpu.total, Some(120));
    }

    #[test]
    fn counters_of_the_kernel_are_shown_as_they_are() {
        let views = [100, 5].map(|total| Some(container("runc", Some(1), total)));
        assert_eq!(shown(views), ([100, 5].map(Some).into(), 0));
    }
}
