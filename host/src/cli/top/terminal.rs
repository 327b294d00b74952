//! The terminal: entered, watched, and left as it was.

use std::io::{self, BufWriter, IsTerminal as _, Read as _, Stdout};
use std::mem::ManuallyDrop;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};
use std::{env, panic, process, thread};

use eventout::{Error, ErrorKind, Result};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{event, execute};
use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::SIGCONT;
use signal_hook::low_level;

use super::super::signals::Signals;
use super::Message;
use super::app::App;
use super::screen;

/// Checks that there is a terminal that can be drawn on.
pub(super) fn check() -> Result<()> {
    let refuse = |why: String| {
        let hint = "use --once for plain text";
        Err(Error::new(
            ErrorKind::InvalidRequest,
            format!("{why}: {hint}"),
        ))
    };
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return refuse("standard input and standard output must be a terminal".to_owned());
    }
    let term = env::var_os("TERM").unwrap_or_default();
    if term.is_empty() || term == "dumb" {
        return refuse(format!(
            "a terminal of the type {term:?} cannot be drawn on"
        ));
    }
    Ok(())
}

/// The terminal in raw mode, with its alternate screen. It is left when this is dropped, and when the program panics.
pub(super) struct Screen {
    /// Not dropped, since it would print an error to a terminal that is gone. A frame is one write.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<BufWriter<Stdout>>>>,
}

impl Screen {
    pub(super) fn enter() -> io::Result<Self> {
        let hook = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            hook(info);
            // Any thread may have panicked, and none goes on without the others.
            process::exit(101);
        }));
        let result = enter().and_then(|()| {
            const FRAME: usize = 1 << 16;
            let writer = BufWriter::with_capacity(FRAME, io::stdout());
            Terminal::new(CrosstermBackend::new(writer))
        });
        match result {
            Ok(terminal) => Ok(Self {
                terminal: ManuallyDrop::new(terminal),
            }),
            Err(e) => {
                leave();
                Err(e)
            }
        }
    }

    /// Draws what has changed.
    pub(super) fn draw(&mut self, app: &mut App) -> io::Result<()> {
        self.terminal
            .draw(|frame| screen::draw(app, Instant::now(), frame))?;
        Ok(())
    }

    /// Stops the process group as Ctrl-Z does, with the terminal as it was. [`Screen::resume`] goes on.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        // Nothing happens if nobody could continue it.
        kill_current_process_group(Signal::TSTP)?;
        self.resume()
    }

    /// Enters the terminal again, whose modes the shell may have changed.
    pub(super) fn resume(&mut self) -> io::Result<()> {
        disable_raw_mode()?;
        enter()?;
        // Unlike `clear`, it does not query the position of the cursor, which the thread that reads keys would get.
        let size = self.terminal.size()?;
        self.terminal
            .resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)
}

/// Leaves the terminal as it was. It may be gone.
fn leave() {
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Sends what happens on the terminal, from threads of their own.
pub(super) fn watch(signals: Option<Signals>, messages: &SyncSender<Message>) -> io::Result<()> {
    let input = messages.clone();
    thread::Builder::new().spawn(move || {
        loop {
            // At the end of the terminal this never returns, which the other thread notices.
            let event = event::read();
            let is_last = event.is_err();
            if input.send(Message::Input(event)).is_err() || is_last {
                return;
            }
        }
    })?;
    let (mut continued, handler) = UnixStream::pair()?;
    low_level::pipe::register(SIGCONT, handler)?;
    let messages = messages.clone();
    thread::Builder::new().spawn(move || {
        loop {
            let stdin = io::stdin();
            // A hang-up is reported without a request.
            let mut fds = vec![
                PollFd::new(&continued, PollFlags::IN),
                PollFd::new(&stdin, PollFlags::empty()),
            ];
            let signals = signals.as_ref().map(Signals::fd);
            fds.extend(signals.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
            if poll(&mut fds, None).is_err() {
                continue;
            }
            let [is_continued, is_gone] = [&fds[0], &fds[1]].map(|fd| !fd.revents().is_empty());
            let is_signalled = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
            drop(fds);
            if is_gone || is_signalled {
                break;
            }
            if is_continued {
                let _ = continued.read(&mut [0; 16]);
                let _ = messages.send(Message::Continued);
            }
        }
        // If the channel is full, the main thread checks for signals after the messages in it.
        let _ = messages.try_send(Message::End);
        // The main thread may be writing to a terminal that takes nothing any more.
        thread::sleep(Duration::from_secs(1));
        let _ = disable_raw_mode();
        process::exit(signals.and_then(|signals| signals.exit_code()).unwrap_or(0));
    })?;
    Ok(())
}
