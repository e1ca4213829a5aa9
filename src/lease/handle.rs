//! [`Handle`]: a holding, in a form that can leave the process.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::LockError;

/// Identifies one holding of a lease: its fencing token and a random part.
///
/// Its text form is safe in a form field, a URL or a cookie: the token, a hyphen and 16 hexadecimal
/// digits. With the lease's name it brings back the [`HeldLease`](super::HeldLease) in another
/// request or process ([`Lease::with_handle`](super::Lease::with_handle)).
///
/// The token alone would do as long as the database never goes back in time. After a restore from a
/// backup, or a failover to a server that lags behind, the same token can be given to another
/// holder. The random part tells the two apart. It is not a secret, and no password.
///
/// # Example
///
/// ```
/// use diesel_row_lock::lease::Handle;
/// use diesel_row_lock::LockError;
///
/// let field = "1763971200000000-00c0ffee00c0ffee";
/// let handle: Handle = field.parse()?;
/// assert_eq!(handle.token(), 1_763_971_200_000_000);
/// assert_eq!(handle.to_string(), field);
///
/// let forged = "7; DROP TABLE row_lock_leases".parse::<Handle>();
/// assert!(matches!(forged, Err(LockError::InvalidLease { what: "handle", .. })));
/// # Ok::<(), LockError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle {
    token: i64,
    nonce: i64,
}

impl Handle {
    pub(super) fn new(token: i64, nonce: i64) -> Self {
        Self { token, nonce }
    }

    /// The fencing token; see [`HeldLease::token`](super::HeldLease::token).
    pub fn token(&self) -> i64 {
        self.token
    }

    pub(super) fn nonce(&self) -> i64 {
        self.nonce
    }
}

/// The random part of a new holding, seeded by the operating system.
pub(super) fn random() -> i64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    // Relaxed: the numbers only have to differ.
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = RandomState::new().hash_one((count, std::process::id()));
    i64::from_ne_bytes(random.to_ne_bytes())
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.token, self.nonce)
    }
}

impl FromStr for Handle {
    type Err = LockError;

    /// Accepts what [`Display`](fmt::Display) writes and nothing else, so that a handle has one
    /// text.
    fn from_str(text: &str) -> Result<Self, LockError> {
        let parts = text.split_once('-').and_then(|(token, nonce)| {
            let nonce = u64::from_str_radix(nonce, 16).ok()?;
            Some(Self {
                token: token.parse().ok()?,
                nonce: i64::from_ne_bytes(nonce.to_ne_bytes()),
            })
        });
        match parts {
            Some(handle) if handle.to_string() == text => Ok(handle),
            _ => Err(LockError::InvalidLease {
                what: "handle",
                why: "is not a number, a hyphen and 16 hexadecimal digits",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handle_is_read_back_from_its_text() {
        for (token, nonce) in [(0, 0), (1, -1), (i64::MAX, i64::MIN), (7, i64::MAX)] {
            let handle = Handle::new(token, nonce);
            assert_eq!(handle.to_string().parse::<Handle>().unwrap(), handle);
        }
        assert_eq!(Handle::new(7, -1).to_string(), "7-ffffffffffffffff");
    }

    #[test]
    fn other_texts_are_refused() {
        let texts = [
            "",
            "-",
            "7",
            "7-",
            "-7-0000000000000000",
            "7-0",
            "7-00000000000000000",
            "7-000000000000000G",
            "7-000000000000000A",
            "7-+00000000000000a",
            "+7-000000000000000a",
            "07-000000000000000a",
            " 7-000000000000000a",
            "7-000000000000000a\n",
            "7-000000000000000a-",
            "9223372036854775808-000000000000000a",
            "٧-000000000000000a",
            "7-000000000000000a\0",
        ];
        for text in texts {
            let parsed = text.parse::<Handle>();
            assert!(
                matches!(parsed, Err(LockError::InvalidLease { what: "handle", .. })),
                "{text:?}: {parsed:?}"
            );
        }
    }

    #[test]
    fn random_parts_differ() {
        let parts: std::collections::HashSet<i64> = (0..10_000).map(|_| random()).collect();
        assert_eq!(parts.len(), 10_000);
    }
}
