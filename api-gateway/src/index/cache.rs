use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use protocol::{JobId, JobRecord};

/// Records that change no more, the oldest guests leaving first.
pub(super) struct RecordCache {
    limit: usize,
    bytes: usize,
    records: HashMap<JobId, Arc<JobRecord>>,
    order: VecDeque<JobId>,
    barred: HashSet<JobId>,
    barred_order: VecDeque<JobId>,
}

/// Removed jobs that are remembered, so that a read which was under way does not bring one back.
const BARRED_LIMIT: usize = 1024;

impl RecordCache {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            bytes: 0,
            records: HashMap::new(),
            order: VecDeque::new(),
            barred: HashSet::new(),
            barred_order: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, job: &JobId) -> Option<Arc<JobRecord>> {
        self.records.get(job).cloned()
    }

    pub(super) fn insert(&mut self, record: Arc<JobRecord>) {
        if self.barred.contains(&record.job_id) {
            return;
        }
        let (id, size) = (record.job_id, size(&record));
        match self.records.insert(id, record) {
            Some(before) => self.bytes -= self::size(&before),
            None => self.order.push_back(id),
        }
        self.bytes += size;
        while self.bytes > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(&oldest);
        }
    }

    pub(super) fn remove(&mut self, job: &JobId) {
        if self.records.contains_key(job) {
            self.order.retain(|other| other != job);
            self.forget(job);
        }
    }

    /// Removes a job for good.
    pub(super) fn bar(&mut self, job: JobId) {
        self.remove(&job);
        if self.barred.insert(job) {
            self.barred_order.push_back(job);
        }
        if self.barred_order.len() > BARRED_LIMIT
            && let Some(oldest) = self.barred_order.pop_front()
        {
            self.barred.remove(&oldest);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit);
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget(&mut self, job: &JobId) {
        if let Some(record) = self.records.remove(job) {
            self.bytes -= size(&record);
        }
    }
}

/// About what a record takes; only its texts can be long.
fn size(record: &JobRecord) -> usize {
    let texts = [record.parameters.as_ref(), record.message.as_ref()];
    let gaps: usize = record.archive.gaps.iter().map(String::len).sum();
    let lists = 256 * (record.results.len() + record.declared_outputs.len() + record.requested_outputs.len());
    1024 + texts.into_iter().flatten().map(String::len).sum::<usize>() + gaps + lists
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::job_record::ArchiveState;

    use super::*;

    fn record(millis: u64) -> Arc<JobRecord> {
        let id = JobId::generate(millis);
        Arc::new(JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), Timestamp::UNIX_EPOCH, ArchiveState::Off))
    }

    #[test]
    fn the_cache_stays_within_its_bytes() {
        let mut cache = RecordCache::new(10 * 1024);
        let records: Vec<_> = (1..=50).map(record).collect();
        for record in &records {
            cache.insert(record.clone());
            cache.insert(record.clone());
        }
        assert!(cache.bytes() <= 10 * 1024 && cache.len() >= 9, "{} {}", cache.bytes(), cache.len());
        assert!(cache.get(&records[0].job_id).is_none());
        assert!(cache.get(&records[49].job_id).is_some());
        for record in &records {
            cache.remove(&record.job_id);
        }
        assert_eq!((cache.bytes(), cache.order.len()), (0, 0));
    }
}
