//! Sandboxes with more containers than the component can deal with.

use eventout::{Error, ErrorKind};

/// The sandboxes that exceed the limits of the component whatever container a call is about. The rest of their
/// containers is skipped, as the cost of each call grows with the sandbox.
#[derive(Default)]
pub(super) struct TooLarge {
    /// The sandbox of the last call.
    sandbox: Option<String>,
    /// The number of calls in a row that have exceeded a limit.
    exceeded: usize,
    /// The first container that was skipped of each such sandbox, and how many were.
    skipped: Vec<(String, usize)>,
}

impl TooLarge {
    /// The number of calls after which the rest is skipped.
    const CALLS: usize = 16;

    /// Returns whether the container is to be skipped.
    pub(super) fn skips(&mut self, id: &str, sandbox: Option<&str>) -> bool {
        if sandbox.is_none() || self.sandbox.as_deref() != sandbox || self.exceeded < Self::CALLS {
            return false;
        }
        if self.exceeded == Self::CALLS {
            self.exceeded += 1;
            self.skipped.push((id.to_owned(), 0));
        }
        if let Some((_, count)) = self.skipped.last_mut() {
            *count += 1;
        }
        true
    }

    /// Takes the result of a call about a container of that sandbox.
    pub(super) fn add(&mut self, sandbox: Option<&str>, error: Option<&Error>) {
        let exceeded = error.is_some_and(|e| e.kind() == ErrorKind::Limit);
        self.exceeded = match exceeded {
            true if self.sandbox.as_deref() == sandbox => self.exceeded + 1,
            exceeded => usize::from(exceeded),
        };
        if self.sandbox.as_deref() != sandbox {
            self.sandbox = sandbox.map(str::to_owned);
        }
    }

    /// Returns an error for each sandbox of which containers were skipped, with the first of these.
    pub(super) fn errors(self) -> impl Iterator<Item = (String, Error)> {
        self.skipped.into_iter().map(|(id, count)| {
            let why = "its sandbox exceeds the limits of the component";
            let what = format!("cannot get stats of {count} containers, from {id:?} on");
            (id, Error::new(ErrorKind::Limit, why).context(what))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_sandbox_that_exceeds_limits_is_skipped() {
        let mut too_large = TooLarge::default();
        let error = Error::new(ErrorKind::Limit, "too much");
        let mut called = Vec::new();
        for container in 0..1000 {
            let id = container.to_string();
            let sandbox = (container / 100).to_string();
            if too_large.skips(&id, Some(&sandbox)) {
                continue;
            }
            called.push(container);
            // In the sandbox 5, each call of 10 succeeds.
            let fails = container / 100 % 2 == 1 && !(container / 100 == 5 && container % 10 == 0);
            too_large.add(Some(&sandbox), fails.then_some(&error));
        }
        assert_eq!(called.len(), 600 + 4 * 16);
        let skipped = ["116", "316", "716", "916"].map(|id| (id.to_owned(), 84));
        assert_eq!(too_large.skipped, skipped);
        // Containers that were named are always tried.
        assert!(!too_large.skips("x", None));
    }
}
