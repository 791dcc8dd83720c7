//! The end of a log, whole in memory: what pages show.

use std::{sync::Arc, time::Duration};

use actix_web::web::Data;
use futures::TryStreamExt;
use protocol::JobRecord;

use super::{
    asked::Asked,
    selection::{self, Piece},
    sending,
    source::{Found, Source, is_live},
};
use crate::{app::Gateway, error::GatewayError};

/// Longest time that the end of a log is put together for.
const LIMIT: Duration = Duration::from_secs(10);

/// The end of a log.
pub(crate) struct Tail {
    /// Its last bytes.
    pub bytes: Vec<u8>,
    /// Bytes before them.
    pub before: u64,
    /// Whether more may come.
    pub is_live: bool,
    /// What is known to be missing.
    pub gaps: u64,
    /// Names of the containers that have a log.
    pub containers: Vec<String>,
}

/// The last bytes of the log that is asked for, no more than so many; empty of a job that runs and has written nothing.
///
/// # Errors
/// When there is no such log, or it can't be read.
pub(crate) async fn tail(
    gateway: &Data<Gateway>,
    record: &Arc<JobRecord>,
    asked: &Asked,
    most: u64,
) -> Result<Tail, GatewayError> {
    let is_live = is_live(record);
    if !is_live && !record.archive.is_readable() {
        return Err(gateway.values.no_log(record));
    }
    if record.archive.is_readable() && !asked.is_part() {
        let (bytes, before) = gateway.values.end_of_log(record, most).await?;
        let gaps = u64::try_from(record.archive.gaps.len()).unwrap_or(u64::MAX);
        return Ok(Tail { bytes, before, is_live: false, gaps, containers: Vec::new() });
    }
    let mut place = gateway.logs.place().await?;
    let source = Source::of(gateway, record.clone());
    let found: Found = if record.has_begun() {
        let source = source.clone();
        source.clone().there(async move { source.find().await }).await?
    } else {
        Found { logs: Vec::new(), gaps: 0, is_all: false }
    };
    place.has_parts(found.logs.iter().map(|log| log.parts.len()).sum());
    let mut containers: Vec<String> = Vec::new();
    for log in &found.logs {
        if !containers.contains(&log.container) {
            containers.push(log.container.clone());
        }
    }
    let logs = if found.logs.is_empty() { Ok(Vec::new()) } else { selection::wanted(found.logs, asked) };
    let logs = logs.map_err(|selection::NoSuch(names)| GatewayError::NoSuchContainer(names))?;
    let pieces = if asked.container.is_some() {
        logs.into_iter().map(|log| Piece::Log(log.clone(), log.start.min(log.end), log.end)).collect()
    } else {
        selection::laid_out(logs.into_iter().map(|log| (log, 0)).collect())
    };
    let all = selection::size(&pieces);
    let pieces = selection::last(pieces, most);
    let before = all - selection::size(&pieces);
    let reading = sending::snapshot(gateway, place, source, pieces).try_fold(Vec::new(), async |mut bytes, piece| {
        bytes.extend_from_slice(&piece);
        Ok(bytes)
    });
    let bytes = match tokio::time::timeout(LIMIT, reading).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => return Err(GatewayError::Unavailable(Box::new(error))),
        Err(error) => return Err(GatewayError::Unavailable(Box::new(error))),
    };
    Ok(Tail { bytes, before, is_live, gaps: found.gaps, containers })
}
