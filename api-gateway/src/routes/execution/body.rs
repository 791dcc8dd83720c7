use actix_web::{HttpRequest, http::header, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::{error::GatewayError, settings::GatewaySettings};

/// Bytes beyond the limit that are read and thrown away, so that the client sees the answer instead of a broken
/// connection.
const DRAINED: usize = 16 * 1024 * 1024;

/// Reads a body within its limits of size and time.
pub(super) async fn read(
    payload: web::Payload,
    request: &HttpRequest,
    settings: &GatewaySettings,
) -> Result<Bytes, GatewayError> {
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|size: usize| size > settings.max_body.saturating_add(DRAINED)) {
        return Err(too_large(settings));
    }
    let reading = read_all(payload, settings);
    tokio::time::timeout(settings.body_timeout, reading).await.unwrap_or(Err(GatewayError::BodyTimeout))
}

async fn read_all(mut payload: web::Payload, settings: &GatewaySettings) -> Result<Bytes, GatewayError> {
    let limit = settings.max_body;
    let (mut kept, mut size) = (BytesMut::new(), 0_usize);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| GatewayError::BodyBroken)?;
        size = size.saturating_add(chunk.len());
        if size <= limit {
            kept.extend_from_slice(&chunk);
        } else {
            kept = BytesMut::new();
            if size > limit.saturating_add(DRAINED) {
                break;
            }
        }
    }
    if size > limit { Err(too_large(settings)) } else { Ok(kept.freeze()) }
}

/// Throws a body away, within the limits of [`read`], so that the client sees why it was refused.
pub(super) async fn discard(mut payload: web::Payload, settings: &GatewaySettings) {
    let discarding = async {
        let mut size = 0_usize;
        while let Some(Ok(chunk)) = payload.next().await {
            size = size.saturating_add(chunk.len());
            if size > DRAINED {
                break;
            }
        }
    };
    // What is still on its way then is cut off with the connection.
    drop(tokio::time::timeout(settings.body_timeout, discarding).await);
}

fn too_large(settings: &GatewaySettings) -> GatewayError {
    GatewayError::TooLarge { what: "the body has", limit: settings.max_body }
}
