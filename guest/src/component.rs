//! The edge of the component: what it imports and what it exports, by the rules of the canonical ABI.
//!
//! Generated bindings would lift each answer of the host into values of Rust, and lower each event from such
//! values again. With [`crate::types`] there is nothing to do: they lie in memory as the ABI wants them.
//!
//! `'static` means: until the next call, with which [`arena::begin`] frees all memory. Nothing lives longer, since
//! the component keeps nothing from one call to the next. So no function has a `cabi_post_` companion, which a
//! host would have to call in order to say that it has taken the result.

use core::mem::MaybeUninit;
use core::{slice, str};

use crate::arena::{self, Room, keep};
use crate::event::{self, Event, Sandbox};
use crate::json::{self, Written};
use crate::types::{
    Answer, Dialect, Error, EventOut, HostError, List, Maybe, SandboxUsage, Stats, StatsEvent, Text,
};

/// What a function of the host answers.
type Told<T> = Answer<T, HostError<'static>>;

/// The functions of the host. Each writes its answer where its last argument points.
mod sandbox {
    use super::*;

    #[link(wasm_import_module = "eventout:stats/sandbox@0.1.0")]
    unsafe extern "C" {
        #[link_name = "pids-count"]
        pub fn pids_count(at: *const u8, len: usize, answer: *mut Told<u64>);
        #[link_name = "update-memory-usage"]
        pub fn update_memory_usage(answer: *mut Told<()>);
        #[link_name = "usage"]
        pub fn usage(answer: *mut Told<SandboxUsage<'static>>);
        #[link_name = "cgroup-cpu-usage"]
        pub fn cgroup_cpu_usage(answer: *mut Told<Maybe<u64>>);
        #[link_name = "container-stats"]
        pub fn container_stats(at: *const u8, len: usize, answer: *mut Told<Maybe<Stats<'static>>>);
    }
}

/// Keeps a text until the end of the call. There may be many, so none takes more room than it needs.
fn keep_text(mut text: Written) -> Text<'static> {
    text.shrink();
    Text::from(text.leak())
}

/// What the containers of a sandbox share, its CPU time by the host's account among it.
type Shared = Result<(&'static Sandbox<'static>, Option<u64>), Error<'static>>;

/// Questions to the host about that container and its sandbox.
#[derive(Clone, Copy)]
struct Ask(&'static str);

impl Ask {
    /// Asks one. An error is told in the caller's terms.
    ///
    /// # Safety
    ///
    /// `question` must hand its argument to the function of the host that has such an answer.
    #[inline(always)]
    unsafe fn host<T>(self, question: impl FnOnce(*mut Told<T>)) -> Result<T, Error<'static>> {
        let mut answer = MaybeUninit::uninit();
        question(answer.as_mut_ptr());
        // SAFETY: the host wrote a whole answer, or this would not be reached.
        match unsafe { answer.assume_init() } {
            Answer::Ok(value) => Ok(value),
            Answer::Err(error) => Err(self.blame(error)),
        }
    }

    /// A host's error in the caller's terms.
    #[cold]
    fn blame(self, error: HostError<'static>) -> Error<'static> {
        match error {
            HostError::ContainerNotFound => {
                Error::ContainerNotFound(keep_text(json::not_found(self.0)))
            }
            HostError::Unavailable(why) => Error::Unavailable(why),
        }
    }

    /// The live tasks: whether the container exists comes first, and no question follows an error.
    fn pids(self) -> Result<u64, Error<'static>> {
        let (at, len) = (self.0.as_ptr(), self.0.len());
        // SAFETY: the import says what it answers. So it is with the others below.
        unsafe { self.host(|answer| sandbox::pids_count(at, len, answer)) }
    }

    /// What the containers of the sandbox share.
    #[inline(never)]
    fn sandbox(self) -> Result<&'static Sandbox<'static>, Error<'static>> {
        // SAFETY: see `pids`.
        let facts = unsafe {
            // Best effort, as in gVisor: a figure that is a little old beats none.
            let _ = self.host(|answer| sandbox::update_memory_usage(answer));
            keep(self.host(|answer| sandbox::usage(answer))?)
        };
        Sandbox::new(facts).map(|sandbox| keep(sandbox))
    }

    /// The CPU time of the sandbox by the host's account. gVisor does without the figure where it can't be
    /// read.
    fn cgroup(self) -> Option<u64> {
        // SAFETY: see `pids`.
        let told = unsafe { self.host(|answer| sandbox::cgroup_cpu_usage(answer)) };
        told.ok()?.get()
    }

    /// What `answer` makes of the data of the stats event, where what is shared is known.
    #[inline(always)]
    fn stats<T>(
        self,
        pids: u64,
        sandbox: &Sandbox<'_>,
        cgroup: Option<u64>,
        answer: impl FnOnce(&Stats<'static>) -> T,
    ) -> Result<T, Error<'static>> {
        let (at, len) = (self.0.as_ptr(), self.0.len());
        // SAFETY: see `pids`.
        let own = unsafe { self.host(|answer| sandbox::container_stats(at, len, answer)) }?;
        let mut data = match own {
            Maybe::Some(own) => own,
            Maybe::None => Stats::unknown(),
        };
        event::complete(&mut data, self.0, pids, sandbox, cgroup);
        Ok(answer(&data))
    }

    /// The line of a container in a sweep. Where no container is there, nothing is shared.
    fn swept(
        self,
        pids: Result<u64, Error<'static>>,
        shared: Option<Shared>,
        dialect: Dialect,
    ) -> Result<Text<'static>, Error<'static>> {
        let pids = pids?;
        let shared = shared.unwrap_or(Err(Error::Unavailable(Text::default())));
        let (sandbox, cgroup) = match shared {
            // It names the one that was asked about.
            Err(Error::ContainerNotFound(_)) => {
                return Err(self.blame(HostError::ContainerNotFound));
            }
            shared => shared?,
        };
        self.line(pids, sandbox, cgroup, dialect)
    }

    #[inline(never)]
    fn line(
        self,
        pids: u64,
        sandbox: &Sandbox<'_>,
        cgroup: Option<u64>,
        dialect: Dialect,
    ) -> Result<Text<'static>, Error<'static>> {
        self.stats(pids, sandbox, cgroup, |data| {
            keep_text(json::stats_event(self.0, data, dialect))
        })
    }

    fn event(self) -> Result<Event<'static>, Error<'static>> {
        let pids = self.pids()?;
        Ok(Event::new(self.0, pids, self.sandbox()?))
    }

    fn stats_event(self) -> Result<StatsEvent<'static>, Error<'static>> {
        let pids = self.pids()?;
        let sandbox = self.sandbox()?;
        let id = self.0.into();
        self.stats(pids, sandbox, self.cgroup(), |data| StatsEvent {
            id,
            data: *data,
        })
    }

    fn stats_line(self, dialect: Dialect) -> Result<Text<'static>, Error<'static>> {
        let pids = self.pids()?;
        let sandbox = self.sandbox()?;
        self.line(pids, sandbox, self.cgroup(), dialect)
    }
}

/// A line of each container.
fn sweep(
    containers: &[Text<'static>],
    dialect: Dialect,
) -> Room<Answer<Text<'static>, Error<'static>>> {
    let mut asked = Room::new(containers.len());
    for container in containers {
        let ask = Ask(container.text());
        asked.push((ask, ask.pids()));
    }
    // What they share is asked for in the name of the first one that is there.
    let there = asked.iter().find(|(_, pids)| pids.is_ok());
    let shared = there.map(|(ask, _)| {
        let sandbox = ask.sandbox()?;
        Ok((sandbox, ask.cgroup()))
    });
    let mut lines = Room::new(containers.len());
    for &(ask, pids) in asked.iter() {
        let line = ask.swept(pids, shared, dialect);
        lines.push(line.into());
    }
    lines
}

/// Begins a call with what the caller hands over, a string or list: where its items lie, and how many there are.
///
/// # Safety
///
/// They must be there.
unsafe fn given<T>(at: *const T, len: usize) -> &'static [T] {
    arena::begin();
    // SAFETY: the canonical ABI puts them into memory that nobody else has. Of nothing, that is nowhere.
    match len {
        0 => &[],
        _ => unsafe { slice::from_raw_parts(at, len) },
    }
}

/// The same of the ID of a container.
///
/// # Safety
///
/// See [`given`]. It must be UTF-8.
unsafe fn ask(at: *const u8, len: usize) -> Ask {
    // SAFETY: the canonical ABI obliges callers to that.
    Ask(unsafe { str::from_utf8_unchecked(given(at, len)) })
}

/// Ends a call with its result, which the caller takes from where it lies.
fn done<T>(result: T) -> &'static T {
    let result = keep(result);
    arena::end();
    result
}

/// The functions of `events`. What they answer lies where the result points.
mod events {
    use super::*;

    /// `result<T, error>`
    type Result<T> = Answer<T, Error<'static>>;

    #[unsafe(export_name = "eventout:stats/events@0.1.0#event")]
    unsafe extern "C" fn event(at: *const u8, len: usize) -> &'static Result<EventOut<'static>> {
        // SAFETY: so says the contract, here and below.
        let ask = unsafe { ask(at, len) };
        done(ask.event().map(|event| event.out()).into())
    }

    #[unsafe(export_name = "eventout:stats/events@0.1.0#event-json")]
    unsafe extern "C" fn event_json(at: *const u8, len: usize) -> &'static Result<Text<'static>> {
        // SAFETY: see `event`.
        let ask = unsafe { ask(at, len) };
        let line = ask.event().map(|event| keep_text(json::event_out(&event)));
        done(line.into())
    }

    #[unsafe(export_name = "eventout:stats/events@0.1.0#stats")]
    unsafe extern "C" fn stats(at: *const u8, len: usize) -> &'static Result<StatsEvent<'static>> {
        // SAFETY: see `event`.
        let ask = unsafe { ask(at, len) };
        done(ask.stats_event().into())
    }

    #[unsafe(export_name = "eventout:stats/events@0.1.0#stats-json")]
    unsafe extern "C" fn stats_json(
        at: *const u8,
        len: usize,
        dialect: u32,
    ) -> &'static Result<Text<'static>> {
        // SAFETY: see `event`.
        let ask = unsafe { ask(at, len) };
        done(ask.stats_line(Dialect::of(dialect)).into())
    }

    #[unsafe(export_name = "eventout:stats/events@0.1.0#sweep-json")]
    unsafe extern "C" fn sweep_json(
        at: *const Text<'static>,
        len: usize,
        dialect: u32,
    ) -> &'static List<'static, Result<Text<'static>>> {
        // SAFETY: see `event`.
        let containers = unsafe { given(at, len) };
        done(List::from(&*sweep(containers, Dialect::of(dialect)).leak()))
    }

    #[unsafe(export_name = "eventout:stats/events@0.1.0#oom-json")]
    unsafe extern "C" fn oom_json(at: *const u8, len: usize) -> &'static Text<'static> {
        // SAFETY: see `event`.
        let ask = unsafe { ask(at, len) };
        done(keep_text(json::oom_event(ask.0)))
    }
}

/// A panic is a bug of ours, and a trap all that it needs: without the message, the code that would
/// format it goes too.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
