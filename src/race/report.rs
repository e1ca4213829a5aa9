//! The report of a [`Proof`]: the verdict against each rival, and an interleaving that shows it.

use std::fmt::{self, Debug};

use super::proof::{Interleaving, Outcome, Proof, RivalProof, Serial, Verdict};

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cured => "cured: there is a race, and the lock ends it",
            Self::Racy => {
                "RACY: with the lock in, an interleaving comes to what no serial order does"
            }
            Self::NoRaceToCure => {
                "no race to cure: every interleaving is serial without the lock too"
            }
        })
    }
}

/// The overall verdict, then the report of each rival.
impl<O: Debug> fmt::Display for Proof<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict())?;
        for rival in self.rivals() {
            rival.summarize(f)?;
        }
        for rival in self.rivals() {
            rival.show(f)?;
        }
        Ok(())
    }
}

impl<O: Debug> fmt::Display for RivalProof<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summarize(f)?;
        self.show(f)
    }
}

impl<O: Debug> RivalProof<'_, O> {
    fn summarize(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict() {
            Verdict::Cured => "cured",
            Verdict::Racy => "RACY",
            Verdict::NoRaceToCure => "no race to cure",
        };
        writeln!(f, "  against {}: {verdict}", self.name())?;
        for locked in [true, false] {
            let all = self.interleavings().filter(|run| run.locked == locked);
            let (all, races) = (all.count(), self.races(locked).count());
            let serial = all - races;
            let lock = if locked {
                "with the lock"
            } else {
                "without it"
            };
            writeln!(f, "    {lock}: {serial} of {all} interleavings are serial")?;
        }
        Ok(())
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A race that the lock does not end comes first; one interleaving is enough.
        let race = self.races(true).next().or_else(|| self.races(false).next());
        match race {
            Some(run) => self.serial().show(run, f),
            None => {
                writeln!(f, "\nAgainst {}, in every interleaving:\n", self.name())?;
                self.serial().show_orders(f)
            }
        }
    }
}

impl<O: Debug> Serial<O> {
    fn show(&self, run: &Interleaving<O>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [operation, rival] = &self.names;
        let other = if run.stepped == *operation {
            rival
        } else {
            operation
        };
        let lock = if run.locked { "With" } else { "Without" };
        writeln!(
            f,
            "\n{lock} the lock, {other} before `{}` of {}:\n",
            run.before, run.stepped
        )?;
        writeln!(f, "{}", run.script)?;
        writeln!(f, "  comes to {}", run.outcome.text(&self.names))?;
        self.show_orders(f)
    }

    fn show_orders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [operation, rival] = &self.names;
        let orders = [(operation, rival), (rival, operation)];
        for ((first, second), compared) in orders.into_iter().zip(&self.outcomes) {
            let outcome = compared.outcome.text(&self.names);
            writeln!(f, "  {first}, then {second}: {outcome}")?;
        }
        Ok(())
    }
}

impl<O: Debug> Outcome<O> {
    pub(super) fn text(&self, names: &[String; 2]) -> String {
        let mut text = format!("{:?}", self.state);
        for (name, result) in names.iter().zip(&self.results) {
            text += &match result {
                Ok(value) => format!("; {name} returned {value}"),
                Err(error) => format!("; {name} failed: {error}"),
            };
        }
        text
    }
}
