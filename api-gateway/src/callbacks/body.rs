//! What a receiver is told.

use bytes::Bytes;
use protocol::{JobRecord, callback::CallbackKind};
use serde::Serialize;

use crate::{app::Gateway, error::GatewayError, memory::Portion, status::StatusInfo};

/// A body, and the memory that it takes where it is a document of results.
pub(super) struct Body {
    pub bytes: Bytes,
    pub memory: Option<Portion>,
}

/// The results of a successful job as a document; else the job's status as it is now.
///
/// # Errors
/// When the results can't be read.
pub(super) async fn of(gateway: &Gateway, record: &JobRecord, kind: CallbackKind) -> Result<Body, GatewayError> {
    if kind == CallbackKind::Success {
        let (bytes, memory) = gateway.values.whole_document(record).await?;
        return Ok(Body { bytes, memory: Some(memory) });
    }
    let failure = record.outcome.as_ref().and_then(|outcome| outcome.reason);
    let told =
        Told { status: StatusInfo::of_record(record, &gateway.urls), reason: failure.map(|reason| reason.to_string()) };
    let bytes = serde_json::to_vec(&told).map_err(GatewayError::internal)?.into();
    Ok(Body { bytes, memory: None })
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    status: StatusInfo,
    /// Why the job failed, as a word for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}
