use std::{collections::HashSet, hash::Hash, sync::Arc};

use jiff::Timestamp;
use protocol::{
    JobRecord,
    job_record::{ArchiveState, Status},
};

/// What a list shows of a job.
#[derive(Debug, Clone)]
pub struct Row {
    origin: Arc<Origin>,
    message: Option<Arc<str>>,
    created: i64,
    started: i64,
    finished: i64,
    updated: i64,
    status: Status,
    progress: u8,
    has_log: bool,
    has_workload: bool,
}

/// What many jobs have in common: each pair is kept once.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) process: Arc<str>,
    pub(super) owner: Option<Arc<str>>,
}

/// Stands for a time that is not known.
const NEVER: i64 = i64::MIN;
/// Stands for a progress that is not known.
const UNKNOWN: u8 = u8::MAX;
/// The longest message of a list, in bytes; the job's own page shows it whole.
const MESSAGE_LIMIT: usize = 160;

impl Row {
    pub(super) fn new(record: &JobRecord, texts: &mut Texts) -> Self {
        let micros = |time: Option<Timestamp>| time.map_or(NEVER, |time| time.as_microsecond());
        Self {
            origin: texts.origin(record),
            message: record.message.as_deref().map(|message| texts.shared(shortened(message))),
            created: record.created.as_microsecond(),
            started: micros(record.started),
            finished: micros(record.finished),
            updated: record.updated.as_microsecond(),
            status: record.status,
            progress: record.progress.unwrap_or(UNKNOWN),
            has_log: has_log(record),
            has_workload: record.workload.as_ref().is_some_and(|workload| workload.job_uid.is_some()),
        }
    }

    /// Id of the process.
    pub fn process_id(&self) -> &str {
        &self.origin.process
    }

    /// Whose job it is.
    pub fn owner(&self) -> Option<&str> {
        self.origin.owner.as_deref()
    }

    pub(super) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// Status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The message, shortened.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Whether there is a log to read.
    pub fn has_log(&self) -> bool {
        self.has_log
    }

    /// Whether what runs the job was created.
    pub(super) fn has_workload(&self) -> bool {
        self.has_workload
    }

    /// Percent done.
    pub fn progress(&self) -> Option<u8> {
        (self.progress != UNKNOWN).then_some(self.progress)
    }

    /// When the job was taken.
    pub fn created(&self) -> Timestamp {
        time(self.created).unwrap_or_default()
    }

    /// When the main container started.
    pub fn started(&self) -> Option<Timestamp> {
        time(self.started)
    }

    /// When the execution ended.
    pub fn finished(&self) -> Option<Timestamp> {
        time(self.finished)
    }

    /// When the record was written.
    pub fn updated(&self) -> Timestamp {
        time(self.updated).unwrap_or_default()
    }
}

/// Whether there is a log to read: archived, or while the job runs or is prepared.
pub fn has_log(record: &JobRecord) -> bool {
    let is_live = record.has_begun() && !record.status.is_terminal() && record.archive.state == ArchiveState::Pending;
    is_live || record.archive.is_readable()
}

fn time(micros: i64) -> Option<Timestamp> {
    if micros == NEVER { None } else { Timestamp::from_microsecond(micros).ok() }
}

fn shortened(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_LIMIT);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// Texts that many jobs share, and origins, each kept once.
#[derive(Default)]
pub(super) struct Texts {
    texts: HashSet<Arc<str>>,
    origins: HashSet<Arc<Origin>>,
}

impl Texts {
    /// More different ones of a kind than this are not shared any more: they would only pile up here.
    const LIMIT: usize = 4096;

    fn shared(&mut self, text: &str) -> Arc<str> {
        match self.texts.get(text) {
            Some(known) => known.clone(),
            None => kept(&mut self.texts, text.into()),
        }
    }

    fn origin(&mut self, record: &JobRecord) -> Arc<Origin> {
        let process = self.shared(record.process_id.as_str());
        let owner = record.owner.as_ref().map(|owner| self.shared(owner.as_str()));
        let origin = Origin { process, owner };
        match self.origins.get(&origin) {
            Some(known) => known.clone(),
            None => kept(&mut self.origins, Arc::new(origin)),
        }
    }
}

fn kept<T: Eq + Hash + ?Sized>(held: &mut HashSet<Arc<T>>, new: Arc<T>) -> Arc<T> {
    if held.len() >= Texts::LIMIT {
        held.retain(|known| Arc::strong_count(known) > 1);
    }
    if held.len() < Texts::LIMIT {
        held.insert(new.clone());
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_stated_size() {
        assert!(size_of::<Row>() <= 64, "{}", size_of::<Row>());
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = shortened(&"ä".repeat(200)).to_owned();
        assert_eq!(cut, "ä".repeat(80));
    }

    #[test]
    fn texts_are_shared_and_their_number_is_bounded() {
        let mut texts = Texts::default();
        let (a, b) = (texts.shared("a"), texts.shared("a"));
        assert!(Arc::ptr_eq(&a, &b));
        for number in 0..3 * Texts::LIMIT {
            texts.shared(&number.to_string());
        }
        assert!(texts.texts.len() <= Texts::LIMIT);
    }
}
