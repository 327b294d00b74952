//! Prints what becomes of each instant of a scenario: for each container, and for one that is not there, the
//! whole `EventOut`, and the lines of both dialects.

use std::error::Error;
use std::{env, fs};

use eventout::{Component, Dialect, ErrorKind, Events, Limits, Result, Spec};

fn main() -> Result<(), Box<dyn Error>> {
    let file = env::args().nth(1).ok_or("usage: replay SCENARIO")?;
    let text = fs::read_to_string(&file)?;
    let component = Component::builtin(Limits::default())?;
    let mut events = Events::new(&component, Spec::Scenario(file.into()).open()?);
    for _ in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut now = events.now()?;
        let containers = now.containers()?.into_iter().map(|listed| listed.id);
        for id in containers.chain(["no such \"container\"".to_owned()]) {
            print(now.event_json(&id));
            print(now.stats_json(&id, Dialect::Runsc));
            print(now.stats_json(&id, Dialect::Runc));
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
