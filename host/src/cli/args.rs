//! Arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use eventout::{Limits, SourceSpec};

use super::duration::{parse_interval, parse_size};

/// Stats events of containers, computed by a WebAssembly component
#[derive(Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Where the facts come from: scenario:FILE, demo, cgroup[:ROOT], runc[:ROOT], crun[:ROOT],
    /// gvisor[:ROOT] [default: the runtime that knows the container]
    #[arg(long, global = true, value_name = "SPEC")]
    pub(crate) source: Option<SourceSpec>,

    /// The state folder of the runtime that knows the container, instead of the usual ones: runc's and
    /// runsc's own flag
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "source")]
    pub(crate) root: Option<PathBuf>,

    // Clients of runtimes, such as containerd's shims, pass these two. Errors go to standard error.
    #[arg(long, global = true, hide = true)]
    pub(crate) log: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    pub(crate) log_format: Option<String>,

    /// A component that computes the events, instead of the built-in one, or that gives them a form
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Args)]
#[command(next_help_heading = "What one call of that component may take")]
pub(crate) struct LimitArgs {
    /// Time [default: 1s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_interval)]
    pub(crate) limit_time: Option<Duration>,

    /// Memory, in bytes, KiB, MiB or GiB [default: 64MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) limit_memory: Option<usize>,

    /// An answer, in bytes, KiB, MiB or GiB [default: 32MiB]
    #[arg(long, global = true, value_name = "SIZE", value_parser = parse_size)]
    pub(crate) limit_output: Option<usize>,

    /// Core modules, memories and tables, so many of each [default: 100]
    #[arg(long, global = true, value_name = "NUMBER")]
    pub(crate) limit_instances: Option<usize>,
}

impl LimitArgs {
    pub(crate) fn limits(&self) -> Limits {
        let usual = Limits::default();
        Limits {
            time: self.limit_time.unwrap_or(usual.time),
            memory: self.limit_memory.unwrap_or(usual.memory),
            output: self.limit_output.unwrap_or(usual.output),
            instances: self.limit_instances.unwrap_or(usual.instances),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print events of containers, as `runc events` does: one at once, then one per interval
    Events(EventsArgs),
    /// Print the containers that the source knows
    List,
    /// Print what the source reports of a container's sandbox, as lines of a scenario
    Record {
        /// The container
        #[arg(value_name = "ID", required_unless_present = "all")]
        container: Option<String>,

        /// All sandboxes of the source, including those that come and go
        #[arg(long, conflicts_with = "container")]
        all: bool,

        #[command(flatten)]
        rhythm: Rhythm,
    },
}

#[derive(Args)]
pub(crate) struct EventsArgs {
    /// The containers
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) containers: Vec<String>,

    /// All containers of the source, including those that come and go
    #[arg(long, conflicts_with = "containers")]
    pub(crate) all: bool,

    /// The format of a line [default: the one of the container's runtime; runc's for cgroups and crun]
    #[arg(long, value_enum)]
    pub(crate) format: Option<LineFormat>,

    #[command(flatten)]
    pub(crate) rhythm: Rhythm,
}

#[derive(Args, Clone, Copy)]
pub(crate) struct Rhythm {
    /// Print once and end
    #[arg(long)]
    pub(crate) stats: bool,

    /// The time from one event to the next: 1m30s, 500ms, or plain seconds
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_interval)]
    pub(crate) interval: Duration,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum LineFormat {
    /// The format of `runc events`
    Runc,
    /// The format of `runsc events`
    Gvisor,
    /// The EventOut of gVisor's sentry, which has the CPU time of each container of the sandbox
    GvisorEventOut,
}
