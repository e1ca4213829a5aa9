//! [`Script`]: what was played, line by line.

use std::fmt;

use super::player::Ended;

/// Every statement of every session in the order in which they were sent, and who waited for whom.
///
/// Its `Display` is a numbered table. Of a long script it shows the beginning and the end.
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

    pub(super) fn sends(&mut self, who: usize, sql: &str) {
        self.add(who, one_line(sql));
    }

    pub(super) fn begins_step(&mut self, who: usize, name: &str) {
        self.add(who, format!("-- {name}"));
    }

    fn add(&mut self, who: usize, text: String) {
        self.lines.push(Line {
            who,
            text,
            waits_for: Vec::new(),
        });
    }

    /// The answer to the last statement of this player.
    pub(super) fn answers(&mut self, who: usize, error: Option<String>) {
        let waited = self
            .last_of(who)
            .is_some_and(|line| !line.waits_for.is_empty());
        match error {
            Some(error) => self.add(who, format!("… fails: {error}")),
            None if waited => self.add(who, "… goes on".to_owned()),
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
        self.add(who, text);
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
        let left_out = self.lines.len().saturating_sub(2 * SHOWN);
        for (number, line) in (1..).zip(&self.lines) {
            if left_out > 0 && (SHOWN + 1..=SHOWN + left_out).contains(&number) {
                if number == SHOWN + 1 {
                    writeln!(f, "      … {left_out} more …")?;
                }
                continue;
            }
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

/// How many lines at the beginning, and how many at the end, are shown of a long script.
const SHOWN: usize = 60;

/// SQL without its line breaks.
pub(super) fn one_line(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_script_is_shown_by_its_beginning_and_its_end() {
        let mut script = Script::new(["ada"].into_iter());
        for number in 0..200 {
            script.sends(0, &format!("SELECT  {number}"));
        }
        let shown = script.to_string();
        assert_eq!(shown.lines().count(), 121);
        assert!(
            shown.contains("SELECT 59\n      … 80 more …\n 141  ada  SELECT 140\n"),
            "{shown}"
        );
        let short = "   1  ada  SELECT 1\n";
        let mut script = Script::new(["ada"].into_iter());
        script.sends(0, "SELECT\n 1");
        assert_eq!(script.to_string(), short);
    }
}
