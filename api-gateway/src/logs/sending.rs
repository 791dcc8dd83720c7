//! Sends a log, no faster than its client takes it.

use std::time::Duration;

use actix_web::web::Data;
use bytes::Bytes;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use platform::telemetry::chain;
use tokio::{sync::mpsc, time::timeout};
use tracing::{debug, warn};

use super::{
    Place,
    asked::Asked,
    known::Known,
    reader::{Reader, Step},
    selection::{self, Piece},
    source::{ReadError, Source},
};
use crate::{app::Gateway, peer::Peer};

/// How long a follower is to wait for new bytes, and how often it is looked whether there are new containers.
const WAIT: Duration = Duration::from_secs(5);
/// So often it is looked whether there is a log.
const LOOK: Duration = Duration::from_secs(1);

/// An answer broke off.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// The log can't be read.
    #[error("the log can't be read")]
    Read(#[from] ReadError),
    /// The client took nothing for too long.
    #[error("the client took too long to read the log")]
    Slow,
    /// The client has gone.
    #[error("the client has gone")]
    Gone,
}

/// Bytes on their way.
pub(super) type Sending = BoxStream<'static, Result<Bytes, Broken>>;

/// What is sent between the task that reads and the connection.
enum Sent {
    Bytes(Bytes),
    /// Everything was sent: what ends without it is cut.
    End,
}

/// Where to a log is sent.
#[derive(Clone)]
struct Sender {
    channel: mpsc::Sender<Sent>,
    limit: Duration,
}

impl Sender {
    async fn send(&self, bytes: Bytes) -> Result<(), Broken> {
        self.pass(Sent::Bytes(bytes)).await
    }

    async fn pass(&self, sent: Sent) -> Result<(), Broken> {
        match timeout(self.limit, self.channel.send(sent)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Broken::Gone),
            Err(_) => Err(Broken::Slow),
        }
    }
}

/// Begins to send what is known now.
pub(super) fn snapshot(gateway: &Data<Gateway>, place: Place, source: Source, pieces: Vec<Piece>) -> Sending {
    let patience = gateway.settings.send_timeout;
    begin(gateway, place, |sender| async move {
        for piece in pieces {
            match piece {
                Piece::Text(text) => sender.send(text.into()).await?,
                Piece::Log(log, from, to) => copy(source.clone(), log, from, to, patience, &sender).await?,
            }
        }
        Ok(())
    })
}

/// Begins to send the logs that are wanted until they have ended: those first that are known.
pub(super) fn follow(
    gateway: &Data<Gateway>,
    place: Place,
    source: Source,
    asked: Asked,
    first: Vec<(Known, u64)>,
    peer: Peer,
) -> Sending {
    let limit = gateway.settings.logs.follow_limit;
    let shutdown = gateway.shutdown.clone();
    begin(gateway, place, |sender| async move {
        tokio::select! {
            ended = Following { source, asked }.run(first, &sender) => ended,
            () = tokio::time::sleep(limit) => Ok(()),
            () = shutdown.cancelled() => Ok(()),
            () = peer.gone() => Err(Broken::Gone),
        }
    })
}

fn begin<F: Future<Output = Result<(), Broken>> + Send + 'static>(
    gateway: &Data<Gateway>,
    place: Place,
    work: impl FnOnce(Sender) -> F,
) -> Sending {
    let (channel, received) = mpsc::channel(1);
    let sender = Sender { channel, limit: gateway.settings.send_timeout };
    let working = work(sender.clone());
    gateway.runtime.spawn(async move {
        let _place = place;
        let gone = sender.channel.clone();
        let ended = tokio::select! {
            ended = working => ended,
            () = gone.closed() => Err(Broken::Gone),
        };
        let ended = match ended {
            Ok(()) => sender.pass(Sent::End).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => {}
            Err(error @ Broken::Read(_)) => warn!(error = %chain(&error), "a log broke off while it was being sent"),
            Err(error) => debug!(%error, "a log was not sent to its end"),
        }
    });
    stream::unfold(Some(received), async |received| {
        let mut received: mpsc::Receiver<Sent> = received?;
        match received.recv().await {
            Some(Sent::Bytes(bytes)) => Some((Ok(bytes), Some(received))),
            Some(Sent::End) => None,
            None => Some((Err(Broken::Gone), None)),
        }
    })
    .boxed()
}

/// Sends the bytes of a log from one place to another, which it has; they may be nobody's for a while.
async fn copy(
    source: Source,
    log: Known,
    from: u64,
    to: u64,
    patience: Duration,
    sender: &Sender,
) -> Result<(), Broken> {
    let mut reader = Reader::new(source, log, from);
    let mut left = to - from;
    let mut last = tokio::time::Instant::now();
    while left > 0 {
        match reader.next(WAIT).await? {
            Step::Bytes(mut bytes) => {
                // Nobody has what comes in between any more.
                if reader.place() != to - left + u64::try_from(bytes.len()).unwrap_or_default() {
                    return Err(ReadError::Shorter.into());
                }
                bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                left -= u64::try_from(bytes.len()).unwrap_or(left);
                sender.send(bytes).await?;
                last = tokio::time::Instant::now();
            }
            Step::Nothing if last.elapsed() > patience => return Err(ReadError::Stalled.into()),
            Step::Nothing => {}
            Step::Ended => return Err(ReadError::Shorter.into()),
        }
    }
    Ok(())
}

/// Follows the logs of a job, one after the other, as the archive has them.
struct Following {
    source: Source,
    asked: Asked,
}

impl Following {
    async fn run(self, first: Vec<(Known, u64)>, sender: &Sender) -> Result<(), Broken> {
        let has_headings = self.asked.container.is_none();
        let mut places =
            first.iter().map(|(log, place)| (log.pod.clone(), log.container.clone(), *place)).collect::<Vec<_>>();
        let mut waiting: Vec<Known> = first.into_iter().map(|(log, _)| log).collect();
        let mut done: Vec<(String, String)> = Vec::new();
        let mut is_all = false;
        loop {
            let next = waiting.into_iter().find(|log| !done.iter().any(|(pod, name)| log.is(pod, name)));
            match next {
                Some(log) => {
                    if has_headings {
                        let before = done.last().map(|(pod, _)| pod.as_str());
                        sender.send(selection::headings(&log, before).into()).await?;
                    }
                    done.push((log.pod.clone(), log.container.clone()));
                    let at = places.iter().position(|(pod, name, _)| log.is(pod, name));
                    let place = at.map_or(0, |at| places.swap_remove(at).2);
                    self.one(log, place, sender).await?;
                    if !has_headings {
                        return Ok(());
                    }
                }
                None if is_all => return Ok(()),
                None => tokio::time::sleep(LOOK).await,
            }
            let found = self.look().await?;
            is_all = found.is_all;
            // What is not there yet may come.
            waiting = selection::wanted(found.logs, &self.asked).unwrap_or_default();
        }
    }

    async fn look(&self) -> Result<super::source::Found, ReadError> {
        let mut failures = 0;
        loop {
            match self.source.find().await {
                Ok(found) => return Ok(found),
                Err(error @ ReadError::Removed) => return Err(error),
                Err(error) if failures >= 30 => return Err(error),
                Err(error) => debug!(error = %chain(&error), "it is looked for logs again"),
            }
            failures += 1;
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn one(&self, log: Known, place: u64, sender: &Sender) -> Result<(), Broken> {
        let place = place.max(log.start);
        let mut reader = Reader::new(self.source.clone(), log, place);
        let mut sent = None;
        loop {
            match reader.next(WAIT).await? {
                Step::Bytes(bytes) => {
                    let begin = reader.place() - u64::try_from(bytes.len()).unwrap_or_default();
                    // Bytes keep their places: who comes back for what follows them asks by their number.
                    if self.asked.container.is_some() && sent.is_some_and(|sent| sent != begin) {
                        return Err(ReadError::Shorter.into());
                    }
                    sent = Some(reader.place());
                    sender.send(bytes).await?;
                }
                Step::Nothing => {
                    debug!(place = reader.place(), "nothing new of the log");
                }
                Step::Ended => return Ok(()),
            }
        }
    }
}
