//! The entry points of the fuzzer.

use super::gvisor::StateFile;
pub use super::gvisor::fuzzing::sentry;
use super::gvisor::fuzzing::{check_line, sandbox};
use super::oci::{crun_state, runc_state};
use super::scenario::Scenario;
use super::state_json::{of_config, timestamp};
use super::{Source as _, SourceSpec, check_file_name};

/// Parses a state file of each runtime, a configuration, the name of a state file, a time, and the name of a source.
pub fn state(input: &[u8]) {
    let _ = (runc_state(input), crun_state(input));
    sandbox(input);
    if let Ok(config) = serde_json::from_slice(input) {
        of_config("runc", &config);
    }
    let name = String::from_utf8_lossy(input);
    let _ = (name.parse::<SourceSpec>(), timestamp(&name));
    if check_file_name(&name).is_ok()
        && let Some(file) = StateFile::parse(&name)
    {
        assert_eq!(file.path("".as_ref()).to_str(), Some(&*name));
    }
}

/// Plays a scenario. Each sample is the same after it was written as a line of a scenario.
pub fn scenario(input: &[u8]) {
    let Ok(mut scenario) = Scenario::new("file", input.to_vec(), String::new()) else {
        return;
    };
    for _ in input.split(|byte| *byte == b'\n') {
        scenario.advance().expect("it was checked");
        for container in scenario.containers().expect("it was checked") {
            let snapshot = scenario.snapshot(&container.id).expect("it is listed");
            assert_eq!(container.sandbox, snapshot.root_container);
            check_line(&snapshot);
        }
    }
}
