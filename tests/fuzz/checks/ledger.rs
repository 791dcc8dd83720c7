//! A part of a log that is read comes out as it was written, whatever else there is; keys lead back to what they were made from; what a log
//! tells of progress does not depend on the chunks in which it comes.

use protocol::{
    JobId,
    ledger::{self, PartHeader, PartKey, tail},
    progress::{Progress, ProgressParser, TEXT_LIMIT},
};

/// The first byte is the size of a chunk; the rest is a part, the answer of a follower, a question, a key, and a log.
pub(crate) fn check(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    if let Ok((header, begin)) = ledger::header::<PartHeader>(bytes) {
        again(&header, &bytes[begin..]);
    }
    if let Ok((answer, begin)) = ledger::header::<tail::Answer>(bytes) {
        again(&answer, &bytes[begin..]);
    }
    if let Ok(question) = serde_json::from_slice::<tail::Question>(bytes) {
        let json = serde_json::to_vec(&question).unwrap();
        assert_eq!(serde_json::from_slice::<tail::Question>(&json).unwrap(), question);
    }
    let job: JobId = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
    if let Some(key) = std::str::from_utf8(bytes).ok().and_then(|key| PartKey::parse("logs/", &job, key)) {
        assert_eq!(PartKey::parse("logs/", &job, &key.object("logs/", &job)), Some(key));
    }
    let whole = progress(bytes, bytes.len().max(1));
    assert_eq!(progress(bytes, usize::from(*size).max(1)), whole);
    if let Some(Progress { percent, text }) = whole {
        assert!(percent <= 100 && text.is_none_or(|text| text.chars().count() <= TEXT_LIMIT));
    }
}

fn again<T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(header: &T, rest: &[u8]) {
    let framed = ledger::framed(header, rest).unwrap();
    // One that is longer than a header may be was written in another way.
    let Ok((read, begin)) = ledger::header::<T>(&framed) else {
        assert!(framed.len() - rest.len() > ledger::HEADER_LIMIT);
        return;
    };
    assert_eq!((&read, &framed[begin..]), (header, rest));
}

/// The last that is told.
fn progress(log: &[u8], size: usize) -> Option<Progress> {
    let (mut parser, mut last) = (ProgressParser::new(), None);
    for chunk in log.chunks(size) {
        last = parser.feed(chunk).or(last);
    }
    parser.finish().or(last)
}
