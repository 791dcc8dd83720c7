//! What is framed comes out again byte for byte, and what is not framed is refused, whatever the chunks.

use jiff::Timestamp;
use protocol::local::log_frames::{Deframer, Framer, NotFramed, Output};

/// The first byte is the size of a chunk, the rest is output of a process, and then a log that may be framed.
pub(crate) fn check(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let size = usize::from(*size).max(1);
    let (mut framer, mut framed) = (Framer::new(Output::Stderr), Vec::new());
    for chunk in bytes.chunks(size) {
        framer.push(Timestamp::UNIX_EPOCH, chunk, &mut framed);
    }
    framer.finish(Timestamp::UNIX_EPOCH, &mut framed);
    assert_eq!(deframed(&framed, size).as_deref(), Ok(bytes));
    assert_eq!(deframed(bytes, size).is_ok(), deframed(bytes, bytes.len().max(1)).is_ok());
}

fn deframed(framed: &[u8], size: usize) -> Result<Vec<u8>, NotFramed> {
    let (mut deframer, mut bytes) = (Deframer::default(), Vec::new());
    for chunk in framed.chunks(size) {
        let before = bytes.len();
        deframer.push(chunk, &mut bytes, &mut Vec::new())?;
        assert!(bytes.len() - before <= chunk.len());
    }
    Ok(bytes)
}
