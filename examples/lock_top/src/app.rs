//! [`App`]: what is known, what is selected, and what keys do.

use std::io;
use std::time::{Duration, Instant};

use diesel_row_lock::waits::SessionId;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::widgets::TableState;
use ratatui::DefaultTerminal;

use crate::line::{in_one_line, lines, Line};
use crate::server::Server;
use crate::view;

pub(crate) struct App {
    server: Server,
    interval: Duration,
    pub(crate) lines: Vec<Line>,
    pub(crate) selected: TableState,
    /// What came of the last key, or of the last question to the server.
    pub(crate) message: String,
    /// The session to terminate, if that is confirmed.
    pub(crate) doomed: Option<SessionId>,
}

impl App {
    pub(crate) fn new(server: Server, interval: Duration) -> Self {
        Self {
            server,
            // A server has better things to do.
            interval: interval.max(Duration::from_millis(100)),
            lines: Vec::new(),
            selected: TableState::default(),
            message: String::new(),
            doomed: None,
        }
    }

    /// Until the user has enough.
    pub(crate) fn run(&mut self, terminal: &mut DefaultTerminal) -> io::Result<()> {
        loop {
            self.refresh();
            let next = Instant::now() + self.interval;
            loop {
                terminal.draw(|frame| view::draw(frame, self))?;
                let left = next.saturating_duration_since(Instant::now());
                if !event::poll(left)? {
                    break;
                }
                if let Event::Key(key) = event::read()? {
                    if key.kind == KeyEventKind::Press && self.press(key) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The selection stays with its session, wherever that is now.
    fn refresh(&mut self) {
        let selected = self.session();
        match self.server.waits() {
            Ok(waits) => self.lines = lines(&waits),
            Err(error) => {
                self.lines.clear();
                self.message = in_one_line(&error.to_string());
            }
        }
        let mut lines = self.lines.iter();
        let line = lines.position(|line| Some(line.session.id) == selected);
        let first = (!self.lines.is_empty()).then_some(0);
        self.selected.select(line.or(first));
    }

    fn session(&self) -> Option<SessionId> {
        let line = self.lines.get(self.selected.selected()?)?;
        Some(line.session.id)
    }

    /// Whether the key ends the program.
    fn press(&mut self, key: KeyEvent) -> bool {
        if let Some(doomed) = self.doomed.take() {
            self.message = if key.code == KeyCode::Char('y') {
                told(doomed, "terminated", self.server.terminate(doomed))
            } else {
                "nothing was done".to_owned()
            };
            return false;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers == KeyModifiers::CONTROL => return true,
            KeyCode::Up => self.selected.select_previous(),
            KeyCode::Down if self.selected.selected() < self.lines.len().checked_sub(1) => {
                self.selected.select_next();
            }
            KeyCode::Char('c') => {
                if let Some(session) = self.session() {
                    self.message = told(session, "cancelled", self.server.cancel(session));
                }
            }
            KeyCode::Char('k') => self.doomed = self.session(),
            _ => {}
        }
        false
    }
}

fn told(
    session: SessionId,
    done: &str,
    result: Result<bool, Box<dyn std::error::Error>>,
) -> String {
    match result {
        Ok(true) => format!("{done} {session}"),
        Ok(false) => format!("there is no session {session}"),
        Err(error) => in_one_line(&error.to_string()),
    }
}
