//! The state of the screen, and what keys do to it.

use std::time::{Duration, Instant};

use eventout::{Error, Result};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::super::view::View;
use super::column::Column;
use super::table::Table;
use super::text::Symbols;

/// The part of the screen below the summary.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Page {
    Table,
    /// The table, while a filter is typed.
    Filter,
    /// All about the container of that ID.
    Container(String),
    /// The errors of the last view.
    Errors,
    Help,
}

/// An effect of a key.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    Draw,
    Quit,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
}

pub(super) struct App {
    pub(super) symbols: &'static Symbols,
    pub(super) table: Table,
    pub(super) page: Page,
    /// The first line that is shown of a page of text.
    pub(super) scroll: usize,
    /// The number of lines or rows that the page has room for, as it was drawn.
    pub(super) height: usize,
    /// The errors of the last view, about containers and about what was left out.
    pub(super) errors: Vec<Error>,
    /// Why there is no newer view.
    pub(super) failure: Option<Error>,
    /// The time of the last view by two clocks, if there was one.
    pub(super) taken: Option<(Instant, std::time::SystemTime)>,
    interval: Duration,
}

impl App {
    pub(super) fn new(symbols: &'static Symbols, sort: Column, interval: Duration) -> Self {
        Self {
            symbols,
            table: Table::new(symbols, sort),
            page: Page::Table,
            scroll: 0,
            height: 0,
            errors: Vec::new(),
            failure: None,
            taken: None,
            interval,
        }
    }

    /// Takes the next view, or why there is none: then the last one stays.
    pub(super) fn update(&mut self, view: Result<View>) {
        match view {
            Ok(view) => {
                self.taken = Some((view.instant, view.time));
                self.errors = view.errors;
                self.errors.extend(view.warnings);
                self.failure = None;
                self.table.update(view.containers);
            }
            Err(e) => self.failure = Some(e),
        }
    }

    /// Returns how old the last view is if a newer one failed, or takes longer than it may.
    pub(super) fn is_old(&self, now: Instant) -> Option<Duration> {
        /// The time that sentries which stall may take.
        const PATIENCE: Duration = Duration::from_secs(3);
        let (instant, _) = self.taken?;
        let age = now.saturating_duration_since(instant);
        let limit = self.interval.saturating_mul(2).saturating_add(PATIENCE);
        (self.failure.is_some() || age > limit).then_some(age)
    }

    /// Does what a key is for.
    pub(super) fn press(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Draw;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Action::Interrupt,
                KeyCode::Char('z') => return Action::Suspend,
                KeyCode::Char('u') if self.page == Page::Filter => {
                    self.table.set_filter(String::new());
                }
                _ => {}
            }
            return Action::Draw;
        }
        if self.page == Page::Filter {
            self.edit_filter(key.code);
            return Action::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('h' | '?') => self.open(Page::Help),
            KeyCode::Char('e') => self.open(Page::Errors),
            KeyCode::Esc | KeyCode::Backspace if self.page != Page::Table => self.open(Page::Table),
            KeyCode::Esc => self.table.set_filter(String::new()),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-self.screenful()),
            KeyCode::PageDown => self.go(self.screenful()),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End => self.go(isize::MAX),
            code if self.page == Page::Table => self.press_on_table(code),
            _ => {}
        }
        Action::Draw
    }

    fn press_on_table(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => {
                if let Some(row) = self.table.selected_row() {
                    let id = row.container.info.id.clone();
                    self.table.select(0);
                    self.open(Page::Container(id));
                }
            }
            KeyCode::Char('/' | 'f') => self.open(Page::Filter),
            KeyCode::Char('r') => self.table.reverse(),
            KeyCode::Char(key) => {
                if let Some(column) = Column::from_key(key) {
                    self.table.sort_by(column);
                }
            }
            _ => {}
        }
    }

    fn edit_filter(&mut self, code: KeyCode) {
        /// The most characters that a filter has.
        const LONGEST: usize = 100;
        let mut filter = self.table.filter().to_owned();
        match code {
            KeyCode::Enter => return self.open(Page::Table),
            KeyCode::Esc => {
                filter.clear();
                self.open(Page::Table);
            }
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Char(c) if filter.chars().count() < LONGEST => filter.push(c),
            KeyCode::Up => return self.go(-1),
            KeyCode::Down => return self.go(1),
            _ => return,
        }
        self.table.set_filter(filter);
    }

    fn open(&mut self, page: Page) {
        self.page = page;
        self.scroll = 0;
    }

    /// Moves the selection, or the text of a page, by so many lines.
    fn go(&mut self, by: isize) {
        match self.page {
            Page::Table | Page::Filter => self.table.select(by),
            // Drawing the page keeps it within the text.
            _ => self.scroll = self.scroll.saturating_add_signed(by),
        }
    }

    fn screenful(&self) -> isize {
        isize::try_from(self.height.max(1)).unwrap_or(isize::MAX)
    }
}
