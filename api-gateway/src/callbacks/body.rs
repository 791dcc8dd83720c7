//! What a receiver is told.

use bytes::Bytes;
use protocol::{JobRecord, callback::CallbackKind};

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
    let bytes =
        serde_json::to_vec(&StatusInfo::of_record(record, &gateway.urls)).map_err(GatewayError::internal)?.into();
    Ok(Body { bytes, memory: None })
}
