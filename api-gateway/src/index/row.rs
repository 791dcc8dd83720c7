use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use protocol::{JobRecord, job_record::Status};

/// What a list shows of a job.
#[derive(Debug, Clone)]
pub struct Row {
    process: Arc<str>,
    message: Option<Arc<str>>,
    created: i64,
    started: i64,
    finished: i64,
    updated: i64,
    status: Status,
    progress: u8,
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
            process: texts.shared(record.process_id.as_str()),
            message: record.message.as_deref().map(|message| texts.shared(shortened(message))),
            created: record.created.as_microsecond(),
            started: micros(record.started),
            finished: micros(record.finished),
            updated: record.updated.as_microsecond(),
            status: record.status,
            progress: record.progress.unwrap_or(UNKNOWN),
        }
    }

    /// Id of the process.
    pub fn process_id(&self) -> &str {
        &self.process
    }

    pub(super) fn shared_process(&self) -> Arc<str> {
        self.process.clone()
    }

    /// Status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The message, shortened.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
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

/// Texts that many jobs share, each kept once.
#[derive(Default)]
pub(super) struct Texts(HashSet<Arc<str>>);

impl Texts {
    /// More different texts than this are not shared any more: they would only pile up here.
    const LIMIT: usize = 4096;

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= Self::LIMIT {
            self.0.retain(|text| Arc::strong_count(text) > 1);
        }
        let new: Arc<str> = text.into();
        if self.0.len() < Self::LIMIT {
            self.0.insert(new.clone());
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_stated_size() {
        assert!(size_of::<Row>() <= 72, "{}", size_of::<Row>());
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
        assert!(texts.0.len() <= Texts::LIMIT);
    }
}
