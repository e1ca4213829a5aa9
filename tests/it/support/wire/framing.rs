//! Where a message of a client ends.

/// The protocols, told apart by who speaks first.
#[derive(Debug, Clone, Copy)]
pub(super) enum Framing {
    /// The server does.
    Mysql,
    /// The client does, in messages without a type until the session has begun.
    Postgres { begun: bool },
}

/// What a client of PostgreSQL may ask before it begins a session: to cancel another one, for TLS,
/// for GSSAPI.
const REQUESTS: [u32; 3] = [80_877_102, 80_877_103, 80_877_104];

impl Framing {
    /// The length of the first message, if it is there as a whole.
    pub(super) fn first(&mut self, bytes: &[u8]) -> Option<usize> {
        let number = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let length = match self {
            Self::Mysql => {
                let length = bytes.get(..4)?;
                4 + u32::from_le_bytes([length[0], length[1], length[2], 0])
            }
            Self::Postgres { begun: true } => 1 + number(1)?,
            Self::Postgres { begun } => {
                *begun = !REQUESTS.contains(&number(4)?);
                number(0)?
            }
        };
        let length = usize::try_from(length).ok()?;
        (length <= bytes.len()).then_some(length)
    }
}
