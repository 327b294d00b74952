//! `eventout serve`: metrics for Prometheus, a page for people, and JSON for programs.

mod api;
mod connection;
mod http;
mod metrics;
mod sampler;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use eventout::{Component, Error, ErrorKind, Limits, Monitor, Result, Source};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixStream};
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};

use super::args::ServeArgs;
use super::label::Label;
use super::output::Output;
use super::stream::raise_open_files;
use super::view::Viewer;
use api::Api;
use connection::Connections;
use http::{Server, unless};
use sampler::{Pace, Samples};

/// Serves until a signal comes.
pub(crate) fn run(args: &ServeArgs, source: Box<dyn Source>, out: &mut Output) -> Result<()> {
    let started = SystemTime::now();
    check_labels(&args.label)?;
    let signals = out.hold_signals()?;
    raise_open_files();
    let component = Component::builtin(Limits::default())?;
    let viewer = Viewer::new(Monitor::new(&component, source))
        .limit(args.max_containers)
        .count_oom_kills();
    let pace = Pace {
        max_age: args.max_age,
        interval: args.interval,
    };
    let (log, messages) = mpsc::channel(64);
    let samples = Samples::start(viewer, pace, log)?;
    let connections = Connections::new();
    let (stop, stopping) = watch::channel(false);
    let api = Arc::new(Api {
        samples,
        connections: connections.clone(),
        labels: args.label.clone().into(),
        started,
        stopping,
    });
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(async {
        let listener = TcpListener::bind(args.listen)
            .await
            .map_err(|e| Error::from(e).context(format!("cannot listen on {}", args.listen)))?;
        let signals = signals.map(UnixStream::from_std).transpose()?;
        let address = listener.local_addr()?;
        if !address.ip().is_loopback() {
            out.diagnose("warning: whoever can connect may read all that is served");
        }
        out.diagnose(&format!("note: serving http://{address}"));
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let server = Server {
            listener,
            connections,
            hosts: args.allow_host.clone().into(),
        };
        let respond = move |parts| Arc::clone(&api).respond(parts);
        let (ended, end) = oneshot::channel::<()>();
        let server = tokio::spawn(server.serve(respond, end));
        let result = attend(messages, signals, out).await;
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        let _ = stop.send(true);
        drop(ended);
        let _ = server.await;
        result
    });
    // Threads that wait for a client, or for the source, don't keep the program.
    runtime.shutdown_background();
    result
}

/// Refuses two labels of one name, which Prometheus would refuse.
fn check_labels(labels: &[Label]) -> Result<()> {
    let mut names = HashSet::new();
    match labels.iter().find(|label| !names.insert(&label.name)) {
        Some(Label { name, .. }) => Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("there is more than one label {name:?}"),
        )),
        None => Ok(()),
    }
}

/// Prints messages until a signal comes.
async fn attend(
    mut messages: mpsc::Receiver<String>,
    signals: Option<UnixStream>,
    out: &mut Output,
) -> Result<()> {
    let signal = async {
        match &signals {
            Some(signals) => drop(signals.readable().await),
            // Then they end the program themselves.
            None => std::future::pending().await,
        }
    };
    let print = async {
        while let Some(message) = messages.recv().await {
            out.diagnose(&message);
        }
    };
    match unless(signal, print).await {
        None => Ok(()),
        Some(()) => Err(Error::new(
            ErrorKind::Source,
            "the thread that reads the source has ended",
        )),
    }
}
