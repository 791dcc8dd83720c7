//! What attempts at storing that came to nothing leave behind: nothing, however they end.

use std::time::Duration;

use anyhow::{Result, ensure};
use end_to_end::program::wait_until;
use futures::TryStreamExt;
use log_finalizer::{finalize::Finalizer, settings::FinalizerSettings, sweep::Sweep};
use platform::publish;
use protocol::{
    Event, JobId, JobRecord,
    job_id::Epoch,
    job_record::{DeclaredOutput, Place, Status},
    ledger::LogName,
    names::{objects, subjects},
};

use crate::finalizer::World;

const LIMIT: Duration = Duration::from_secs(60);
const SEVERAL: &str = "PYGEOAPI_K8S_MANAGER_RESULT_START\n{\"first\": 1, \"second\": 2, \"third\": 3}\n";

/// A world, and a job with several outputs that ended in it.
async fn world() -> Result<(World, JobId)> {
    let world = World::start().await?;
    world.pods.set_main(SEVERAL.to_owned());
    let mut record = world.record(None);
    record.declared_outputs =
        ["first", "second", "third"].map(|id| DeclaredOutput::new(id, "application/json")).to_vec();
    let job = record.job_id;
    publish::event(&world.nats, Event::Ended, record, 0).await?;
    Ok((world, job))
}

/// The keys of everything that is stored under a job's own prefix.
async fn keys(world: &World, job: &JobId) -> Result<Vec<String>> {
    let listed = world.s3.store()?.list(&objects::job_prefix("logs/", job), None, 1000).await?;
    Ok(listed.into_iter().map(|object| object.key).collect())
}

/// What a record says is stored under its job's own prefix.
fn named(record: &JobRecord) -> Vec<String> {
    let results = record.results.iter().filter_map(|result| match &result.place {
        Place::Object(key) => Some(key.clone()),
        Place::Stream(_) | Place::Other(_) => None,
    });
    let epoch = record.archive.epoch.iter().map(|epoch| objects::epoch_manifest("logs/", &record.job_id, epoch));
    let mut named: Vec<_> = results.chain(epoch).chain([objects::manifest("logs/", &record.job_id)]).collect();
    named.sort();
    named
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_fails_between_two_objects_takes_back_what_it_stored() -> Result<()> {
    let (world, job) = world().await?;
    let finalizer = world.finalizer(Some(world.s3.store()?));
    for refused in ["/third", "-logs.txt", ".json"] {
        world.s3.refuse(move |operation, key| operation == "PutObject" && key.ends_with(refused));
        ensure!(finalizer.advance(&job).await.is_err(), "{refused} is refused");
        let left = keys(&world, &job).await?;
        ensure!(left.is_empty(), "after {refused} was refused: {left:?}");
    }
    world.s3.refuse_nothing();
    finalizer.advance(&job).await?;
    let record = world.job(&job).await?.record;
    ensure!(record.status == Status::Successful && record.results.len() == 3, "{record:?}");
    assert_eq!(keys(&world, &job).await?, named(&record));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_attempt_that_seals_a_job_deletes_what_those_before_it_could_not() -> Result<()> {
    let (world, job) = world().await?;
    world.s3.refuse(|operation, key| operation == "DeleteObject" || key.ends_with("/third"));
    let _running = world.consume(&world.finalizer(Some(world.s3.store()?)));
    wait_until("two attempts left something", LIMIT, || async {
        let left = keys(&world, &job).await?;
        ensure!(left.len() >= 4, "{left:?}");
        Ok(())
    })
    .await?;
    world.s3.refuse_nothing();
    let record = world.terminal(&job).await?.record;
    ensure!(record.status == Status::Successful, "{record:?}");
    wait_until("only what the record names is left", LIMIT, || async {
        let left = keys(&world, &job).await?;
        ensure!(left == named(&record), "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_deletes_what_it_finds_beside_what_it_sealed_and_nothing_of_other_jobs() -> Result<()> {
    let (world, job) = world().await?;
    let settings = FinalizerSettings { sweep_after: Duration::ZERO, ..Default::default() };
    let finalizer = Finalizer { settings: settings.into(), ..world.finalizer(Some(world.s3.store()?)) };
    let (store, other, epoch) = (world.s3.store()?, JobId::generate(1_769_860_000_001), Epoch::generate());
    let strays = [
        objects::result("logs/", &job, &epoch, "first"),
        objects::result("logs/", &job, &epoch, "of another version"),
        objects::epoch_manifest("logs/", &job, &epoch),
        objects::log_part("logs/", &job, &epoch, &LogName::of("p", "c"), 0, 1),
    ];
    let kept = [objects::inputs("logs/", &job)];
    let foreign = objects::result("logs/", &other, &epoch, "first");
    for key in strays.iter().chain(&kept).chain([&foreign]) {
        store.put(key, "x".into(), "text/plain").await?;
    }
    Sweep::new(finalizer).round().await;
    let record = world.job(&job).await?.record;
    let mut expected: Vec<String> = named(&record).into_iter().chain(kept).collect();
    expected.sort();
    assert_eq!(keys(&world, &job).await?, expected);
    ensure!(store.size(&foreign).await?.is_some(), "that of another job is none of its business");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_results_of_earlier_attempts_leave_the_stream() -> Result<()> {
    let (world, job) = world().await?;
    let process = world.job(&job).await?.record.process_id;
    let stray = subjects::result(&process, &job, &Epoch::generate(), "first");
    publish::result(&world.nats, stray.clone(), "x".into()).await?;
    let settings = FinalizerSettings { sweep_after: Duration::ZERO, ..Default::default() };
    let finalizer = Finalizer { settings: settings.into(), ..world.finalizer(None) };
    Sweep::new(finalizer).round().await;
    let record = world.job(&job).await?.record;
    let named = record.results.iter().map(|result| match &result.place {
        Place::Stream(subject) => subject.clone(),
        other => format!("{other:?}"),
    });
    let mut named: Vec<String> = named.collect();
    named.sort();
    let listed = world.nats.stream.info_with_subjects(subjects::results_of(&process, &job)).await?;
    let mut found: Vec<String> = listed.map_ok(|(subject, _)| subject).try_collect().await?;
    found.sort();
    assert_eq!(found, named);
    Ok(())
}
