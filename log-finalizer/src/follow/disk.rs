//! Room on disk for what waits for the bucket: one file without a name, cut into places of one size, for all logs together.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::task::spawn_blocking;

/// Bytes of one place: a full buffer of a log, with the times of all lines that can be in it.
pub(super) const PLACE: usize = 128 * 1024;

/// A file of places.
#[derive(Debug)]
pub(super) struct Disk {
    file: Arc<File>,
    free: Mutex<Vec<u32>>,
    /// Bytes of the places that are taken.
    used: Gauge,
}

/// One place that is taken; free again when dropped.
#[derive(Debug)]
pub(super) struct Taken {
    disk: Arc<Disk>,
    number: u32,
    size: usize,
}

impl Disk {
    /// A file in `dir` that grows to at most `size` bytes, and goes with this process.
    ///
    /// # Errors
    /// When it can't be made.
    pub(super) fn new(dir: &Path, size: u64, used: Gauge) -> io::Result<Self> {
        let places = u32::try_from(size / PLACE as u64).unwrap_or(u32::MAX);
        Ok(Self { file: Arc::new(tempfile::tempfile_in(dir)?), free: Mutex::new((0..places).rev().collect()), used })
    }

    /// Writes `bytes` to a free place. `None` where none is free, or they are more than one place has.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub(super) async fn write(self: &Arc<Self>, bytes: Vec<u8>) -> io::Result<Option<Taken>> {
        if bytes.len() > PLACE {
            return Ok(None);
        }
        let Some(number) = self.free().pop() else { return Ok(None) };
        self.used.inc_by(PLACE as i64);
        let taken = Taken { disk: self.clone(), number, size: bytes.len() };
        let file = self.file.clone();
        // Kept until the bytes are written, even where nobody waits for that any more: the next one that has this place writes after.
        let written = move || file.write_all_at(&bytes, offset(number)).map(|()| taken);
        Ok(Some(spawn_blocking(written).await??))
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// What was written.
    ///
    /// # Errors
    /// When the disk does not give it back.
    pub(super) async fn read(&self) -> io::Result<Vec<u8>> {
        let (file, number, size) = (self.disk.file.clone(), self.number, self.size);
        spawn_blocking(move || {
            let mut bytes = vec![0; size];
            file.read_exact_at(&mut bytes, offset(number)).map(|()| bytes)
        })
        .await?
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.disk.used.dec_by(PLACE as i64);
        self.disk.free().push(self.number);
    }
}

fn offset(number: u32) -> u64 {
    u64::from(number) * PLACE as u64
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn places_hold_what_was_written_and_are_used_again() {
        let dir = TempDir::new().unwrap();
        let disk = Arc::new(Disk::new(dir.path(), 2 * PLACE as u64 + 1, Gauge::default()).unwrap());
        let one = disk.write(b"one".to_vec()).await.unwrap().unwrap();
        let two = disk.write(vec![7; PLACE]).await.unwrap().unwrap();
        assert!(disk.write(b"three".to_vec()).await.unwrap().is_none(), "there are two places");
        assert_eq!((one.read().await.unwrap(), two.read().await.unwrap()), (b"one".to_vec(), vec![7; PLACE]));
        assert_eq!(disk.used.get(), 2 * PLACE as i64);
        drop(two);
        assert_eq!(disk.used.get(), PLACE as i64);
        let three = disk.write(b"three".to_vec()).await.unwrap().unwrap();
        assert_eq!((one.read().await.unwrap(), three.read().await.unwrap()), (b"one".to_vec(), b"three".to_vec()));
        drop(one);
        assert!(disk.write(vec![0; PLACE + 1]).await.unwrap().is_none(), "more than a place has");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the file has no name");
    }
}
