//! [`Report`]: how much money there should be, and how much there is.

use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use crate::model::Books;

/// What threads did, by their own account: only bookings that returned `Ok` count.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) bookings: u64,
    /// Paid in less taken out.
    pub(crate) net: i64,
    /// Refused by the bank: no funds.
    pub(crate) refused: u64,
    /// Repeated after an error that says that this may help.
    pub(crate) retries: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.bookings += other.bookings;
        self.net += other.net;
        self.refused += other.refused;
        self.retries += other.retries;
    }
}

/// A storm on one account.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) before: Books,
    pub(crate) after: Books,
    pub(crate) tally: Tally,
    pub(crate) time: Duration,
}

impl Report {
    /// The balance there should be. It comes from the journal, so that it includes what other
    /// processes booked meanwhile.
    pub(crate) fn expected(&self) -> i128 {
        i128::from(self.before.balance) + self.after.journal - self.before.journal
    }

    /// The money that is missing; negative if there is too much, which is as wrong: a withdrawal
    /// was overwritten.
    pub(crate) fn lost(&self) -> i128 {
        self.expected() - i128::from(self.after.balance)
    }

    /// Bookings that overwrote another one.
    pub(crate) fn overwritten(&self) -> u64 {
        self.after.breaks.saturating_sub(self.before.breaks)
    }

    /// Bookings that returned `Ok` and are not in the journal. Nobody has ever seen one.
    pub(crate) fn vanished(&self) -> u64 {
        let entries = self.after.entries.saturating_sub(self.before.entries);
        self.tally.bookings.saturating_sub(entries)
    }

    pub(crate) fn nothing_is_lost(&self) -> bool {
        self.lost() == 0 && self.overwritten() == 0 && self.vanished() == 0
    }

    /// The storm went on.
    pub(crate) fn extend(&mut self, next: &Self) {
        self.after = next.after;
        self.tally += next.tally;
        self.time += next.time;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally {
            bookings,
            net,
            refused,
            retries,
        } = self.tally;
        let seconds = self.time.as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = bookings as f64 / seconds;
        writeln!(
            f,
            "  bookings  {bookings:>12}  in {seconds:.1} s ({rate:.0} per second), \
             {refused} refused, {retries} retries"
        )?;
        writeln!(f, "  net       {net:>+12}  cents, paid in less taken out")?;
        writeln!(f, "  expected  {:>12}  cents", self.expected())?;
        writeln!(f, "  there is  {:>12}  cents", self.after.balance)?;
        let lost = self.lost();
        if lost >= 0 {
            write!(f, "  lost      {lost:>12}  cents")?;
        } else {
            write!(f, "  too much  {:>12}  cents", -lost)?;
        }
        match self.overwritten() {
            0 => {}
            breaks => write!(f, "; {breaks} times a booking overwrote those of others")?,
        }
        match self.vanished() {
            0 => Ok(()),
            vanished => write!(f, "; {vanished} bookings are not in the journal"),
        }
    }
}
