//! Bytes that are held in memory for a client: no longer than it may take to read them.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody, SizedStream},
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tokio::task::AbortHandle;

use super::values::{Bytestream, ValueError};
use crate::memory::Portion;

/// Bytes that are given to the connection at one time: what it was given is copied.
const CHUNK: usize = 64 * 1024;

/// Bytes in pieces of a size that a connection takes at once.
pub(super) fn in_chunks(mut bytes: Bytes) -> Bytestream {
    stream::iter(std::iter::from_fn(move || {
        let next = bytes.split_to(bytes.len().min(CHUNK));
        (!next.is_empty()).then_some(Ok(next))
    }))
    .boxed()
}

/// Sends what takes a portion of the memory, which goes back at the end. After `limit` both are taken away, and the answer
/// breaks off. A connection does not ask for more while its client does not read, so that only a timer can do this.
pub(super) fn lent(bytes: Bytestream, portion: Option<Portion>, limit: Duration) -> Bytestream {
    let Some(portion) = portion else { return bytes };
    let held = Arc::new(Mutex::new(Some((bytes, portion))));
    let timed = held.clone();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(limit).await;
        timed.lock().unwrap_or_else(PoisonError::into_inner).take();
    });
    Lent { held, timer: timer.abort_handle(), is_over: false }.boxed()
}

/// An answer that is whole in memory, of which `portion` is held until it is sent, no longer than `limit`; a small one is sent at
/// once. `None` where there is no memory for it.
pub(crate) fn lend(answer: HttpResponse, mut portion: Portion, limit: Duration) -> Option<HttpResponse> {
    let (head, body) = answer.into_parts();
    let bytes = match body.try_into_bytes() {
        Ok(bytes) => bytes,
        Err(stream) => return Some(head.set_body(stream)),
    };
    if bytes.len() <= CHUNK {
        return Some(head.set_body(BoxBody::new(bytes)));
    }
    let size = bytes.len();
    if !portion.grow(size) {
        return None;
    }
    portion.shrink(size);
    let chunks = lent(in_chunks(bytes), Some(portion), limit);
    Some(head.set_body(BoxBody::new(SizedStream::new(u64::try_from(size).ok()?, chunks))))
}

type Held = Arc<Mutex<Option<(Bytestream, Portion)>>>;

struct Lent {
    held: Held,
    timer: AbortHandle,
    is_over: bool,
}

impl Stream for Lent {
    type Item = Result<Bytes, ValueError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            match held.as_mut() {
                Some((bytes, _)) => bytes.poll_next_unpin(context),
                None => Poll::Ready(Some(Err(ValueError::Slow))),
            }
        };
        self.is_over = matches!(polled, Poll::Ready(None | Some(Err(_))));
        polled
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.timer.abort();
        // The timer's own hold on it ends later.
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::*;
    use crate::memory::Memory;

    #[tokio::test]
    async fn bytes_come_in_pieces_and_their_memory_goes_back_at_the_end() {
        let memory = Memory::new(1 << 20);
        let bytes = Bytes::from(vec![7; 3 * CHUNK + 1]);
        let sent = lent(in_chunks(bytes.clone()), memory.take(1 << 20), Duration::from_secs(60));
        assert_eq!(memory.used(), 1 << 20);
        let chunks: Vec<Bytes> = sent.try_collect().await.unwrap();
        assert_eq!((chunks.len(), chunks.concat()), (4, bytes.to_vec()));
        assert_eq!(memory.used(), 0);
        drop(lent(in_chunks(bytes), memory.take(1), Duration::from_secs(60)));
        assert_eq!(memory.used(), 0, "a client that hung up");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_keeps_no_memory() {
        let memory = Memory::new(1 << 20);
        let bytes = Bytes::from(vec![7; 3 * CHUNK]);
        let mut sent = lent(in_chunks(bytes), memory.take(1 << 20), Duration::from_secs(60));
        assert_eq!(sent.try_next().await.unwrap().unwrap().len(), CHUNK);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(memory.used(), 0);
        assert!(matches!(sent.try_next().await, Err(ValueError::Slow)));
        assert!(sent.try_next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_memory_of_a_large_answer_is_held_until_it_is_sent() {
        let memory = Memory::new(1 << 20);
        let limit = Duration::from_secs(60);
        let answer = |size: usize| HttpResponse::Ok().body(vec![b'a'; size]);
        let small = lend(answer(CHUNK), memory.take(1 << 20).unwrap(), limit).unwrap();
        assert_eq!(memory.used(), 0, "a small one takes none");
        drop(small);
        let large = lend(answer(3 * CHUNK), memory.take(1 << 20).unwrap(), limit).unwrap();
        assert_eq!(memory.used(), 3 * CHUNK);
        assert!(lend(answer(1 << 20), memory.take(1).unwrap(), limit).is_none(), "it does not fit");
        let sent = actix_web::body::to_bytes(large.into_body()).await.map_err(|error| error.to_string()).unwrap();
        assert_eq!((sent.len(), memory.used()), (3 * CHUNK, 0));
    }
}
