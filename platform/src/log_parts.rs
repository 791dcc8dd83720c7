//! What followers stored of a job's logs so far: the longest chain of parts for each container.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{TryStreamExt, stream::BoxStream};
use protocol::{
    JobId,
    job_id::Epoch,
    ledger::{self, HEADER_LIMIT, LogName, PartHeader, PartKey, Previous, chain},
    names::objects,
};
use tracing::warn;

use crate::{
    object_store::{ByteRange, ObjectStore, StoreError},
    telemetry,
};

/// Objects of one page of a listing.
const PAGE: u16 = 1000;

/// The parts of a job can't be found.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// The bucket failed.
    #[error("the parts of the log can't be read")]
    Store(#[from] StoreError),
    /// There are more than one wants to know of.
    #[error("the log has more than {0} parts")]
    TooMany(usize),
}

/// The stored beginning of one container's log.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its parts in order, one at least.
    pub parts: Vec<PartKey>,
    /// The header of the last of them.
    pub last: PartHeader,
}

impl Chain {
    /// Bytes of the log in it.
    pub fn end(&self) -> u64 {
        self.parts.last().map_or(0, PartKey::end)
    }
}

/// The chains of a job, in the order of pods and containers; of at most so many parts.
///
/// # Errors
/// When the bucket does not answer, or there are more parts.
pub async fn load(store: &ObjectStore, job: &JobId, limit: usize) -> Result<Vec<Chain>, PartsError> {
    let mut logs: BTreeMap<LogName, Vec<PartKey>> = BTreeMap::new();
    for part in list(store, job, &objects::log_parts_prefix(store.prefix(), job), None, limit).await? {
        logs.entry(part.log.clone()).or_default().push(part);
    }
    let mut chains = Vec::new();
    for parts in logs.into_values() {
        chains.extend(longest(store, job, &parts).await?);
    }
    chains.sort_by(|a, b| a.last.of.order().cmp(&b.last.of.order()));
    Ok(chains)
}

/// The parts that the same follower stored of the same log after this one, as far as they go on where it ends.
///
/// # Errors
/// When the bucket does not answer, or there are more parts than so many.
pub async fn after(store: &ObjectStore, job: &JobId, part: &PartKey, limit: usize) -> Result<Vec<PartKey>, PartsError> {
    let key = part.object(store.prefix(), job);
    let folder = key.rfind('/').map_or(key.as_str(), |end| &key[..=end]);
    let mut end = part.end();
    let mut parts = list(store, job, folder, Some(&key), limit).await?;
    // In the order of keys, the sizes of two parts of the same place are not.
    parts.sort_by_key(|part| (part.start, part.size));
    parts.retain(|part| {
        let goes_on = part.start == end;
        if goes_on {
            end = part.end();
        }
        goes_on
    });
    Ok(parts)
}

/// The header of a part; `None` where it is not there, or is none.
///
/// # Errors
/// When the bucket does not answer.
pub async fn header(store: &ObjectStore, job: &JobId, part: &PartKey) -> Result<Option<PartHeader>, StoreError> {
    let range = ByteRange { offset: 0, length: HEADER_LIMIT as u64 };
    Ok(begin(store, job, part, Some(range)).await?.map(|(header, _, _)| header))
}

/// A part: its header, and the bytes of the log in it; `None` where it is not there, or is none.
///
/// # Errors
/// When the bucket does not answer.
pub async fn open(
    store: &ObjectStore,
    job: &JobId,
    part: &PartKey,
) -> Result<Option<(PartHeader, BoxStream<'static, Result<Bytes, StoreError>>)>, StoreError> {
    use futures::StreamExt;
    let Some((header, first, rest)) = begin(store, job, part, None).await? else { return Ok(None) };
    let first = futures::stream::iter((!first.is_empty()).then_some(Ok(first)));
    Ok(Some((header, first.chain(rest).boxed())))
}

type Begun = (PartHeader, Bytes, BoxStream<'static, Result<Bytes, StoreError>>);

async fn begin(
    store: &ObjectStore,
    job: &JobId,
    part: &PartKey,
    range: Option<ByteRange>,
) -> Result<Option<Begun>, StoreError> {
    let key = part.object(store.prefix(), job);
    let Some(mut content) = store.get_range(&key, range).await? else { return Ok(None) };
    let mut head = Vec::new();
    while head.len() < HEADER_LIMIT && !head.contains(&b'\n') {
        match content.stream.try_next().await? {
            Some(bytes) => head.extend_from_slice(&bytes),
            None => break,
        }
    }
    match ledger::header::<PartHeader>(&head) {
        Ok((header, begin))
            if header.start == part.start && header.size == part.size && header.of.name() == part.log =>
        {
            Ok(Some((header, Bytes::from(head).slice(begin..), content.stream)))
        }
        Ok(_) => {
            warn!(%key, "a part of a log is another than its key says");
            Ok(None)
        }
        Err(error) => {
            warn!(%key, error = %telemetry::chain(&error), "a part of a log can't be read");
            Ok(None)
        }
    }
}

async fn list(
    store: &ObjectStore,
    job: &JobId,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<PartKey>, PartsError> {
    let (mut found, mut after) = (Vec::new(), after.map(str::to_owned));
    loop {
        let page = store.list(prefix, after.as_deref(), PAGE).await?;
        found.extend(page.iter().filter_map(|listed| PartKey::parse(store.prefix(), job, &listed.key)));
        if found.len() > limit {
            return Err(PartsError::TooMany(limit));
        }
        after = page.last().map(|last| last.key.clone()).filter(|_| page.len() == usize::from(PAGE));
        if after.is_none() {
            return Ok(found);
        }
    }
}

async fn longest(store: &ObjectStore, job: &JobId, parts: &[PartKey]) -> Result<Option<Chain>, StoreError> {
    let mut previous: Vec<(Epoch, Previous)> = Vec::new();
    for first in chain::firsts(parts) {
        let header = header(store, job, first).await?;
        previous.extend(header.and_then(|header| header.previous).map(|before| (first.epoch.clone(), before)));
    }
    let of_epoch = |part: &PartKey| {
        let found = previous.iter().find(|(epoch, _)| *epoch == part.epoch);
        found.map(|(_, before)| before.clone())
    };
    let mut parts = chain::longest(parts, of_epoch);
    // What can't be read is no part: the chain ends before it.
    while let Some(last) = parts.last() {
        if let Some(last) = header(store, job, last).await? {
            return Ok(Some(Chain { parts, last }));
        }
        parts.pop();
    }
    Ok(None)
}
