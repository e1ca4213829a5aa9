//! What is shown: a line for each session, those who wait under the one they wait for.

use std::collections::HashSet;
use std::fmt::Write;
use std::time::Duration;

use diesel_row_lock::waits::{root_blockers, LockWait, Session, SessionId};

/// A session, and how deep it stands under others.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) depth: usize,
    pub(crate) session: Session,
    /// For how long it has waited, and for which table; of who waits for nobody, `None`.
    pub(crate) wait: Option<(Duration, Option<String>)>,
}

/// Each waiter once, though it may wait for several.
pub(crate) fn lines(waits: &[LockWait]) -> Vec<Line> {
    let mut forest = Forest {
        waits,
        seen: HashSet::new(),
        lines: Vec::new(),
    };
    for root in root_blockers(waits) {
        forest.plant(root);
    }
    // What is left waits in a circle, until the server ends that.
    for wait in waits {
        if !forest.seen.contains(&wait.waiter.id) {
            forest.plant(&wait.blocker);
        }
    }
    forest.lines
}

struct Forest<'w> {
    waits: &'w [LockWait],
    seen: HashSet<SessionId>,
    lines: Vec<Line>,
}

impl<'w> Forest<'w> {
    fn plant(&mut self, root: &Session) {
        self.seen.insert(root.id);
        self.lines.push(Line {
            depth: 0,
            session: root.clone(),
            wait: None,
        });
        self.grow(root, 1);
    }

    fn grow(&mut self, blocker: &Session, depth: usize) {
        let waits: &'w [LockWait] = self.waits;
        for wait in waits.iter().filter(|wait| wait.blocker.id == blocker.id) {
            if self.seen.insert(wait.waiter.id) {
                self.lines.push(Line {
                    depth,
                    session: wait.waiter.clone(),
                    wait: Some((wait.waited, wait.table.clone())),
                });
                self.grow(&wait.waiter, depth + 1);
            }
        }
    }
}

/// The titles of [`Line::cells`].
pub(crate) const TITLES: [&str; 5] = ["session", "application", "waits", "for table", "query"];

impl Line {
    pub(crate) fn cells(&self) -> [String; 5] {
        let (waited, table) = match &self.wait {
            Some((waited, table)) => (
                format!("{:.1} s", waited.as_secs_f64()),
                table.clone().unwrap_or_default(),
            ),
            None => (String::new(), String::new()),
        };
        let arrow = if self.depth == 0 { "" } else { "└ " };
        let name = if self.session.is_prepared_transaction() {
            "(prepared)".to_owned()
        } else {
            self.session.id.to_string()
        };
        let query = match &self.session.query {
            Some(query) if self.session.idle => format!("(idle) {query}"),
            Some(query) => query.clone(),
            None if self.session.idle => "(idle)".to_owned(),
            None => String::new(),
        };
        [
            format!("{}{arrow}{name}", "  ".repeat(self.depth.saturating_sub(1))),
            in_one_line(self.session.application.as_deref().unwrap_or("-")),
            waited,
            table,
            in_one_line(&query),
        ]
    }
}

pub(crate) fn as_text(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "nobody waits\n".to_owned();
    }
    let rows: Vec<_> = std::iter::once(TITLES.map(str::to_owned))
        .chain(lines.iter().map(Line::cells))
        .collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(text, "{cell:width$}  ");
        }
        text.push_str(&row[4]);
        text.push('\n');
    }
    text
}

/// Somebody else's words, without what a terminal would take for a command.
pub(crate) fn in_one_line(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().filter(|c| !c.is_control()).collect()
}
