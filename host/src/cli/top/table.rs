//! The rows of the table: what is known of each container, in which order, and which one is selected.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::super::view::{Container, Rates};
use super::column::Column;
use super::row::{Point, Row};
use super::text::Symbols;

/// The number of samples that the history of a container has.
const HISTORY: usize = 120;

/// The time for which a container is remembered that is not in the last view: it may be read again.
const MEMORY: Duration = Duration::from_secs(60);

/// The containers of the last view, with order, filter and selection.
pub(super) struct Table {
    symbols: &'static Symbols,
    #[expect(clippy::vec_box, reason = "thousands of them move at each view")]
    rows: Vec<Box<Row>>,
    /// The rows of containers that were not in the last view.
    #[expect(clippy::vec_box, reason = "they come from the rows, and go back")]
    away: Vec<Box<Row>>,
    /// The rows that are shown, in their order, as indices.
    order: Vec<usize>,
    sort: Column,
    is_reversed: bool,
    filter: String,
    /// The ID of the selected container, which may be away. `None` before one is chosen.
    selected: Option<String>,
    /// The position of the selected row among those that are shown.
    cursor: usize,
    /// The position of the first row on the screen.
    top: usize,
}

impl Table {
    pub(super) fn new(symbols: &'static Symbols, sort: Column) -> Self {
        Self {
            symbols,
            rows: Vec::new(),
            away: Vec::new(),
            order: Vec::new(),
            sort,
            is_reversed: false,
            filter: String::new(),
            selected: None,
            cursor: 0,
            top: 0,
        }
    }

    /// Takes the containers of the next view.
    pub(super) fn update(&mut self, containers: Vec<Container>) {
        let now = containers.iter().map(|container| container.instant).max();
        let now = now.unwrap_or_else(Instant::now);
        let is_remembered =
            |row: &Row| now.saturating_duration_since(row.container.instant) < MEMORY;
        let away = self.away.drain(..).filter(|row| is_remembered(row));
        let mut before: HashMap<String, Box<Row>> = (self.rows.drain(..).chain(away))
            .map(|row| (row.container.info.id.clone(), row))
            .collect();
        for container in containers {
            let mut row = match before.remove(&container.info.id) {
                Some(mut row) if container.is(&row.container) => {
                    row.rates = Rates::between(&row.container, &container);
                    row.container = container;
                    row
                }
                _ => Box::new(Row {
                    name: String::new(),
                    container,
                    rates: Rates::default(),
                    history: VecDeque::new(),
                }),
            };
            let container = &row.container;
            row.name = match &container.details.pod {
                Some(pod) => self.symbols.clean(&format!("{pod}/{}", container.name())),
                None => self.symbols.clean(container.name()),
            };
            if row.history.len() == HISTORY {
                row.history.pop_front();
            }
            let point = Point {
                cpu: row.rates.cpu,
                memory: row.container.usage.memory.working_set,
            };
            row.history.push_back(point);
            self.rows.push(row);
        }
        self.away.extend(before.into_values());
        self.arrange();
    }

    /// Brings the rows into their order. The selection stays with its container.
    fn arrange(&mut self) {
        let filter = self.filter.to_lowercase();
        let is_shown = |row: &Row| {
            filter.is_empty()
                || row.name.to_lowercase().contains(&filter)
                || row.container.info.id.to_lowercase().contains(&filter)
        };
        let shown = self
            .rows
            .iter()
            .enumerate()
            .filter(|(_, row)| is_shown(row));
        let mut shown: Vec<_> = shown.map(|(at, row)| (self.sort.value(row), at)).collect();
        let names = |&(_, at): &(_, usize)| {
            let row = &self.rows[at];
            (&row.name, &row.container.info.id)
        };
        // The largest first, and what is not known last, whatever the direction.
        match (self.sort, self.is_reversed) {
            (Column::Name, false) => shown.sort_unstable_by_key(names),
            (Column::Name, true) => shown.sort_unstable_by_key(|row| Reverse(names(row))),
            (_, false) => {
                shown.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| names(a).cmp(&names(b))))
            }
            (_, true) => shown.sort_unstable_by(|a, b| {
                let unknown = a.0.is_none().cmp(&b.0.is_none());
                unknown
                    .then_with(|| a.0.cmp(&b.0))
                    .then_with(|| names(a).cmp(&names(b)))
            }),
        }
        self.order = shown.into_iter().map(|(_, at)| at).collect();
        let selected = self.selected.as_ref();
        let is_selected = |at: &usize| Some(&self.rows[*at].container.info.id) == selected;
        match self.order.iter().position(is_selected) {
            Some(at) => self.cursor = at,
            None => self.cursor = self.cursor.min(self.order.len().saturating_sub(1)),
        }
    }

    /// Sorts by a column, the largest value first, or the first name.
    pub(super) fn sort_by(&mut self, column: Column) {
        self.sort = column;
        self.is_reversed = false;
        self.arrange();
    }

    pub(super) fn reverse(&mut self) {
        self.is_reversed = !self.is_reversed;
        self.arrange();
    }

    pub(super) fn sort(&self) -> Column {
        self.sort
    }

    /// Returns whether values rise from the first row to the last one.
    pub(super) fn is_ascending(&self) -> bool {
        self.is_reversed != (self.sort == Column::Name)
    }

    /// Shows only the rows with that text in the name or the ID, in lower or upper case.
    pub(super) fn set_filter(&mut self, filter: String) {
        self.filter = filter;
        self.arrange();
    }

    pub(super) fn filter(&self) -> &str {
        &self.filter
    }

    /// Moves the selection by so many rows.
    pub(super) fn select(&mut self, by: isize) {
        let last = self.order.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        self.selected = self.selected_row().map(|row| row.container.info.id.clone());
    }

    /// Returns the selected row, if there is any.
    pub(super) fn selected_row(&self) -> Option<&Row> {
        self.order.get(self.cursor).map(|at| &*self.rows[*at])
    }

    /// Returns the row of a container.
    pub(super) fn row(&self, id: &str) -> Option<&Row> {
        self.rows().find(|row| row.container.info.id == id)
    }

    /// Returns the rows that are on a screen of that height, each with whether it is the selected one.
    pub(super) fn on_screen(&mut self, height: usize) -> impl Iterator<Item = (bool, &Row)> {
        let lowest = (self.cursor + 1).saturating_sub(height);
        let end = self.order.len().saturating_sub(height);
        self.top = self.top.clamp(lowest, self.cursor.max(lowest)).min(end);
        let shown = self.order.iter().enumerate().skip(self.top).take(height);
        shown.map(|(at, row)| (at == self.cursor, &*self.rows[*row]))
    }

    /// Returns the rows that are shown, in their order.
    pub(super) fn shown(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.order.iter().map(|at| &*self.rows[*at])
    }

    /// Returns all rows.
    pub(super) fn rows(&self) -> impl ExactSizeIterator<Item = &Row> {
        self.rows.iter().map(AsRef::as_ref)
    }
}
