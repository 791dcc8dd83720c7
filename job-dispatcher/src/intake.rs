//! Takes executions to launch from the stream, one consumer for each process.

use std::{sync::Arc, time::Duration};

use actix::Addr;
use platform::{
    consume::{self, Delivery, Verdict, WorkQueue},
    job_store::{JobStore, JobStoreError},
    publish::StreamError,
    telemetry::json_error,
};
use protocol::{ExecutionRequest, ProcessId, job_record::Reason, names::subjects};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{
    launcher::{Launch, LaunchError, Launched, Launcher, retry_limit},
    reporter::end,
    room::LiveRoom,
};

/// What takes the executions of one process.
pub struct Intake {
    /// Where records are.
    pub store: JobStore,
    /// The process.
    pub process: ProcessId,
    /// Cap on the process's live jobs, over all replicas.
    pub max_live: usize,
    /// What is left of the cap on all live jobs.
    pub room: Arc<LiveRoom>,
    /// Launches them.
    pub launcher: Addr<Launcher>,
}

impl Intake {
    /// Launches the executions until `stop`. The lease on an execution is held until its job has ended, so `max_live` is exact.
    pub async fn run(self, stop: CancellationToken) {
        let Self { store, process, max_live, room, launcher } = self;
        let queue = WorkQueue {
            consumer: subjects::launching_consumer(&process),
            filters: vec![subjects::executions_of(&process)],
            max_in_hand: max_live,
            max_here: max_live,
            room: Some(room.clone()),
        };
        let nats = store.nats().clone();
        let handler = move |delivery: Delivery| {
            let (store, launcher, room) = (store.clone(), launcher.clone(), room.clone());
            async move {
                let _taken = room.take(delivery.delivered);
                launch(&store, launcher, delivery).await
            }
        };
        consume::run(nats, queue, handler, stop).await;
    }
}

async fn launch(store: &JobStore, launcher: Addr<Launcher>, delivery: Delivery) -> Verdict {
    let request: ExecutionRequest = match serde_json::from_slice(&delivery.payload) {
        Ok(request) => request,
        Err(error) => return refuse(store, &delivery, &error).await,
    };
    let job_id = request.record.job_id;
    let launched = tokio::select! {
        launched = launcher.send(Launch { request: Box::new(request), sequence: delivery.sequence }) => launched,
        () = delivery.stop.cancelled() => return Verdict::Release,
    };
    match launched {
        Ok(Ok(Launched::Ended)) => {
            info!(%job_id, "the launch is over");
            Verdict::Done
        }
        Ok(Ok(Launched::Stopping)) | Err(_) => Verdict::Release,
        Ok(Err(error)) => {
            Verdict::Retry { after: retry_after(&delivery, &error), why: platform::telemetry::chain(&error) }
        }
    }
}

/// A request that can't be read can't ever be launched: its job, as far as it was told, fails, and the request is kept
/// among the dead letters instead of in the queue.
async fn refuse(store: &JobStore, delivery: &Delivery, why: &serde_json::Error) -> Verdict {
    let poison = Verdict::Poison { why: format!("not an execution request: {}", json_error(why)) };
    let Some((_, job)) = subjects::parse_execution(&delivery.subject) else { return poison };
    let message = "the execution request can't be read by this version".to_owned();
    match store.advance(&job, |stored| end(&stored.record, Reason::ConfigError, message.clone())).await {
        // Not even told: there is nothing but the unreadable request.
        Ok(_) | Err(JobStoreError::Stream(StreamError::Decode { .. })) => poison,
        Err(error) => {
            Verdict::Retry { after: delivery.backoff(Duration::from_secs(60)), why: platform::telemetry::chain(&error) }
        }
    }
}

fn retry_after(delivery: &Delivery, error: &LaunchError) -> Duration {
    delivery.backoff(retry_limit(error))
}
