//! Errors that come again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use eventout::Error;

use super::diagnostics::{clean, render};

/// Prints a message.
pub(super) type Print<'a> = dyn FnMut(&str) + 'a;

/// The errors of the containers of a stream: each is printed when it changes, not once a sample.
#[derive(Default)]
pub(super) struct Repeats {
    hasher: RandomState,
    /// The last error of each container that has one.
    errors: HashMap<String, Repeated>,
    /// The number of times that each cause occurred as something new in this sample.
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
    pub(super) fn failed(&mut self, container: &str, error: &Error, print: &mut Print<'_>) {
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
        self.recovered(container, print);
        let new = Repeated {
            hash,
            times: 0,
            sample,
        };
        self.errors.insert(container.to_owned(), new);
        // The outermost message names the container.
        let cause = text.split_once('\n').map_or(&*text, |(_, cause)| cause);
        let count = self.causes.entry(self.hasher.hash_one(cause)).or_default();
        *count += 1;
        if *count <= Self::ALIKE {
            print(&text);
        }
    }

    /// Says how often the last error of a container was not printed.
    pub(super) fn recovered(&mut self, container: &str, print: &mut Print<'_>) {
        if self.errors.is_empty() {
            return;
        }
        if let Some(Repeated { times, .. }) = self.errors.remove(container)
            && times > 0
        {
            // An error of the source as a whole belongs to no container.
            let of = match container {
                "" => String::new(),
                id => format!(" of container \"{}\"", clean(format_args!("{id:.64}"))),
            };
            print(&format!(
                "note: the last error{of} occurred {times} more times"
            ));
        }
    }

    /// Ends a sample.
    pub(super) fn end_sample(&mut self, print: &mut Print<'_>) {
        for (_, alike) in self.causes.drain() {
            if let Some(more @ 1..) = alike.checked_sub(Self::ALIKE) {
                print(&format!("note: {more} more containers had the same error"));
            }
        }
        let sample = self.sample;
        self.errors.retain(|_, error| error.sample == sample);
        self.sample += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eventout::ErrorKind;

    fn error(container: &str, cause: &str) -> Error {
        Error::new(ErrorKind::Source, cause).context(format!("cannot read {container}"))
    }

    #[test]
    fn errors_are_printed_when_they_change() {
        let mut repeats = Repeats::default();
        let mut printed = Vec::new();
        for sample in 0..10 {
            let print: &mut Print<'_> = &mut |text| printed.push((sample, text.to_owned()));
            match sample {
                0..4 => repeats.failed("web", &error("web", "denied"), print),
                4..6 => repeats.failed("web", &error("web", "busy"), print),
                6..8 => repeats.recovered("web", print),
                _ => repeats.failed("web", &error("web", "busy"), print),
            }
            repeats.recovered("db", print);
            repeats.end_sample(print);
        }
        let error = |cause| format!("error: cannot read web\nCaused by:\n    0: {cause}");
        let note = |times| {
            format!("note: the last error of container \"web\" occurred {times} more times")
        };
        let expected = [
            (0, error("denied")),
            (4, note(3)),
            (4, error("busy")),
            (6, note(1)),
            (8, error("busy")),
        ];
        assert_eq!(printed, expected);
    }

    #[test]
    fn errors_of_one_cause_are_counted() {
        let mut repeats = Repeats::default();
        let mut printed = Vec::new();
        for _ in 0..2 {
            let print: &mut Print<'_> = &mut |text| printed.push(text.to_owned());
            for container in 0..100_000 {
                let id = container.to_string();
                repeats.failed(&id, &error(&id, "denied"), print);
            }
            repeats.end_sample(print);
        }
        assert_eq!(printed.len(), 17);
        assert_eq!(
            printed[16],
            "note: 99984 more containers had the same error"
        );
    }

    #[test]
    fn containers_that_have_gone_are_forgotten() {
        let mut repeats = Repeats::default();
        for container in 0..100 {
            let id = container.to_string();
            repeats.failed(&id, &error(&id, "denied"), &mut |_| {});
            repeats.end_sample(&mut |_| {});
        }
        assert_eq!(repeats.errors.len(), 1);
    }
}
