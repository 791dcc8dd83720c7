//! Both outputs of the process, framed into one log as they come. A process that writes faster than the disk waits.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::OwnedFd,
    path::Path,
    process::Child,
};

use jiff::Timestamp;
use protocol::local::log_frames::{Framer, Output};
use tokio::{io::AsyncReadExt, net::unix::pipe::Receiver};

/// Bytes read at once: all that a pipe holds.
const CHUNK: usize = 64 * 1024;

/// The outputs and where they go.
pub(super) struct Outputs {
    stdout: Source,
    stderr: Source,
    log: Log,
}

impl Outputs {
    /// Takes the outputs of a child.
    pub(super) fn new(log: &Path, child: &mut Child) -> io::Result<Self> {
        let (stdout, stderr) = (child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from));
        Ok(Self {
            stdout: Source::new(Output::Stdout, stdout)?,
            stderr: Source::new(Output::Stderr, stderr)?,
            log: Log::open(log),
        })
    }

    /// Copies what comes next from either; waits for ever once both are closed. Nothing is lost when it is dropped.
    pub(super) async fn copy_some(&mut self) {
        let source = tokio::select! {
            () = self.stdout.read() => &mut self.stdout,
            () = self.stderr.read() => &mut self.stderr,
        };
        source.frame(&mut self.log);
    }

    /// True once nobody can write any more.
    pub(super) fn are_closed(&self) -> bool {
        self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    /// Writes what was held back; returns why the log is not complete, if it is not.
    pub(super) fn finish(mut self) -> Option<String> {
        for source in [&mut self.stdout, &mut self.stderr] {
            if source.pipe.is_some() {
                self.log.gap.get_or_insert_with(|| "the output of a process that does not end is left out".to_owned());
            }
            source.close(&mut self.log);
        }
        self.log.gap
    }
}

struct Source {
    pipe: Option<Receiver>,
    framer: Framer,
    buffer: Box<[u8]>,
    filled: usize,
}

impl Source {
    fn new(output: Output, pipe: Option<OwnedFd>) -> io::Result<Self> {
        let pipe = pipe.map(Receiver::from_owned_fd).transpose()?;
        Ok(Self { pipe, framer: Framer::new(output), buffer: vec![0; CHUNK].into(), filled: 0 })
    }

    /// Fills the buffer; with nothing at the output's end.
    async fn read(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        // A pipe has no other errors than that of a wrong descriptor: there is nothing more to be had.
        self.filled = pipe.read(&mut self.buffer).await.unwrap_or(0);
    }

    fn frame(&mut self, log: &mut Log) {
        if self.filled == 0 {
            self.close(log);
        } else {
            self.framer.push(Timestamp::now(), &self.buffer[..self.filled], &mut log.framed);
            log.write();
        }
    }

    fn close(&mut self, log: &mut Log) {
        self.pipe = None;
        self.framer.finish(Timestamp::now(), &mut log.framed);
        log.write();
    }
}

/// The log. After the first failure nothing more is written: a gap is at its end only.
struct Log {
    file: Option<File>,
    length: u64,
    framed: Vec<u8>,
    gap: Option<String>,
}

impl Log {
    fn open(path: &Path) -> Self {
        let opened = OpenOptions::new().append(true).open(path);
        let gap = opened.as_ref().err().map(|error| format!("the log could not be opened: {error}"));
        Self { file: opened.ok(), length: 0, framed: Vec::new(), gap }
    }

    fn write(&mut self) {
        if let Some(file) = &mut self.file {
            match file.write_all(&self.framed) {
                Ok(()) => self.length += self.framed.len() as u64,
                Err(error) => {
                    self.gap = Some(format!("the log could not be written further: {error}"));
                    // No half frame stays; if one does, its reader takes what is there.
                    drop(file.set_len(self.length));
                    self.file = None;
                }
            }
        }
        self.framed.clear();
    }
}
