use actix_web::{HttpRequest, http::header, web};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;

use crate::{
    app::Gateway,
    error::GatewayError,
    memory::{self, Memory, Portion},
    settings::GatewaySettings,
};

/// Bytes beyond the limit that are read and thrown away, so that the client sees the answer instead of a broken
/// connection.
const DRAINED: usize = 16 * 1024 * 1024;

/// A body, and what it takes of the memory.
pub(in crate::routes) struct Body {
    pub(in crate::routes) bytes: Bytes,
    pub(in crate::routes) portion: Portion,
}

/// Reads a body within its limits of size, memory and time.
pub(in crate::routes) async fn read(
    payload: web::Payload,
    request: &HttpRequest,
    gateway: &Gateway,
) -> Result<Body, GatewayError> {
    let settings = &*gateway.settings;
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|size: usize| size > settings.max_body.saturating_add(DRAINED)) {
        return Err(too_large(settings));
    }
    let reading = read_all(payload, settings, &gateway.memory);
    tokio::time::timeout(settings.body_timeout, reading).await.unwrap_or(Err(GatewayError::BodyTimeout))
}

async fn read_all(
    mut payload: web::Payload,
    settings: &GatewaySettings,
    memory: &Memory,
) -> Result<Body, GatewayError> {
    let limit = settings.max_body;
    let mut portion = memory.take(0).ok_or(GatewayError::Busy)?;
    let (mut kept, mut size, mut is_busy) = (BytesMut::new(), 0_usize, false);
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| GatewayError::BodyBroken)?;
        size = size.saturating_add(chunk.len());
        // Taken as it comes: a client that is slow holds no more than it sent.
        is_busy = is_busy || (size <= limit && !portion.grow(memory::growing(size)));
        if size <= limit && !is_busy {
            kept.extend_from_slice(&chunk);
        } else {
            kept = BytesMut::new();
            portion.shrink(0);
            if size > limit.saturating_add(DRAINED) {
                break;
            }
        }
    }
    match (size > limit, is_busy) {
        (true, _) => Err(too_large(settings)),
        (false, true) => Err(GatewayError::Busy),
        (false, false) => Ok(Body { bytes: kept.freeze(), portion }),
    }
}

/// Throws a body away, within the limits of [`read`], so that the client sees why it was refused.
pub(crate) async fn discard(mut payload: web::Payload, settings: &GatewaySettings) {
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
