//! Replays a scenario: prints, for each container of each sample and for one that does not exist, gVisor's
//! `EventOut` and the lines of both formats.

use std::error::Error;
use std::{env, fs};

use eventout::{Component, ErrorKind, Format, Limits, Monitor, Result, SourceSpec};

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args().nth(1).ok_or("usage: replay SCENARIO")?;
    let text = fs::read_to_string(&file)?;
    let component = Component::builtin(Limits::default())?;
    let mut events = Monitor::new(&component, SourceSpec::Scenario(file.into()).open()?);
    for _ in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut sample = events.sample()?;
        let containers = sample.containers()?.into_iter().map(|listed| listed.id);
        for id in containers.chain(["no such \"container\"".to_owned()]) {
            print(sample.event_json(&id));
            print(sample.stats_json(&id, Format::Gvisor));
            print(sample.stats_json(&id, Format::Runc));
        }
    }
    Ok(())
}

fn print(line: Result<String>) {
    match line {
        Ok(line) => println!("{line}"),
        Err(e) if e.kind() == ErrorKind::ContainerNotFound => {
            println!("error container-not-found: {}", e.root_cause());
        }
        Err(e) => println!("error unavailable: {}", e.root_cause()),
    }
}
