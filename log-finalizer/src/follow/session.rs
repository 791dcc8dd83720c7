//! All logs of one job: starts a reader for each container that has started, until the job is over.

use std::{mem, sync::Arc, time::Duration};

use platform::{
    consume::{Delivery, Verdict},
    log_parts::{self, Chain},
    object_store::ObjectStore,
    telemetry::chain,
};
use prometheus_client::metrics::gauge::Gauge;
use protocol::{
    JobId, JobRecord, ProcessId, Unknown,
    job_id::Epoch,
    job_record::{ArchiveState, Workload},
    ledger::{LogOf, Previous},
    names::{kubernetes::is_companion, objects},
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span};

use super::{
    Follower,
    finish::is_followed,
    progress,
    read::Reader,
    ring::{End, Ring},
    ship::Shipper,
    tail::{Log, Tail, Told},
};
use crate::{
    pods::{Container, Pod},
    remove::delete_below,
    stored_log::MOST_PARTS,
};

/// Pauses between two looks for containers that have started since.
const SOON: Duration = Duration::from_millis(500);
const RARELY: Duration = Duration::from_secs(15);
/// How often the record of a job is looked at whose logs have ended,
const RECORD_SOON: Duration = Duration::from_secs(5);
/// and of any other.
const RECORD_RARELY: Duration = Duration::from_secs(60);
/// Who stores the job waits for a log that still comes, this long after its last bytes.
const QUIET: Duration = Duration::from_secs(3);
/// When a job is looked at again that somebody else follows.
const FOLLOWED: Duration = Duration::from_secs(30);
/// What was read is stored within this time when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(6);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One job that is followed.
pub(super) struct Session {
    follower: Follower,
    process: ProcessId,
    job: JobId,
    told: Arc<Told>,
    /// Cancelled when nothing more is to be read.
    quit: CancellationToken,
    /// Cancelled when everything is to be stored now.
    hurry: CancellationToken,
    /// Hold a place among the followed ones, as their shippers do.
    readers: JoinSet<()>,
    shippers: JoinSet<()>,
    progress: watch::Sender<Option<protocol::progress::Progress>>,
    /// Containers that wait for a place among the followed ones.
    waiting: Waiting,
}

/// Why a job is followed no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Somebody stores it, or the record says that it is over.
    Ended,
    /// The record is settled: nobody needs what was read.
    Settled,
    /// This process stops.
    Stopped,
}

impl Session {
    pub(super) fn new(follower: Follower, process: ProcessId, job: JobId) -> Self {
        let waiting = Waiting { count: 0, gauge: follower.finalizer.metrics.waits_to_be_followed.clone() };
        Self {
            follower,
            process,
            job,
            told: Arc::new(Told::new(Epoch::generate())),
            quit: CancellationToken::new(),
            hurry: CancellationToken::new(),
            readers: JoinSet::new(),
            shippers: JoinSet::new(),
            progress: watch::Sender::new(None),
            waiting,
        }
    }

    /// Follows until the job is over.
    pub(super) async fn run(mut self, delivery: &Delivery) -> Result<Verdict, Failure> {
        let jobs = self.follower.finalizer.jobs.clone();
        let Some(_only) = self.follower.jobs.begin(self.job) else { return Ok(Verdict::Later { after: FOLLOWED }) };
        if is_followed(jobs.nats(), &self.process, &self.job).await {
            // Since its init containers ran, mostly: who does so holds another message, and may die.
            return Ok(Verdict::Later { after: FOLLOWED });
        }
        // Whoever stores the job asks here: it listens before the record is looked at.
        let tail = Tail::listen(self.told.clone(), jobs.nats(), &self.process, &self.job).await?;
        let record = self.record().await?;
        let Some(record) = record.filter(JobRecord::is_under_way) else {
            if delivery.delivered > 1 {
                // Whoever followed it before may have stored something since it was sealed or removed.
                self.tidy(jobs.objects()).await?;
            }
            return Ok(Verdict::Done);
        };
        let Some(workload) = record.workload.clone() else { return Ok(Verdict::Done) };
        let store = jobs.objects().filter(|_| record.archive.state != ArchiveState::Off).cloned();
        let answered = CancellationToken::new();
        let _answered = answered.clone().drop_guard();
        tokio::spawn(tail.answer(answered).in_current_span());
        let chains = match &store {
            Some(store) => match log_parts::load(store, &self.job, MOST_PARTS).await {
                // Nobody is known to have followed it before, and its log may be rotated while the bucket is away.
                Err(error) if delivery.delivered == 1 => {
                    debug!(error = %chain(&error), "its log is followed from its beginning");
                    Vec::new()
                }
                chains => chains?,
            },
            None => Vec::new(),
        };
        let teller = progress::tell(jobs, self.job, self.progress.subscribe());
        let teller = tokio::spawn(teller.in_current_span());
        let over = self.follow(&workload, store.as_ref(), &chains, &delivery.stop).await;
        debug!(job = %self.job, ?over, "its logs are followed no longer");
        let over = self.drain(over, &delivery.stop).await;
        if over != Over::Stopped {
            self.tidy(store.as_ref()).await?;
        }
        drop(mem::take(&mut self.progress));
        // A record that is over takes no more progress, whoever tells it.
        if timeout(STOP_GRACE, teller).await.is_err() {
            debug!("the last progress was not told");
        }
        match over {
            Over::Stopped => Ok(Verdict::Release),
            // Whoever asked for its end was mistaken.
            Over::Ended if self.is_under_way().await? => Ok(Verdict::Later { after: SOON }),
            Over::Ended | Over::Settled => Ok(Verdict::Done),
        }
    }

    async fn is_under_way(&self) -> Result<bool, Failure> {
        Ok(self.record().await?.is_some_and(|record| record.is_under_way()))
    }

    async fn record(&self) -> Result<Option<JobRecord>, Failure> {
        Ok(self.follower.finalizer.jobs.job(&self.job).await?.map(|stored| stored.record))
    }

    /// Deletes what was stored of a job that is sealed or removed by now: whoever did that deleted what was there then.
    async fn tidy(&self, store: Option<&ObjectStore>) -> Result<(), Failure> {
        let Some(store) = store else { return Ok(()) };
        let is_needed = self.record().await?.is_some_and(|record| !record.is_settled() || record.archive.key.is_none());
        if !is_needed {
            delete_below(store, &objects::log_parts_prefix(store.prefix(), &self.job), |_| true).await?;
        }
        Ok(())
    }

    async fn follow(
        &mut self,
        workload: &Workload,
        store: Option<&ObjectStore>,
        chains: &[Chain],
        stop: &CancellationToken,
    ) -> Over {
        let mut pause = SOON;
        let mut record_due = Instant::now() + RECORD_SOON;
        loop {
            let before = self.readers.len();
            let more_may_start = match self.look(workload, store, chains).await {
                Ok(more_may_start) => more_may_start,
                Err(error) => {
                    debug!(error = %chain(error.as_ref()), "the pods of a job can't be looked at");
                    true
                }
            };
            if self.readers.len() > before {
                pause = SOON;
            }
            // While everything there is runs, nothing else starts.
            let look = async {
                if more_may_start || self.waiting.count > 0 { sleep(pause).await } else { std::future::pending().await }
            };
            let has_readers = !self.readers.is_empty();
            tokio::select! {
                () = stop.cancelled() => return Over::Stopped,
                () = self.told.finish.cancelled() => return Over::Ended,
                () = look => pause = (pause * 2).min(RARELY),
                () = self.told.look.notified() => pause = SOON,
                Some(_) = self.readers.join_next(), if has_readers => {
                    pause = SOON;
                    record_due = record_due.min(Instant::now() + SOON);
                }
                () = tokio::time::sleep_until(record_due) => {
                    if let Some(over) = self.is_over().await {
                        return over;
                    }
                    let rarely = if self.readers.is_empty() { RECORD_SOON } else { RECORD_RARELY };
                    record_due = Instant::now() + rarely;
                }
            }
        }
    }

    /// What the record says of whether there is more to follow.
    async fn is_over(&self) -> Option<Over> {
        match self.record().await {
            Ok(Some(record)) if record.is_settled() => Some(Over::Settled),
            Ok(Some(record)) => (!record.is_under_way() && self.told.all_ended()).then_some(Over::Ended),
            Ok(None) => Some(Over::Settled),
            Err(error) => {
                debug!(error = %chain(error.as_ref()), "the record of a job can't be read");
                None
            }
        }
    }

    /// Starts readers for what has started since; true where more may start.
    async fn look(
        &mut self,
        workload: &Workload,
        store: Option<&ObjectStore>,
        chains: &[Chain],
    ) -> Result<bool, Failure> {
        let source = self.follower.finalizer.pods.of(workload)?;
        let pods = source.pods(&self.job, workload).await?;
        let (mut more_may_start, mut waiting) = (!has_running(&pods), 0);
        for pod in &pods {
            for (place, container) in pod.containers.iter().enumerate() {
                if is_companion(&container.name) || self.told.knows(&pod.name, &container.name) {
                    continue;
                }
                if !container.started {
                    more_may_start |= pod.may_start;
                    continue;
                }
                let of = log_of(pod, place, container);
                let known =
                    chains.iter().find(|chain| chain.last.of.pod == of.pod && chain.last.of.container == of.container);
                if let Some(ended) = known.filter(|chain| chain.last.ended) {
                    let ring = Ring::new(ended.end(), 0, None, false);
                    ring.end(End::Ended);
                    self.told.add(Log { of, ring: Arc::new(ring) });
                } else if let Ok(permit) = self.follower.places.clone().try_acquire_owned() {
                    self.start(workload, store, known, of, permit);
                } else {
                    waiting += 1;
                }
            }
        }
        self.waiting.set(waiting);
        Ok(more_may_start)
    }

    fn start(
        &mut self,
        workload: &Workload,
        store: Option<&ObjectStore>,
        known: Option<&Chain>,
        of: LogOf,
        permit: OwnedSemaphorePermit,
    ) {
        let Follower { finalizer, disk, puts, .. } = &self.follower;
        let followed = Arc::new(Followed::new(permit, &finalizer.metrics.followed));
        let start = known.map_or(0, Chain::end);
        let ring = Arc::new(Ring::new(start, self.follower.ring_memory(), disk.clone(), store.is_none()));
        let mark = known.and_then(|chain| chain.last.mark.clone());
        self.told.add(Log { of: of.clone(), ring: ring.clone() });
        let span = info_span!("log", pod = %of.pod, container = %of.container);
        span.in_scope(|| debug!(start, "a log is followed"));
        if let Some(store) = store {
            let shipper = Shipper {
                store: store.clone(),
                job: self.job,
                epoch: self.told.epoch.clone(),
                of: of.clone(),
                ring: ring.clone(),
                previous: known.and_then(previous),
                mark: mark.clone(),
                size: finalizer.settings.log_part_size,
                age: finalizer.settings.log_part_age,
                hurry: self.hurry.clone(),
                places: puts.clone(),
                metrics: finalizer.metrics.clone(),
            };
            let counted = followed.clone();
            let ships = async move {
                shipper.run().await;
                drop(counted);
            };
            self.shippers.spawn(ships.instrument(span.clone()));
        }
        let progress = of.main.then(|| self.progress.clone());
        let whose = (finalizer.pods.clone(), self.job, workload.clone());
        let (reader, quit) = (Reader::new(whose, of, ring, mark, progress), self.quit.clone());
        let reads = async move {
            reader.run(quit).await;
            drop(followed);
        };
        self.readers.spawn(reads.instrument(span));
    }

    /// Stores what was read, as far as somebody needs it.
    async fn drain(&mut self, over: Over, stop: &CancellationToken) -> Over {
        if over == Over::Ended {
            self.readers_end().await;
        }
        self.quit.cancel();
        while self.readers.join_next().await.is_some() {}
        self.hurry.cancel();
        match over {
            Over::Settled => self.shippers.abort_all(),
            Over::Stopped => {
                if timeout(STOP_GRACE, join_all(&mut self.shippers)).await.is_err() {
                    info!("what was read of a log since its last part is read again by another replica");
                }
            }
            Over::Ended => loop {
                tokio::select! {
                    () = join_all(&mut self.shippers) => break,
                    () = stop.cancelled() => return Box::pin(self.drain(Over::Stopped, stop)).await,
                    () = sleep(RECORD_RARELY) => {
                        if self.is_over().await == Some(Over::Settled) {
                            return Box::pin(self.drain(Over::Settled, stop)).await;
                        }
                    }
                }
            },
        }
        over
    }

    /// Waits for the logs' ends, for as long as something still comes.
    async fn readers_end(&mut self) {
        let mut read = self.told.read();
        loop {
            match timeout(QUIET, self.readers.join_next()).await {
                Ok(None) => return,
                Ok(Some(_)) => {}
                Err(_) if self.told.read() == read => return,
                Err(_) => read = self.told.read(),
            }
        }
    }
}

async fn join_all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

fn has_running(pods: &[Pod]) -> bool {
    pods.iter().any(|pod| pod.containers.iter().any(|container| container.running && !is_companion(&container.name)))
}

fn log_of(pod: &Pod, place: usize, container: &Container) -> LogOf {
    LogOf {
        pod: pod.name.clone(),
        pod_created: pod.created,
        container: container.name.clone(),
        place: u32::try_from(place).unwrap_or(u32::MAX),
        init: container.init,
        main: container.main,
        unknown: Unknown::new(),
    }
}

fn previous(chain: &Chain) -> Option<Previous> {
    let last = chain.parts.last()?;
    Some(Previous { epoch: last.epoch.clone(), start: last.start, size: last.size })
}

/// A place among the followed containers, counted.
struct Followed {
    gauge: Gauge,
    _permit: OwnedSemaphorePermit,
}

impl Followed {
    fn new(permit: OwnedSemaphorePermit, gauge: &Gauge) -> Self {
        gauge.inc();
        Self { gauge: gauge.clone(), _permit: permit }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// How many of this job's containers wait for a place, counted.
struct Waiting {
    count: i64,
    gauge: Gauge,
}

impl Waiting {
    fn set(&mut self, count: i64) {
        self.gauge.inc_by(count - self.count);
        if count > 0 && self.count == 0 {
            info!("there are as many followed logs as finalizer.max_followed allows: this job's is read later");
        }
        self.count = count;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}
