//! `eventout top`.

mod app;
pub(crate) mod column;
mod once;
mod row;
mod screen;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod text;

use std::io;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use eventout::{Component, Error, Limits, Monitor, Result, Source};
use ratatui::crossterm::event::Event;
use signal_hook::consts::SIGINT;

use super::args::TopArgs;
use super::output::Output;
use super::signals::Signals;
use super::stream::{raise_open_files, until_next_tick};
use super::view::{View, Viewer};
use app::{Action, App};
use terminal::Screen;
use text::Symbols;

/// Shows the containers of a source.
pub(crate) fn run(args: &TopArgs, source: Box<dyn Source>, out: &mut Output) -> Result<()> {
    if !args.once {
        terminal::check()?;
    }
    let component = Component::builtin(Limits::default())?;
    let viewer = Viewer::new(Monitor::new(&component, source));
    raise_open_files();
    if args.once {
        return once::run(args, viewer, out);
    }
    // A signal ends the loop, not the program, so that the terminal is left as it was.
    let signals = out.signals();
    if let Some(signals) = signals {
        signals.begin_line();
    }
    let result = show(args, viewer, signals.cloned());
    if let Some(signals) = signals {
        signals.end_line();
    }
    match result {
        Ok(Action::Interrupt) => std::process::exit(128 + SIGINT),
        Ok(_) => Ok(()),
        Err(e) => Err(Error::from(e).context("cannot use the terminal")),
    }
}

/// Something that the loop waits for.
enum Message {
    View(Result<View>),
    Input(io::Result<Event>),
    /// The program was stopped, and goes on.
    Continued,
    /// There was a signal, or the terminal is gone.
    End,
}

/// Shows views until the user or a signal ends that.
fn show(args: &TopArgs, viewer: Viewer, signals: Option<Signals>) -> io::Result<Action> {
    let mut app = App::new(Symbols::of_locale(), args.sort, args.interval);
    let mut screen = Screen::enter()?;
    // Bounded: a slow terminal slows down the threads that send.
    let (sender, messages) = sync_channel(1);
    terminal::watch(signals.clone(), &sender)?;
    sample(viewer, args.interval, sender)?;
    screen.draw(&mut app)?;
    loop {
        let first = match messages.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) if app.is_old(Instant::now()).is_some() => None,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(Action::Quit),
        };
        // All that came in the meantime is drawn once.
        for message in first.into_iter().chain(messages.try_iter()) {
            match message {
                Message::View(view) => app.update(view),
                Message::Input(event) => {
                    // All others are reasons to draw.
                    if let Event::Key(key) = event? {
                        match app.press(key) {
                            Action::Draw => {}
                            Action::Suspend => screen.suspend()?,
                            end @ (Action::Quit | Action::Interrupt) => return Ok(end),
                        }
                    }
                }
                Message::Continued => screen.resume()?,
                Message::End => return Ok(Action::Quit),
            }
        }
        if signals.as_ref().is_some_and(|s| s.exit_code().is_some()) {
            return Ok(Action::Quit);
        }
        screen.draw(&mut app)?;
    }
}

/// Sends views at each interval from a thread of its own: a source may stall, and keys never wait for it.
fn sample(mut viewer: Viewer, interval: Duration, messages: SyncSender<Message>) -> io::Result<()> {
    thread::Builder::new().spawn(move || {
        let start = Instant::now();
        while messages.send(Message::View(viewer.view())).is_ok() {
            thread::sleep(until_next_tick(interval, start.elapsed()));
        }
    })?;
    Ok(())
}
