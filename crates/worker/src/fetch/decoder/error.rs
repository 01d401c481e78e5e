//! Why a body cannot be decoded.

/// The body cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    /// There are more than two codings.
    #[error("the body has the content codings {0}, and at most two are supported")]
    Multiple(String),
    /// A transfer coding is unknown, or chunks are not the last one.
    #[error("the body has the transfer codings {0}, not gzip, deflate or chunks that come last")]
    Transfer(String),
    /// The decoders of two codings together need too much memory.
    #[error("the two content codings of the body need more memory than one may")]
    TooLarge,
    /// The data is not in the declared coding.
    #[error("the body is not valid {0}: {1}")]
    Invalid(&'static str, String),
    /// The data ends too early.
    #[error("the body ends within its {0} data")]
    Truncated(&'static str),
}
