//! The one error type of the rooms below `pg`: a kind, a message and, where they help, a detail and a hint.
//! `pg/error.rs` gives each kind its SQLSTATE; nothing here knows Postgres.

use std::fmt;

/// The kind of an error. Each kind has its own SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A literal that cannot be parsed (22P02).
    InvalidText,
    /// A number outside the range of its type (22003).
    NumericRange,
    /// A division by zero (22012).
    DivisionByZero,
    /// A value that the type or operation does not allow (22000).
    Data,
    /// An SQL NULL where none may be (22004).
    NullNotAllowed,
    /// A parameter, option or type modifier out of bounds (22023).
    InvalidParameter,
    /// More dimensions, memory or pages than a limit allows (54000).
    LimitExceeded,
    /// Memory that cannot be allocated (53200).
    OutOfMemory,
    /// Something this build does not do (0A000).
    NotSupported,
    /// Something that is not in the state that the operation needs (55000).
    NotReady,
    /// An object of the wrong kind for the operation (42809).
    WrongObject,
    /// A relation that does not exist (42P01).
    NoObject,
    /// Stored bytes that contradict the file format (XX002).
    Corrupted,
    /// What is read was replaced meanwhile: the statement may be tried again (40001).
    Conflict,
    /// A bug or a broken calling convention (XX000).
    Internal,
}

/// An error, with everything that the user is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Class of the error.
    pub kind: Kind,
    /// Primary message, lower-case, no full stop (PostgreSQL style).
    pub message: String,
    /// One more sentence, if any.
    pub detail: Option<String>,
    /// What to do, if known.
    pub hint: Option<String>,
}

/// Hint for an index that cannot be used as it is.
pub const REINDEX: &str = "Rebuild the index with REINDEX.";

/// `Result` of the pure rooms.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of `kind` with a primary message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), detail: None, hint: None }
    }

    /// Adds a detail sentence.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Damage found in `blkno`: `what` says what was expected and what was there.
    pub fn corrupted(blkno: u32, what: impl fmt::Display) -> Self {
        Self::new(Kind::Corrupted, format!("ivf index is damaged at block {blkno}: {what}"))
            .with_hint(REINDEX)
    }

    /// Damage of which no single page can be named. The message begins with "ivf index".
    pub fn contradiction(message: impl Into<String>) -> Self {
        Self::new(Kind::Corrupted, message).with_hint(REINDEX)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
