//! What can go wrong between us and the bucket.

use std::{error::Error, time::Duration};

use minio::s3::{
    error::{Error as MinioError, NetworkError, S3ServerError, ValidationErr},
    minio_error_response::MinioErrorCode,
};

/// An action on the bucket failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The settings are none that the service could have.
    #[error("the settings of the bucket can't be used")]
    Settings {
        /// Why.
        source: Cause,
    },
    /// The bucket can't be used.
    #[error("the bucket {bucket} can't be used")]
    Check {
        /// Name of the bucket.
        bucket: String,
        /// Why.
        source: Cause,
    },
    /// An object can't be stored.
    #[error("{key} can't be stored")]
    Put {
        /// Key of the object.
        key: String,
        /// Why.
        source: Cause,
    },
    /// What was to be stored could not be read to its end; nothing was stored.
    #[error("what was to be stored as {key} could not be read")]
    Source {
        /// Key of the object.
        key: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// An object can't be read.
    #[error("{key} can't be read")]
    Get {
        /// Key of the object.
        key: String,
        /// Why.
        source: Cause,
    },
    /// An object is larger than the caller, or an upload, can take.
    #[error("{key} has more than {limit} bytes")]
    TooLarge {
        /// Key of the object.
        key: String,
        /// Bytes.
        limit: u64,
    },
    /// The size of an object can't be read.
    #[error("the size of {key} can't be read")]
    Head {
        /// Key of the object.
        key: String,
        /// Why.
        source: Cause,
    },
    /// An object can't be deleted.
    #[error("{key} can't be deleted")]
    Delete {
        /// Key of the object.
        key: String,
        /// Why.
        source: Cause,
    },
    /// Objects can't be listed.
    #[error("the keys under {prefix} can't be listed")]
    List {
        /// What the keys start with.
        prefix: String,
        /// Why.
        source: Cause,
    },
    /// A URL for an object can't be made.
    #[error("no URL can be made for {key}")]
    Presign {
        /// Key of the object.
        key: String,
        /// Why.
        source: Cause,
    },
}

impl StoreError {
    /// The cause in words that anybody may read: without keys, hosts and addresses.
    pub fn public_cause(&self) -> String {
        match (self, self.cause()) {
            (Self::Settings { .. }, _) => "the settings of the bucket can't be used".to_owned(),
            (Self::TooLarge { limit, .. }, _) => format!("it has more than {limit} bytes"),
            (_, Some(Cause::Refused { code, .. })) => format!("the bucket refused: {code}"),
            (_, Some(other)) => other.to_string(),
            (_, None) => "what was to be stored could not be read".to_owned(),
        }
    }

    /// True when the same action may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        self.cause().is_some_and(Cause::is_transient)
    }

    /// Why a request to the service failed.
    fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Settings { .. } | Self::Source { .. } | Self::TooLarge { .. } => None,
            Self::Check { source, .. }
            | Self::Put { source, .. }
            | Self::Get { source, .. }
            | Self::Head { source, .. }
            | Self::Delete { source, .. }
            | Self::List { source, .. }
            | Self::Presign { source, .. } => Some(source),
        }
    }
}

/// Why an action failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The service did not answer, or stopped sending.
    #[error("no answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The service can't be reached, or the connection broke.
    #[error("the connection to the service failed")]
    Network(#[source] Box<dyn Error + Send + Sync>),
    /// There is no such bucket.
    #[error("there is no such bucket")]
    NoBucket,
    /// There is no such object.
    #[error("there is no such object")]
    NoKey,
    /// The service refused, with one of its codes.
    #[error("the service refused: {code}{}{message}", if message.is_empty() { "" } else { ": " })]
    Refused {
        /// The service's code, in lower case where it is none of the usual ones.
        code: String,
        /// The service's words.
        message: String,
    },
    /// The service answered with a status, and nothing else that could be read.
    #[error("the service answered with HTTP status {0}")]
    Status(u16),
    /// Anything else.
    #[error("the request can't be made, or its answer can't be read")]
    Other(#[source] Box<dyn Error + Send + Sync>),
}

impl Cause {
    pub(super) fn other(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Other(Box::new(error))
    }

    /// True of a HEAD, GET or DELETE of an object that is not there.
    pub(super) fn is_missing_key(&self) -> bool {
        matches!(self, Self::NoKey)
    }

    /// True of a request that was to be done only if the object is still the same.
    pub(super) fn is_precondition(&self) -> bool {
        match self {
            Self::Status(status) => *status == 412,
            Self::Refused { code, .. } => code.eq_ignore_ascii_case("PreconditionFailed"),
            _ => false,
        }
    }

    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Network(_) => true,
            Self::Status(status) => *status >= 500 || *status == 429,
            Self::Refused { code, .. } => {
                ["slowdown", "internalerror", "serviceunavailable", "requesttimeout", "operationaborted", "503"]
                    .contains(&code.to_lowercase().as_str())
            }
            Self::NoBucket | Self::NoKey | Self::Other(_) => false,
        }
    }
}

impl From<MinioError> for Cause {
    fn from(error: MinioError) -> Self {
        match error {
            MinioError::S3Server(S3ServerError::S3Error(answer)) => match answer.code() {
                MinioErrorCode::NoSuchBucket => Self::NoBucket,
                MinioErrorCode::NoSuchKey => Self::NoKey,
                code => Self::Refused {
                    code: code.to_string(),
                    message: answer.message().clone().unwrap_or_default().trim_end_matches('.').to_owned(),
                },
            },
            MinioError::S3Server(
                S3ServerError::InvalidServerResponse { http_status_code: status, .. }
                | S3ServerError::HttpError(status, _),
            )
            | MinioError::Network(NetworkError::ServerError(status)) => Self::Status(status),
            MinioError::Network(NetworkError::ReqwestError(error))
            | MinioError::Validation(ValidationErr::HttpError(error)) => Self::Network(Box::new(error)),
            other => Self::other(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_and_lost_connections_pass_wrong_secrets_do_not() {
        let refused = |code: &str| Cause::Refused { code: code.into(), message: String::new() };
        for passing in
            [refused("SlowDown"), refused("internalerror"), Cause::Status(503), Cause::Timeout(Duration::ZERO)]
        {
            assert!(passing.is_transient(), "{passing}");
        }
        for lasting in [refused("AccessDenied"), refused("signaturedoesnotmatch"), Cause::Status(403), Cause::NoBucket]
        {
            assert!(!lasting.is_transient(), "{lasting}");
        }
    }

    #[test]
    fn a_refusal_reads_as_one_line() {
        let cause = Cause::Refused { code: "AccessDenied".into(), message: "not yours".into() };
        assert_eq!(cause.to_string(), "the service refused: AccessDenied: not yours");
    }
}
