//! The API server dies while some jobs run, others are being created and more wait for room, and comes back: nothing is lost,
//! nothing runs twice, and no more are live than may be.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    cluster::{NodeKind, OwnCluster},
    live_jobs::LiveJobs,
    program::{Signal, wait_until},
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, skips, tell},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use protocol::{Event, JobId, names::subjects::parse_event};
use serde_json::json;

const NAME: &str = "apiserver-restarted";
const APISERVER: &str = "kube-apiserver";
const JOBS: usize = 150;
/// So many jobs have ended when the API server dies for the first and for the second time.
const ENDED_BEFORE: [usize; 2] = [JOBS / 5, 2 * JOBS / 5];
/// The processes that wait for room, how their jobs end, and their caps, which are exact over all replicas.
const PROCESSES: [(&str, &str, usize); 2] = [("good", "successful", 24), ("bad", "failed", 6)];
/// A process that always has room: its job is created when the API server does not answer any more.
const SPARE: &str = "spare";
/// A process that always has room, too: its job is amid its run when the API server dies. Those of the others end all at once.
const SLOW: &str = "slow";
/// Controllers and kwok look for an API server that was away less and less often: up to a minute, later by each time it dies.
const FOUND_AGAIN: Duration = Duration::from_secs(300);
const REPLICAS: usize = 2;

/// What was told last of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    event: Event,
    attempt: u64,
    is_created: bool,
}

impl Told {
    fn has_ended(&self) -> bool {
        matches!(self.event, Event::Ended | Event::Successful | Event::Failed)
    }

    fn waits(&self) -> bool {
        self.event == Event::Accepted
    }

    /// A launch was won, and what became of the request to create the Job is not known.
    fn is_being_created(&self) -> bool {
        self.event == Event::Launching && !self.is_created
    }

    fn runs(&self) -> bool {
        matches!(self.event, Event::Running | Event::Progress)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_far_jobs_are_when_the_api_server_is_started_again_all_end_and_none_is_launched_twice() -> Result<()> {
    if skips(NAME, Backend::Simulated) {
        return Ok(());
    }
    let mut own = OwnCluster::start(NAME, vec![NodeKind::Simulated]).await?;
    let processes: String = PROCESSES.iter().map(|(id, _, cap)| process(id, *cap, "5s")).collect();
    let mut setting = Setting::new(Backend::Simulated)
        .with_processes(&[processes, process(SPARE, 2, "5s"), process(SLOW, 2, "20s")].concat())
        // kwok never says that a log which is followed has ended: each would be waited for.
        .with("QUAYSIDE_FINALIZER__MAX_FOLLOWED", "0")
        .on(&own);
    setting.replicas = REPLICAS;
    tell(NAME, setting, async |story| {
        let (namespace, client) = story.cluster()?;
        let live = LiveJobs::watch(client, namespace.name());
        let mut expected = submit_all(story).await?;
        let mut deaths = Vec::new();
        for ended in ENDED_BEFORE {
            let Death { slow, spare, told, logs } = kill_in_the_middle(story, &mut own, ended).await?;
            expected.extend([(slow, "successful"), (spare, "successful")]);
            // One more comes while nothing can be launched.
            expected.insert(story.submit("good", json!({})).await?, "successful");
            wait_until("the dispatchers' watches are broken", LIMIT, || async {
                for (log, before) in dispatchers_logs(story)?.iter().zip(&logs) {
                    let since = log.get(before.len()..).context("a log has become shorter")?;
                    ensure!(since.contains("the watch of Jobs broke"), "that of Jobs is not");
                    ensure!(since.contains("the watch of pods broke"), "that of pods is not");
                }
                Ok(())
            })
            .await?;
            deaths.push((told, Timestamp::now()));
            own.cluster.start_again(APISERVER)?;
        }
        wait_until("all have ended", FOUND_AGAIN, || async {
            let told = last_told(story).await?;
            let ended = told.values().filter(|told| told.has_ended()).count();
            ensure!(ended == expected.len(), "{ended} of {} have", expected.len());
            Ok(())
        })
        .await?;
        for job in expected.keys() {
            story.wait_done(job).await?;
        }
        for (job, status) in &expected {
            ended_once(story, job, status).await?;
        }
        live.one_each(&expected.keys().copied().collect::<Vec<_>>()).await?;
        for (process, _, cap) in PROCESSES {
            let most = live.most(|one| one == process);
            ensure!((cap / 2..=cap).contains(&most), "{most} of {process} were live at one time, {cap} may be");
        }
        for (told, back) in deaths {
            went_on(story, &told, back).await?;
        }
        Ok(())
    })
    .await;
    own.stop().await
}

fn process(id: &str, cap: usize, duration: &str) -> String {
    let code = if id == "bad" { ", {name: SIMULATED_EXIT_CODE, value: \"3\"}" } else { "" };
    process_yaml(id, "true")
        .replace("      check_auth: false\n", &format!("      check_auth: false\n      max_live: {cap}\n"))
        .replace(
            "      resources:\n",
            &format!("      env: [{{name: SIMULATED_DURATION, value: {duration}}}{code}]\n      resources:\n"),
        )
}

/// How each job has to end.
async fn submit_all(story: &Story) -> Result<BTreeMap<JobId, &'static str>> {
    let submitted = stream::iter(0..JOBS).map(|number| async move {
        let (process, status, _) = PROCESSES[usize::from(number % 5 == 4)];
        Ok::<_, anyhow::Error>((story.submit_at(number % REPLICAS, process, json!({})).await?, status))
    });
    submitted.buffered(16).try_collect().await
}

fn dispatchers_logs(story: &Story) -> Result<Vec<String>> {
    let log = |replica| story.stack.logs().join(format!("{}-{replica}.log", Service::Dispatcher.name()));
    (0..REPLICAS).map(|replica| Ok(fs::read_to_string(log(replica))?)).collect()
}

/// How everything was when the API server died.
struct Death {
    /// The job that was amid its run.
    slow: JobId,
    /// The job that was submitted when nothing could be created any more.
    spare: JobId,
    /// What was told of each job.
    told: BTreeMap<JobId, Told>,
    /// What the dispatchers had logged before.
    logs: Vec<String>,
}

/// Kills the API server once so many jobs have ended, while some run, some are being created and some wait.
async fn kill_in_the_middle(story: &Story, own: &mut OwnCluster, ended: usize) -> Result<Death> {
    wait_until("so many jobs have ended, and others wait", FOUND_AGAIN, || async {
        let told = last_told(story).await?;
        let count = |which: fn(&Told) -> bool| told.values().filter(|told| which(told)).count();
        let (have, wait) = (count(Told::has_ended), count(Told::waits));
        ensure!(have >= ended && wait > 0, "{have} of {ended} have ended, {wait} wait");
        Ok(())
    })
    .await?;
    let slow = story.submit(SLOW, json!({})).await?;
    wait_until("the slow one runs", LIMIT, || async {
        let told = last_told(story).await?;
        ensure!(told.get(&slow).is_some_and(Told::runs), "{:?}", told.get(&slow));
        Ok(())
    })
    .await?;
    // It stands still first: it answers no request to create a Job, and what is told of the jobs is how they are when it dies.
    own.cluster.signal(APISERVER, Signal::STOP)?;
    let logs = dispatchers_logs(story)?;
    let spare = story.submit(SPARE, json!({})).await?;
    let told = wait_until("a job is being created, and nothing more is told", LIMIT, || async {
        let (before, now) = (last_told(story).await?, last_told(story).await?);
        // Mostly the last one; where others were about to be created, it may have to wait for their answers.
        ensure!(now.values().any(Told::is_being_created), "none is: {now:?}");
        ensure!(now == before, "more is told");
        Ok(now)
    })
    .await;
    // Also where that failed: whoever looks for the reason would wait for its answer.
    own.cluster.kill(APISERVER).await?;
    let told = told?;
    ensure!(told.get(&slow).is_some_and(Told::runs), "the slow one does not run: {:?}", told.get(&slow));
    ensure!(told.values().any(Told::waits), "no job waits: {told:?}");
    Ok(Death { slow, spare, told, logs })
}

async fn last_told(story: &Story) -> Result<BTreeMap<JobId, Told>> {
    let mut last = BTreeMap::new();
    for (subject, message) in story.messages().await? {
        if let Some((_, job, event)) = parse_event(&subject) {
            let record = &message["data"];
            let attempt = record["attempt"].as_u64().unwrap_or_default();
            last.insert(job, Told { event, attempt, is_created: record["workload"]["jobUid"].is_string() });
        }
    }
    Ok(last)
}

/// The job ended as it would have, with one Job, and pods of that alone.
async fn ended_once(story: &Story, job: &JobId, expected: &str) -> Result<()> {
    let status = story.status(job).await?;
    ensure!(status["status"] == expected, "{status}");
    let record = story.manifest(job).await?.record;
    let workload = record.workload.context("no workload")?;
    let uid = story.kubernetes_job(job).await?.context("no Job")?.metadata.uid;
    ensure!(workload.job_uid == uid, "the record names {:?}, there is {uid:?}", workload.job_uid);
    // A Job controller that got no answer when it made a pod makes another one. It deletes one of them, unless both have ended
    // before it sees them.
    let pods = story.kubernetes_pods(job).await?;
    let owners: Vec<_> = pods.iter().flat_map(|pod| pod.metadata.owner_references.iter().flatten()).collect();
    ensure!(
        !owners.is_empty() && owners.iter().all(|owner| Some(&owner.uid) == uid.as_ref()),
        "{status}: its pods are of {owners:?}"
    );
    Ok(())
}

/// What was created when the API server died was not launched again, and some of what ran then ended only once it was back.
async fn went_on(story: &Story, told: &BTreeMap<JobId, Told>, back: Timestamp) -> Result<()> {
    let mut ended_since = 0;
    for (job, told) in told.iter().filter(|(_, told)| told.is_created) {
        let record = story.manifest(job).await?.record;
        ensure!(u64::from(record.attempt) == told.attempt, "{job} was launched again: {told:?}, {record:?}");
        ended_since += usize::from(told.runs() && record.finished.is_some_and(|end| end > back));
    }
    ensure!(ended_since > 0, "all that ran had ended before {back}");
    Ok(())
}
