//! Where in a log what was written since a time begins, as far as it is known: parts know it of lines that are far apart.

use jiff::Timestamp;
use platform::log_parts;
use protocol::ledger::PartHeader;

use super::{
    known::Known,
    source::{ReadError, Source},
};

/// The place of the last known line that was written before `since`: all that was written then or later is behind it. Looks
/// at a few parts only.
pub(super) async fn place(source: &Source, log: &Known, since: Timestamp) -> Result<u64, ReadError> {
    let Some(objects) = source.store.objects() else { return Ok(log.start) };
    let (mut low, mut high) = (0, log.parts.len());
    let mut place = log.start;
    // Before `low` all parts begin too early, from `high` on too late.
    while low < high {
        let middle = low + (high - low) / 2;
        let mut at = middle;
        let header = loop {
            let header = match log.parts.get(at) {
                Some(part) => log_parts::header(objects, &source.record.job_id, part).await?,
                None => None,
            };
            match header {
                // In the middle of a long line, say.
                Some(header) if header.index.is_empty() && at > low => at -= 1,
                other => break other,
            }
        };
        match header.as_ref().and_then(|header| before(header, since)) {
            Some(found) => {
                place = place.max(found);
                low = middle + 1;
            }
            None => high = at,
        }
    }
    Ok(place)
}

/// The last line that a header names before a time.
fn before(header: &PartHeader, since: Timestamp) -> Option<u64> {
    header.index.iter().rev().find(|(_, time)| *time < since).map(|(place, _)| *place)
}
