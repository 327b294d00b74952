//! Errors that come again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use eventout::Error;

use super::diagnostics::{clean, render};
use super::output::Output;

/// The errors of the containers of a stream: each is printed when it changes, not once a sample.
#[derive(Default)]
pub(super) struct Repeats {
    hasher: RandomState,
    /// The last error of each container that has one.
    errors: HashMap<String, Repeated>,
    /// How often each cause occurred as something new in this sample.
    causes: HashMap<u64, u64>,
    sample: u64,
}

struct Repeated {
    hash: u64,
    times: u64,
    sample: u64,
}

impl Repeats {
    /// The most errors of one cause that are printed of one sample.
    const ALIKE: u64 = 16;

    /// Prints the error of a container if it is not the one of the last sample.
    pub(super) fn failed(&mut self, container: &str, error: &Error, out: &mut Output) {
        let text = render(error);
        let hash = self.hasher.hash_one(&text);
        let sample = self.sample;
        if let Some(last) = self.errors.get_mut(container) {
            last.sample = sample;
            if last.hash == hash {
                last.times += 1;
                return;
            }
        }
        self.recovered(container, out);
        let new = Repeated {
            hash,
            times: 0,
            sample,
        };
        self.errors.insert(container.to_owned(), new);
        // The outermost message names the container.
        let cause = text.split_once('\n').map_or(&*text, |(_, cause)| cause);
        let alike = self.causes.entry(self.hasher.hash_one(cause)).or_default();
        *alike += 1;
        if *alike <= Self::ALIKE {
            out.diagnose(&text);
        }
    }

    /// Says how often the last error of a container was not printed.
    pub(super) fn recovered(&mut self, container: &str, out: &mut Output) {
        if self.errors.is_empty() {
            return;
        }
        if let Some(Repeated { times, .. }) = self.errors.remove(container)
            && times > 0
        {
            // An error of the source as a whole belongs to no container.
            let of = match container {
                "" => String::new(),
                id => format!(" of container {:?}", clean(format_args!("{id:.64}"))),
            };
            out.diagnose(&format!(
                "note: the last error{of} occurred {times} more times"
            ));
        }
    }

    /// Ends a sample.
    pub(super) fn end_sample(&mut self, out: &mut Output) {
        for (_, alike) in self.causes.drain() {
            if let Some(more @ 1..) = alike.checked_sub(Self::ALIKE) {
                out.diagnose(&format!("note: {more} more containers had the same error"));
            }
        }
        let sample = self.sample;
        self.errors.retain(|_, error| error.sample == sample);
        self.sample += 1;
    }
}
