//! Flags that clients of runc, crun and runsc pass.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// The global flags of runtimes that have no meaning here.
#[derive(Args)]
pub(crate) struct IgnoredArgs {
    #[arg(long, global = true, hide = true)]
    log: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    log_format: Option<String>,
    #[arg(long, global = true, hide = true)]
    debug: bool,
    #[arg(long, global = true, hide = true)]
    debug_log: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    systemd_cgroup: bool,
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true)]
    rootless: Option<Option<String>>,
    #[arg(long, global = true, hide = true)]
    criu: Option<PathBuf>,
    #[arg(long, global = true, hide = true)]
    platform: Option<String>,
    #[arg(long, global = true, hide = true)]
    network: Option<String>,
}

/// Rewrites flags as Go's package `flag` accepts them, for the flags of runtimes: `-root DIR` as `--root DIR`, and
/// `--debug=true` as `--debug`.
pub(crate) fn normalize(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    const VALUES: [&str; 10] = [
        "root",
        "log",
        "log-format",
        "debug-log",
        "rootless",
        "criu",
        "platform",
        "network",
        "interval",
        "format",
    ];
    const SWITCHES: [&str; 3] = ["debug", "systemd-cgroup", "stats"];
    let mut flags = true;
    args.filter_map(move |arg| {
        flags &= arg != "--";
        let Some(text) = arg.to_str().filter(|_| flags) else {
            return Some(arg);
        };
        let Some(flag) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else {
            return Some(arg);
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        if SWITCHES.contains(&name) {
            return match value {
                None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => {
                    Some(format!("--{name}").into())
                }
                Some("0" | "f" | "F" | "false" | "FALSE" | "False") => None,
                Some(_) => Some(arg),
            };
        }
        match VALUES.contains(&name) {
            true => Some(format!("--{flag}").into()),
            false => Some(arg),
        }
    })
}
