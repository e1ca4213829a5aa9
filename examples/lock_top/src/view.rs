//! The drawing.

use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::Line as Text;
use ratatui::widgets::{Row, Table};
use ratatui::Frame;

use crate::app::App;
use crate::line::{Line, TITLES};

const WIDTHS: [Constraint; 5] = [
    Constraint::Length(16),
    Constraint::Length(16),
    Constraint::Length(9),
    Constraint::Length(24),
    Constraint::Fill(1),
];

pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ]);
    let [head, body, message, keys] = rows.areas(frame.area());
    frame.render_widget(Text::from(headline(&app.lines)).bold(), head);
    let table = Table::new(app.lines.iter().map(|line| Row::new(line.cells())), WIDTHS)
        .header(Row::new(TITLES).style(Style::new().underlined()))
        .row_highlight_style(Style::new().reversed());
    frame.render_stateful_widget(table, body, &mut app.selected);
    match app.doomed {
        Some(session) => {
            let question = format!("terminate session {session}, and roll back its work? y/n");
            frame.render_widget(Text::from(question).bold(), message);
        }
        None => frame.render_widget(Text::from(app.message.as_str()), message),
    }
    let help = "↑↓ select   c cancel its statement   k terminate the session   q quit";
    frame.render_widget(Text::from(help).dim(), keys);
}

fn headline(lines: &[Line]) -> String {
    match lines.iter().filter(|line| line.wait.is_some()).count() {
        0 => "nobody waits".to_owned(),
        1 => "1 session waits for a lock".to_owned(),
        waiters => format!("{waiters} sessions wait for a lock"),
    }
}
