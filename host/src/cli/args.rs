//! Arguments.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use eventout::{CompileLimits, Limits, SourceSpec};

use super::compat::IgnoredArgs;
use super::duration::{parse_interval, parse_size};
use super::label::Label;
use super::top::column::Column;

/// The version of this program, of the contract with components, and of wasmtime.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ncontract eventout:stats@0.1.0",
    "\nwasmtime 48.0.8"
);

const EXAMPLES: &str = "\
Examples:
  eventout list
      List the containers of the runtimes of this machine.
  eventout events --stats web
      Print one event of the container `web`, as `runc events --stats` does.
  eventout --source cgroup events --all --interval 1s
      Print an event of each child of the root cgroup, each second.
  eventout --source demo events --all
      Try it without any container.

Exit codes:
  0 success; 1 an error; 2 wrong usage; 129, 130, 143 ended by SIGHUP, SIGINT, SIGTERM (`serve`: 0)";

/// Print stats events of containers, computed by a WebAssembly component.
///
/// The events are those of `runc events` and `runsc events`, one line of JSON each, on standard output. Errors go to
/// standard error.
#[derive(Parser)]
#[command(
    name = "eventout",
    version,
    long_version = LONG_VERSION,
    max_term_width = 100,
    after_help = EXAMPLES,
    args_override_self = true
)]
pub(crate) struct Cli {
    /// Read from this source: scenario:FILE, demo, cgroup[:ROOT], runc[:ROOT], crun[:ROOT] or gvisor[:ROOT].
    ///
    /// By default, the runtime that knows a container is found by its state directory, and commands for all containers
    /// read those of all runtimes.
    #[arg(long, global = true, value_name = "SPEC")]
    pub(crate) source: Option<SourceSpec>,

    /// Look for containers in this state directory of a runtime, as the flag of runc and runsc does.
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "source")]
    pub(crate) root: Option<PathBuf>,

    #[command(flatten)]
    ignored: IgnoredArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print events of containers: one at once, and then one at each interval.
    ///
    /// Where the kernel reports OOM kills, an event is printed for each of them too. A stream ends when all its
    /// containers have ended.
    #[command(after_help = "\
Examples:
  eventout events web
      Print an event of the container `web` every 5 seconds.
  eventout events --stats shop/web bc5a54
      Print one event of each of two containers, by pod and name, and by the beginning of an ID.
  eventout events --all --component influxdb.wasm
      Print events of all containers in the format of another component.")]
    Events(EventsArgs),
    /// List the containers that the source knows.
    #[command(after_help = "\
Examples:
  eventout list
      Print a table on a terminal, and lines of JSON elsewhere.
  eventout --source gvisor list --format json
      Print lines of JSON with `id`, `sandbox`, `source` and all that is known besides usage.")]
    List {
        /// Print in this format, instead of a table on a terminal and JSON elsewhere.
        #[arg(long, value_enum)]
        format: Option<ListFormat>,
    },
    /// Show the usage of all containers on the terminal, as `top` does of processes.
    ///
    /// CPU time is in percent of one core, and memory is the working set: usage without the page cache that has not been
    /// used lately. A dash is a value that is not known, or not known yet. `h` shows the keys and the columns.
    #[command(after_help = "\
Examples:
  eventout top
      Show the containers of the runtimes of this machine. `q` quits.
  eventout --source cgroup:/system.slice top --sort memory
      Show the services of systemd, the largest first.
  eventout top --once --format json | jq 'select(.throttled_percent > 10)'
      Print the containers that are short of CPU time.")]
    Top(TopArgs),
    /// Record what the source reports of a sandbox, as lines of a scenario.
    #[command(after_help = "\
Examples:
  eventout record --once web > web.jsonl
  eventout --source scenario:web.jsonl events --stats web
      Record the sandbox of a container, and print its event later or elsewhere.")]
    Record {
        /// Record the sandbox of this container.
        #[arg(value_name = "ID", required_unless_present = "all")]
        container: Option<String>,

        /// Record all sandboxes of the source, including those that come and go.
        #[arg(long, conflicts_with = "container")]
        all: bool,

        /// Record one sample, and exit.
        #[arg(long, alias = "stats")]
        once: bool,

        #[command(flatten)]
        poll: PollArgs,
    },
    /// Serve metrics for Prometheus, and a page and JSON with what containers use.
    ///
    /// The source is read on request only. `/metrics` has the names of cAdvisor's metrics, `/` is a page,
    /// `/containers` and `/events` are for programs, and `/healthz` says whether the source can be read.
    #[command(after_help = "\
Examples:
  eventout serve
      Serve http://127.0.0.1:19909 for this machine alone.
  eventout --source gvisor serve --listen 0.0.0.0:19909 --allow-host node-1
      Serve the containers of gVisor for other machines, which may use the name `node-1`.
  eventout serve --label team=com.example.team
      Give each metric of a container a label `team`, from that annotation.")]
    Serve(ServeArgs),
    /// Print a script that completes arguments in a shell.
    #[command(after_help = "\
Examples:
  eventout completions bash > /etc/bash_completion.d/eventout
  eventout completions fish > ~/.config/fish/completions/eventout.fish")]
    Completions {
        /// Print the script for this shell.
        shell: Shell,
    },
    /// Write the manual pages to a directory.
    #[command(hide = true)]
    Man {
        /// Write to this directory, which must exist.
        dir: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct EventsArgs {
    /// Print events of these containers.
    #[arg(value_name = "ID", required_unless_present = "all")]
    pub(crate) containers: Vec<String>,

    /// Print events of all containers of the source, including those that come and go.
    #[arg(long, conflicts_with = "containers")]
    pub(crate) all: bool,

    /// Print one event of each container, and exit.
    #[arg(long)]
    pub(crate) stats: bool,

    #[command(flatten)]
    pub(crate) poll: PollArgs,

    /// Print lines in this format, instead of the one of the container's runtime.
    ///
    /// The default for cgroups and crun is the format of runc.
    #[arg(long, value_enum)]
    pub(crate) format: Option<LineFormat>,

    /// Use this component instead of the built-in one, or to format its events.
    ///
    /// A component of the world `eventout` computes the events; one of the world `formatter` formats them.
    #[arg(long, value_name = "FILE")]
    pub(crate) component: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

#[derive(Args)]
pub(crate) struct TopArgs {
    /// Take samples at this interval: 1m30s, 500ms, or plain seconds.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    pub(crate) interval: Duration,

    /// Sort by this column.
    #[arg(long, value_enum, value_name = "COLUMN", default_value = "cpu")]
    pub(crate) sort: Column,

    /// Print the values after two samples, and exit.
    #[arg(long)]
    pub(crate) once: bool,

    /// Print in this format [default: table].
    #[arg(long, value_enum, requires = "once")]
    pub(crate) format: Option<TopFormat>,
}

#[derive(Args)]
#[command(next_help_heading = "Limits of the component")]
pub(crate) struct LimitArgs {
    /// Limit the run time of a call [default: 1s].
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    limit_time: Option<Duration>,

    /// Limit the memory of the component, in bytes, KiB, MiB or GiB [default: 64MiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_memory: Option<usize>,

    /// Limit the result of a call, in bytes, KiB, MiB or GiB [default: 32MiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_output: Option<usize>,

    /// Limit the numbers of core instances, of memories and of tables [default: 100].
    #[arg(long, value_name = "NUMBER")]
    limit_instances: Option<usize>,

    /// Limit the time of compiling the component [default: 5m].
    #[arg(long, value_name = "DURATION", value_parser = parse_interval)]
    limit_compile_time: Option<Duration>,

    /// Limit the memory for compiling the component, in bytes, KiB, MiB or GiB [default: 2GiB].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    limit_compile_memory: Option<usize>,
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

    pub(crate) fn compile_limits(&self) -> CompileLimits {
        let usual = CompileLimits::default();
        let memory = self.limit_compile_memory.map(|memory| memory as u64);
        CompileLimits {
            time: self.limit_compile_time.unwrap_or(usual.time),
            memory: memory.unwrap_or(usual.memory),
        }
    }
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Listen on this address. Port 0 chooses a free port.
    ///
    /// Whoever can connect can read all that is served: there is neither encryption nor a password.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:19909")]
    pub(crate) listen: SocketAddr,

    /// Serve requests for this name too, besides localhost and the address.
    #[arg(long, value_name = "NAME", value_parser = parse_host)]
    pub(crate) allow_host: Vec<String>,

    /// Add a label with the value of an annotation to the metrics of containers.
    #[arg(long, value_name = "NAME=ANNOTATION")]
    pub(crate) label: Vec<Label>,

    /// Reuse a sample up to this age.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    pub(crate) max_age: Duration,

    /// Take samples at this interval while a stream or the page is open.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_interval)]
    pub(crate) interval: Duration,

    /// Read at most this many containers.
    #[arg(long, value_name = "NUMBER", default_value = "10000")]
    pub(crate) max_containers: usize,
}

/// Parses the name or the address of a host.
fn parse_host(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match text.parse::<IpAddr>().is_ok() || (!text.is_empty() && text.chars().all(is_name)) {
        true => Ok(text.to_owned()),
        false => Err("expected a name or an address, without scheme and port".to_owned()),
    }
}

#[derive(Args, Clone, Copy)]
pub(crate) struct PollArgs {
    /// Take samples at this interval: 1m30s, 500ms, or plain seconds.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_interval)]
    pub(crate) interval: Duration,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum LineFormat {
    /// The format of `runc events`.
    Runc,
    /// The format of `runsc events`.
    Gvisor,
    /// The EventOut of gVisor's sentry, which has the CPU time of each container of the sandbox.
    GvisorEventOut,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum TopFormat {
    /// A table.
    Table,
    /// A line of JSON for each container, with what is known.
    Json,
    /// A line of comma-separated values for each container, after one with their names.
    Csv,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum ListFormat {
    /// A line of JSON for each container.
    Json,
    /// A table.
    Table,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        let args = ["eventout"].iter().chain(args).map(Into::into);
        Cli::try_parse_from(super::super::compat::normalize(args))
    }

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_long_version_names_wasmtime() {
        let lock = include_str!("../../../Cargo.lock");
        let (_, wasmtime) = lock
            .split_once("name = \"wasmtime\"\nversion = \"")
            .expect("a dependency");
        let (version, _) = wasmtime.split_once('"').expect("a version");
        assert!(LONG_VERSION.ends_with(&format!("wasmtime {version}")));
    }

    #[test]
    fn flags_of_components_belong_to_events() {
        assert!(parse(&["list", "--component", "x"]).is_err());
        assert!(parse(&["record", "--once", "--limit-memory", "1", "web"]).is_err());
        assert!(parse(&["events", "--component", "x", "--limit-time", "2", "web"]).is_ok());
    }

    #[test]
    fn flags_of_clients_of_runtimes_are_accepted() {
        for args in [
            &["--systemd-cgroup", "events", "--stats", "x"][..],
            &[
                "--debug",
                "--log",
                "/x",
                "--log-format",
                "json",
                "events",
                "x",
            ],
            &["--rootless=true", "--root", "/x", "events", "--stats", "x"],
            &["--rootless", "events", "x"],
            &["--criu", "/usr/bin/criu", "events", "x"],
            &[
                "-root",
                "/x",
                "-log=/dev/null",
                "-debug=false",
                "events",
                "-stats",
                "x",
            ],
            &[
                "--platform=systrap",
                "--debug-log=/x/",
                "events",
                "-interval=5",
                "x",
            ],
            &[
                "--debug",
                "--debug=true",
                "--root=/x",
                "--root=/y",
                "events",
                "--stats=true",
                "x",
            ],
        ] {
            let cli = parse(args).unwrap_or_else(|e| panic!("{args:?}: {e}"));
            let Command::Events(events) = cli.command else {
                panic!("{args:?}");
            };
            assert_eq!(events.containers, ["x"]);
            assert_eq!(events.stats, args.iter().any(|arg| arg.contains("-stats")));
        }
        let cli = parse(&["events", "--", "-stats"]).unwrap_or_else(|e| panic!("{e}"));
        let Command::Events(events) = cli.command else {
            panic!("another command");
        };
        assert_eq!(
            (events.containers, events.stats),
            (vec!["-stats".to_owned()], false)
        );
    }

    #[test]
    fn hosts_are_names_and_addresses() {
        for host in ["node-1", "a.example", "10.0.0.5", "fe80::1"] {
            assert_eq!(parse_host(host).as_deref(), Ok(host));
        }
        for host in ["", "node-1:19909", "http://node-1", "[::1]", "a b"] {
            assert!(parse_host(host).is_err(), "{host}");
        }
    }

    #[test]
    fn record_takes_the_flag_of_events_too() {
        for flag in ["--once", "--stats"] {
            let cli = parse(&["record", flag, "--all"]).unwrap_or_else(|e| panic!("{e}"));
            assert!(matches!(cli.command, Command::Record { once: true, .. }));
        }
        assert!(parse(&["events", "--once", "x"]).is_err());
    }
}
