//! Errors: a kind, a message, and a chain of causes.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The result of what can fail with an [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this library.
///
/// It displays as its outermost message, which says what was attempted. [`source`](StdError::source) leads from
/// there to the cause. The alternate form (`{:#}`) is the whole chain in one line, and the debugging form the
/// chain in lines.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    /// `None` where `cause` speaks for itself.
    message: Option<String>,
    cause: Option<Cause>,
}

type Cause = Box<dyn StdError + Send + Sync>;

/// The kinds of errors, by what a caller can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such container, or it has ended.
    ContainerNotFound,
    /// The request cannot be granted, now or later.
    InvalidRequest,
    /// The source could not be read. A later call may succeed.
    Source,
    /// The component is not one, trapped, or returned what it must not.
    Component,
    /// The component exceeded its [`Limits`](crate::Limits).
    Limit,
}

impl Error {
    /// Creates an error.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: Some(message.into()),
            cause: None,
        }))
    }

    /// Creates an error that is `cause` itself: its message, and its own causes.
    pub(crate) fn from_cause(kind: ErrorKind, cause: impl Into<Cause>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: None,
            cause: Some(cause.into()),
        }))
    }

    /// Returns the kind of the error, which context does not change.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Adds a message around this error: what was attempted when it occurred.
    #[must_use]
    pub fn context(self, message: impl Into<String>) -> Self {
        let kind = self.kind();
        let cause = match *self.0 {
            Inner {
                message: None,
                cause: Some(cause),
                ..
            } => cause,
            inner => Box::new(Self(Box::new(inner))),
        };
        Self(Box::new(Inner {
            kind,
            message: Some(message.into()),
            cause: Some(cause),
        }))
    }

    /// Returns the last error of the chain: the cause that has no other.
    pub fn root_cause(&self) -> &(dyn StdError + 'static) {
        self.causes().last().unwrap_or(self)
    }

    /// Finds the first error of that type in the chain.
    pub(crate) fn find<T: StdError + 'static>(&self) -> Option<&T> {
        let outermost: Option<&(dyn StdError + 'static)> = match &self.0.cause {
            Some(cause) => Some(&**cause),
            None => None,
        };
        std::iter::successors(outermost, |&error| error.source())
            .find_map(|error| error.downcast_ref())
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.source(), |&error| error.source())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.message, &self.0.cause) {
            (Some(message), _) => f.write_str(message)?,
            (None, Some(cause)) => write!(f, "{cause}")?,
            (None, None) => {}
        }
        if f.alternate() {
            for cause in self.causes() {
                write!(f, ": {cause}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        for (at, cause) in self.causes().enumerate() {
            let heading = if at == 0 { "\nCaused by:" } else { "" };
            write!(f, "{heading}\n    {at}: {cause}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let cause: &(dyn StdError + 'static) = &**self.0.cause.as_ref()?;
        match &self.0.message {
            Some(_) => Some(cause),
            None => cause.source(),
        }
    }
}

impl From<io::Error> for Error {
    /// Makes an error of the kind [`ErrorKind::Source`].
    fn from(error: io::Error) -> Self {
        Self::from_cause(ErrorKind::Source, error)
    }
}

/// Adds context to errors, which are of the kind [`ErrorKind::Source`] where they have no kind yet.
pub(crate) trait Context<T> {
    fn context(self, message: impl Into<String>) -> Result<T>;

    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: StdError + Send + Sync + 'static> Context<T> for Result<T, E> {
    fn context(self, message: impl Into<String>) -> Result<T> {
        self.with_context(|| message)
    }

    fn with_context<M: Into<String>>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| {
            let error = match (Box::new(error) as Cause).downcast::<Error>() {
                Ok(error) => *error,
                Err(other) => Error::from_cause(ErrorKind::Source, other),
            };
            error.context(message())
        })
    }
}

/// Creates an error of a kind with a formatted message: `error!(Source, "line {at}: ...")`.
macro_rules! error {
    ($kind:ident, $($message:tt)+) => {
        $crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($message)+))
    };
}

/// Returns from a function with such an error.
macro_rules! bail {
    ($($error:tt)+) => {
        return Err($crate::error::error!($($error)+))
    };
}

pub(crate) use {bail, error};

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(error: &Error) -> Vec<String> {
        let causes = error.causes().map(ToString::to_string);
        [error.to_string()].into_iter().chain(causes).collect()
    }

    #[test]
    fn context_keeps_the_kind_and_the_causes() {
        let error = Error::new(ErrorKind::ContainerNotFound, "it has ended");
        let error = error.context("cannot read it").context("cannot print it");
        assert_eq!(error.kind(), ErrorKind::ContainerNotFound);
        assert_eq!(
            chain(&error),
            ["cannot print it", "cannot read it", "it has ended"]
        );
        assert_eq!(error.root_cause().to_string(), "it has ended");
        assert_eq!(
            format!("{error:#}"),
            "cannot print it: cannot read it: it has ended"
        );
        assert_eq!(
            format!("{error:?}"),
            "cannot print it\nCaused by:\n    0: cannot read it\n    1: it has ended"
        );
    }

    #[test]
    fn other_errors_stand_in_the_chain_once_and_can_be_found() {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let alone = Error::from(absent());
        assert_eq!(chain(&alone), [absent().to_string()]);
        let result: Result<(), io::Error> = Err(absent());
        for error in [
            alone.context("file"),
            result.context("file").expect_err("it is one"),
        ] {
            assert_eq!(chain(&error), ["file".to_owned(), absent().to_string()]);
            assert_eq!(error.kind(), ErrorKind::Source);
            let found = error.find::<io::Error>().map(io::Error::kind);
            assert_eq!(found, Some(io::ErrorKind::NotFound));
            let source = error.source().expect("there is a cause");
            assert!(source.is::<io::Error>());
        }
    }

    #[test]
    fn errors_cross_threads() {
        fn check<T: Send + Sync + 'static>() {}
        check::<Error>();
    }
}
