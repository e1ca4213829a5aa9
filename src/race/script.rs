//! [`Script`]: what was played, line by line.

use std::fmt;

use super::player::Ended;

/// Every statement of every session in the order in which they were sent, and who waited for whom.
///
/// Its `Display` is a numbered table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    names: Vec<String>,
    lines: Vec<Line>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    who: usize,
    text: String,
    waits_for: Vec<usize>,
}

impl Script {
    pub(super) fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        Self {
            names: names.map(str::to_owned).collect(),
            lines: Vec::new(),
        }
    }

    pub(super) fn name(&self, who: usize) -> &str {
        &self.names[who]
    }

    pub(super) fn sends(&mut self, who: usize, sql: String) {
        self.lines.push(Line {
            who,
            text: sql,
            waits_for: Vec::new(),
        });
    }

    pub(super) fn begins_step(&mut self, who: usize, name: &str) {
        self.sends(who, format!("-- {name}"));
    }

    /// The answer to the last statement of this player.
    pub(super) fn answers(&mut self, who: usize, error: Option<String>) {
        let waited = self
            .last_of(who)
            .is_some_and(|line| !line.waits_for.is_empty());
        match error {
            Some(error) => self.sends(who, format!("… fails: {error}")),
            None if waited => self.sends(who, "… goes on".to_owned()),
            None => {}
        }
    }

    /// The last statement of this player waits for others.
    pub(super) fn waits(&mut self, who: usize, others: Vec<usize>) {
        if let Some(line) = self.last_of(who) {
            line.waits_for = others;
        }
    }

    pub(super) fn ends(&mut self, who: usize, ended: &Ended) {
        let text = match ended {
            Ok(value) => format!("=> {value}"),
            Err(error) => format!("=> error: {error}"),
        };
        self.sends(who, text);
    }

    fn last_of(&mut self, who: usize) -> Option<&mut Line> {
        self.lines.iter_mut().rev().find(|line| line.who == who)
    }

    /// Whether this player had to wait in this step.
    pub(super) fn waited(&self, who: usize, step: &str) -> bool {
        let begin = format!("-- {step}");
        let lines = self.lines.iter().filter(|line| line.who == who);
        let mut step = lines.skip_while(|line| line.text != begin).skip(1);
        step.by_ref()
            .take_while(|line| !line.text.starts_with("-- "))
            .any(|line| !line.waits_for.is_empty())
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.names.iter().map(|name| name.chars().count()).max();
        let width = width.unwrap_or(0);
        for (number, line) in (1..).zip(&self.lines) {
            let name = &self.names[line.who];
            write!(f, "{number:>4}  {name:<width$}  {}", line.text)?;
            if !line.waits_for.is_empty() {
                let others = line.waits_for.iter().map(|&other| self.name(other));
                write!(
                    f,
                    "   <waits for {}>",
                    others.collect::<Vec<_>>().join(", ")
                )?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
