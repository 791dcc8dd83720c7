//! The log of a job while it runs, at a gateway on a real stream and a real bucket, with a follower that a test writes.

mod follower;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    stack::StoreChoice,
    story::{Backend, LIMIT, Setting, Story, TOKEN, process_yaml, tell},
};
use futures::StreamExt;
use jiff::Timestamp;
use platform::{
    nats::{self, Nats, NatsSettings},
    publish,
};
use protocol::{
    Event, JobId, JobRecord, Manifest, SCHEMA, Unknown, digest,
    job_id::Epoch,
    job_record::{Archive, ArchiveState, ExecutorKind, Status, Workload},
    log_text::{container_heading, pod_heading},
    manifest::ContainerLog,
    names::objects,
};
use reqwest::{Method, Response};
use serde_json::Value;

use self::follower::{CONTAINERS, Follower, POD, time_of};

const INIT: &str = CONTAINERS[0];
const MAIN: &str = CONTAINERS[1];

/// A job that runs, as the stream has it.
struct Job {
    nats: Nats,
    record: JobRecord,
    sequence: u64,
}

impl Job {
    async fn start(story: &Story) -> Result<Self> {
        let settings = NatsSettings { url: story.stack.nats.url(), ..NatsSettings::default() };
        let nats = nats::connect(&settings, "test").await?;
        let now = Timestamp::now();
        let id = JobId::generate(u64::try_from(now.as_millisecond())?);
        let mut record = JobRecord::accepted(id, "talks".parse()?, "1".into(), now, ArchiveState::Pending);
        (record.status, record.started, record.attempt) = (Status::Running, Some(now), 1);
        record.workload = Some(Workload::new(ExecutorKind::Local, "local", format!("job-{id}")));
        let mut job = Self { nats, record, sequence: 0 };
        job.tell(Event::Running).await?;
        Ok(job)
    }

    async fn tell(&mut self, event: Event) -> Result<()> {
        match publish::event(&self.nats, event, self.record.clone(), self.sequence).await? {
            publish::Written::Won { sequence, .. } => self.sequence = sequence,
            other => bail!("{other:?}"),
        }
        Ok(())
    }

    async fn follower(&self, story: &Story) -> Result<Follower> {
        Follower::start(&self.nats.client, story.stack.objects().ok(), &self.record).await
    }

    /// Stores the archive, tells of it, and deletes what there is of parts.
    async fn archive(&mut self, story: &Story, logs: &[(&str, &[u8])]) -> Result<Vec<u8>> {
        let store = story.stack.objects()?;
        let (text, containers) = archive_of(logs);
        let (job, prefix, epoch) = (self.record.job_id, store.prefix().to_owned(), Epoch::generate());
        let key = objects::archive(&prefix, Timestamp::now(), "job");
        let stored = store.put(&key, text.clone().into(), "text/plain").await?;
        self.record.status = Status::Successful;
        self.record.finished = Some(Timestamp::now());
        self.record.archive = Archive {
            key: Some(key),
            size: Some(stored.size),
            sha256: Some(stored.sha256),
            epoch: Some(epoch.clone()),
            ..Archive::new(ArchiveState::Stored)
        };
        let manifest = Manifest {
            schema: SCHEMA,
            epoch: epoch.clone(),
            written: Timestamp::now(),
            record: self.record.clone(),
            containers,
            gaps: Vec::new(),
            parts: Vec::new(),
            unknown: Unknown::new(),
        };
        let bytes = serde_json::to_vec(&manifest)?;
        store.put(&objects::epoch_manifest(&prefix, &job, &epoch), bytes.into(), "application/json").await?;
        self.tell(Event::Successful).await?;
        loop {
            let parts = store.list(&objects::log_parts_prefix(&prefix, &job), None, 1000).await?;
            if parts.is_empty() {
                return Ok(text);
            }
            for part in parts {
                store.delete(&part.key).await?;
            }
        }
    }
}

fn archive_of(logs: &[(&str, &[u8])]) -> (Vec<u8>, Vec<ContainerLog>) {
    let mut text = pod_heading(POD, true).into_bytes();
    let mut containers = Vec::new();
    for (container, bytes) in logs {
        let init = *container == INIT;
        text.extend_from_slice(container_heading(container, init).as_bytes());
        containers.push(ContainerLog {
            pod: POD.into(),
            container: (*container).into(),
            init,
            start: text.len() as u64,
            size: bytes.len() as u64,
            sha256: digest::sha256(bytes),
            first: None,
            last: None,
            followed: 0,
            unknown: Unknown::new(),
        });
        text.extend_from_slice(bytes);
    }
    (text, containers)
}

/// A gateway alone.
fn setting() -> Setting {
    Setting { start_services: false, ..Setting::new(Backend::Local) }.with_processes(&process_yaml("talks", "echo"))
}

async fn start(story: &mut Story, more: &[(&str, &str)]) -> Result<()> {
    story.stack.start_service(Service::Gateway, 0, more)?;
    story.stack.wait_ready().await
}

async fn ask(story: &Story, job: &Job, query: &str, headers: &[(&str, &str)]) -> Result<Response> {
    let url = format!("{}/jobs/{}/logs{query}", story.stack.url(0), job.record.job_id);
    let mut request = story.http.request(Method::GET, url).bearer_auth(TOKEN);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Ok(request.send().await?)
}

fn header<'a>(answer: &'a Response, name: &str) -> &'a str {
    answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Lines of many lengths, some of them no text.
fn lines(bytes: usize, seed: u64) -> Vec<u8> {
    let (mut text, mut state) = (Vec::with_capacity(bytes + 300), seed);
    while text.len() < bytes {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = usize::try_from(state >> 56).unwrap();
        text.extend_from_slice(format!("{} {state} ", text.len()).as_bytes());
        text.extend((0..length).map(|at| u8::try_from((state >> (at % 50)) & 0xff).unwrap() | 0x20));
        text.push(b'\n');
    }
    text
}

/// Reads until there are so many bytes.
async fn read(answer: &mut Response, into: &mut Vec<u8>, bytes: usize) -> Result<()> {
    while into.len() < bytes {
        let chunk = tokio::time::timeout(LIMIT, answer.chunk()).await??.context("it has ended")?;
        into.extend_from_slice(&chunk);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_running_job_is_read_in_parts_and_beyond_them() {
    tell("live_logs_now", setting(), async |story| {
        start(story, &[]).await?;
        let job = Job::start(story).await?;
        let follower = job.follower(story).await?;
        let none = ask(story, &job, "", &[]).await?;
        ensure!(none.status().as_u16() == 404, "{}: nothing is there yet", none.status());

        follower.write(INIT, b"fetched\n");
        follower.end(INIT);
        follower.ship(INIT).await?;
        let main = lines(5000, 1);
        for part in [0..700, 700..1500, 1500..2200, 2200..3000] {
            follower.write(MAIN, &main[part]);
            follower.ship(MAIN).await?;
        }
        follower.write(MAIN, &main[3000..]);

        let whole = ask(story, &job, "", &[]).await?;
        let (expected, _) = archive_of(&[(INIT, b"fetched\n"), (MAIN, &main)]);
        ensure!(whole.status().as_u16() == 200 && header(&whole, "quayside-log-gaps") == "0", "{:?}", whole.headers());
        ensure!(header(&whole, "content-type") == "text/plain; charset=utf-8", "{:?}", whole.headers());
        ensure!(header(&whole, "x-content-type-options") == "nosniff", "{:?}", whole.headers());
        ensure!(header(&whole, "content-length") == expected.len().to_string(), "{:?}", whole.headers());
        ensure!(whole.bytes().await? == expected);

        let of_main = format!("?container={MAIN}");
        let one = ask(story, &job, &of_main, &[]).await?;
        ensure!(one.bytes().await? == main, "the log alone");
        for (range, from, to) in
            [("bytes=10-20", 10, 21), ("bytes=2990-3010", 2990, 3011), ("bytes=4000-", 4000, main.len())]
        {
            let part = ask(story, &job, &of_main, &[("range", range)]).await?;
            let expected = format!("bytes {from}-{}/*", to - 1);
            ensure!(
                part.status().as_u16() == 206 && header(&part, "content-range") == expected,
                "{:?}",
                part.headers()
            );
            ensure!(part.bytes().await? == main[from..to], "{range}");
        }
        let beyond = ask(story, &job, &of_main, &[("range", &format!("bytes={}-", main.len()))]).await?;
        ensure!(beyond.status().as_u16() == 416, "{}", beyond.status());

        let unknown = ask(story, &job, "?container=x", &[]).await?;
        let (code, text) = (unknown.status().as_u16(), unknown.text().await?);
        ensure!(code == 404 && text.contains(INIT) && text.contains(MAIN), "{text}");
        let wrong = ask(story, &job, "?since=yesterday&follow=maybe", &[]).await?;
        let (code, text) = (wrong.status().as_u16(), wrong.text().await?);
        ensure!(code == 400 && text.contains("since: expected") && text.contains("follow: expected"), "{text}");

        // What is left out is older; of what is as old, little is sent.
        let all = ask(story, &job, &format!("{of_main}&since=2020-01-01T00:00:00Z"), &[]).await?;
        ensure!(all.bytes().await? == main, "all of it is later");
        let since = time_of(2000);
        let later = ask(story, &job, &format!("{of_main}&since={since}"), &[]).await?.bytes().await?;
        ensure!(main.ends_with(&later), "the end of the log");
        let first = main.len() - later.len();
        let line = main[..2000].iter().rposition(|byte| *byte == b'\n').context("no line")? + 1;
        ensure!(first >= 700 && first <= line, "{first}: at the line at {line}, or a little before it");

        let status: Value = story.status(&job.record.job_id).await?;
        ensure!(status["links"].to_string().contains("/logs"), "{status}");
        let url = format!("{}/jobs/{}/logs", story.stack.url(0), job.record.job_id);
        let nobody = story.http.get(&url).send().await?;
        ensure!(nobody.status().as_u16() == 401, "{}", nobody.status());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_over_the_death_of_its_follower_and_on_into_its_archive() {
    tell("live_logs_follow", setting(), async |story| {
        start(story, &[]).await?;
        let mut job = Job::start(story).await?;
        // It waits for the first follower, too.
        let mut whole = ask(story, &job, "?follow=true", &[]).await?;
        ensure!(whole.status().as_u16() == 200 && header(&whole, "content-length").is_empty(), "{:?}", whole.headers());
        let mut one = ask(story, &job, &format!("?follow=true&container={MAIN}"), &[]).await?;
        ensure!(one.status().as_u16() == 200, "{}", one.status());

        let first = job.follower(story).await?;
        first.write(INIT, b"fetched\n");
        first.end(INIT);
        first.ship(INIT).await?;
        let main = lines(300_000, 2);
        first.write(MAIN, &main[..100_000]);
        first.ship(MAIN).await?;
        first.write(MAIN, &main[100_000..150_000]);
        let (mut seen, mut seen_whole) = (Vec::new(), Vec::new());
        read(&mut one, &mut seen, 150_000).await?;
        read(&mut whole, &mut seen_whole, 150_000).await?;

        // Dead with bytes that it had only told of; the next one reads them again.
        let second = job.follower(story).await?;
        second.go_on(INIT, &first);
        second.end(INIT);
        second.go_on(MAIN, &first);
        drop(first);
        second.write(MAIN, &main[100_000..120_000]);
        second.ship(MAIN).await?;
        second.write(MAIN, &main[120_000..200_000]);
        read(&mut one, &mut seen, 200_000).await?;
        ensure!(seen == main[..200_000], "nothing twice, nothing missing");

        // A third reader was cut, and goes on.
        let range = format!("bytes={}-", 90_001);
        let query = format!("?follow=true&container={MAIN}");
        let mut resumed = ask(story, &job, &query, &[("range", &range)]).await?;
        let expected = "bytes 90001-9007199254740991/*";
        ensure!(resumed.status().as_u16() == 206 && header(&resumed, "content-range") == expected, "{resumed:?}");
        let mut seen_resumed = Vec::new();
        read(&mut resumed, &mut seen_resumed, 200_000 - 90_001).await?;

        // The last bytes come from the archive alone.
        second.ship(MAIN).await?;
        drop(second);
        let text = job.archive(story, &[(INIT, b"fetched\n"), (MAIN, &main)]).await?;
        read(&mut one, &mut seen, main.len()).await?;
        ensure!(one.chunk().await?.is_none() && seen == main, "the log, and its end");
        read(&mut whole, &mut seen_whole, text.len()).await?;
        ensure!(whole.chunk().await?.is_none() && seen_whole == text, "as the archive has it");
        read(&mut resumed, &mut seen_resumed, main.len() - 90_001).await?;
        ensure!(resumed.chunk().await?.is_none() && seen_resumed == main[90_001..], "from where it was cut");

        let archived = ask(story, &job, &query, &[("range", "bytes=5-9")]).await?;
        ensure!(archived.status().as_u16() == 206, "{}", archived.status());
        ensure!(header(&archived, "content-range") == format!("bytes 5-9/{}", main.len()), "{:?}", archived.headers());
        ensure!(archived.bytes().await? == main[5..10], "a range of one container's log in the archive");
        let whole = ask(story, &job, "?follow=true", &[]).await?;
        ensure!(whole.bytes().await? == text, "the archive");
        let of_pod = ask(story, &job, &format!("?pod={POD}"), &[]).await?;
        ensure!(of_pod.bytes().await? == text, "of its only pod");
        for query in ["?pod=x", "?container=x"] {
            let unknown = ask(story, &job, query, &[]).await?;
            let (code, text) = (unknown.status().as_u16(), unknown.text().await?);
            ensure!(code == 404 && text.contains(MAIN), "{query}: {code} {text}");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_megabytes_are_followed_byte_for_byte_while_followers_come_and_go() {
    tell("live_logs_large", setting(), async |story| {
        start(story, &[]).await?;
        let mut job = Job::start(story).await?;
        let main = lines(20_000_000, 3);
        let mut follower = job.follower(story).await?;
        follower.write(MAIN, b"");
        let query = format!("?follow=true&container={MAIN}");
        let mut readers = Vec::new();
        for _ in 0..3 {
            let answer = ask(story, &job, &query, &[]).await?;
            readers.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut stream = answer.bytes_stream();
                while let Some(chunk) = stream.next().await {
                    seen.extend_from_slice(&chunk?);
                }
                anyhow::Ok(seen)
            }));
        }
        let mut stored = 0;
        for (count, chunk) in main.chunks(700_000).enumerate() {
            follower.write(MAIN, chunk);
            if count % 7 == 5 {
                // What it holds is lost with it, and read again by the next one.
                let next = job.follower(story).await?;
                next.go_on(MAIN, &follower);
                follower = next;
                follower.write(MAIN, &main[stored..(count * 700_000 + chunk.len())]);
            }
            if count % 3 == 2 {
                follower.ship(MAIN).await?;
                stored = count * 700_000 + chunk.len();
            }
        }
        follower.ship(MAIN).await?;
        follower.end(MAIN);
        drop(follower);
        job.archive(story, &[(INIT, b""), (MAIN, &main)]).await?;
        for reader in readers {
            let seen = tokio::time::timeout(LIMIT, reader).await???;
            ensure!(seen.len() == main.len(), "{} of {} bytes", seen.len(), main.len());
            ensure!(seen == main, "the bytes");
        }
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_have_a_number_a_time_and_a_speed() {
    tell("live_logs_limits", setting(), async |story| {
        let settings = [
            ("QUAYSIDE_GATEWAY__LOGS__MAX_READERS", "1"),
            ("QUAYSIDE_GATEWAY__LOGS__FOLLOW_LIMIT", "4"),
            ("QUAYSIDE_GATEWAY__SEND_TIMEOUT", "2"),
        ];
        start(story, &settings).await?;
        let job = Job::start(story).await?;
        let follower = job.follower(story).await?;
        follower.write(MAIN, b"one\n");
        let query = format!("?follow=true&container={MAIN}");
        let came_in = async || {
            wait_until("there is a place", LIMIT, || async {
                let answer = ask(story, &job, &query, &[]).await?;
                ensure!(answer.status().as_u16() == 200, "{}", answer.status());
                Ok(answer)
            })
            .await
        };

        let first = ask(story, &job, &query, &[]).await?;
        let second = ask(story, &job, "", &[]).await?;
        ensure!(second.status().as_u16() == 503 && !header(&second, "retry-after").is_empty(), "{}", second.status());
        // Nothing is written, and yet it is missed when it goes.
        drop(first);
        let began = std::time::Instant::now();
        let third = came_in().await?;
        ensure!(began.elapsed() < Duration::from_secs(3), "before its time was over");
        ensure!(third.bytes().await? == "one\n", "what was there, then its time was over");

        let _stalled = came_in().await?;
        let much = lines(30_000_000, 4);
        follower.write(MAIN, &much);
        // It takes nothing: the place is another's before long.
        let mut last = came_in().await?;
        let mut seen = Vec::new();
        read(&mut last, &mut seen, 1_000_000).await?;
        ensure!(seen[4..1_000_000] == much[..999_996], "the bytes");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_there_is_what_the_follower_holds() {
    tell("live_logs_no_bucket", Setting { store: StoreChoice::Absent, ..setting() }, async |story| {
        start(story, &[]).await?;
        let job = Job::start(story).await?;
        let follower = job.follower(story).await?;
        let main = lines(10_000, 5);
        follower.write(MAIN, &main);
        follower.forget(MAIN, 4_000);
        let query = format!("?container={MAIN}");
        ensure!(ask(story, &job, &query, &[]).await?.bytes().await? == main[4_000..], "the rest");
        let mut followed = ask(story, &job, &format!("{query}&follow=true"), &[]).await?;
        let mut seen = Vec::new();
        read(&mut followed, &mut seen, main.len() - 4_000).await?;
        follower.write(MAIN, b"last\n");
        follower.end(MAIN);
        while let Some(chunk) = followed.chunk().await? {
            seen.extend_from_slice(&chunk);
        }
        ensure!(seen == [&main[4_000..], b"last\n"].concat(), "to the end");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_log_shows_its_end_as_text_and_looks_again_while_the_job_runs() {
    tell("live_logs_page", setting(), async |story| {
        start(story, &[]).await?;
        let mut job = Job::start(story).await?;
        let page = async |story: &Story, job: &Job| {
            let answer = ask(story, job, "", &[("accept", "text/html")]).await?;
            ensure!(answer.status().as_u16() == 200, "{}", answer.status());
            ensure!(header(&answer, "content-type").starts_with("text/html"), "{:?}", answer.headers());
            Ok(answer.text().await?)
        };
        let text = page(story, &job).await?;
        ensure!(text.contains("Nothing yet") && text.contains("http-equiv=\"refresh\""), "{text}");
        let follower = job.follower(story).await?;
        let mut main = lines(100_000, 6);
        main.extend_from_slice(b"<script>alert(1)</script>\n");
        follower.write(MAIN, &main);
        let text = page(story, &job).await?;
        ensure!(text.contains("&#60;script&#62;alert(1)") || text.contains("&lt;script&gt;alert(1)"), "escaped");
        ensure!(!text.contains("<script>alert") && text.contains("This is only the end"), "{}", text.len());
        ensure!(text.contains("f=txt") && text.len() < 1_000_000, "{}", text.len());
        drop(follower);
        job.archive(story, &[(INIT, b"init\n"), (MAIN, b"done\n")]).await?;
        let text = wait_until("the page of the archive", LIMIT, || async {
            let text = page(story, &job).await?;
            ensure!(text.contains("done\n"), "{text}");
            Ok(text)
        })
        .await?;
        ensure!(!text.contains("http-equiv=\"refresh\"") && text.contains("init\n"), "{text}");
        let download = ask(story, &job, "?f=txt", &[("accept", "text/html")]).await?;
        ensure!(header(&download, "content-type").starts_with("text/plain"), "{:?}", download.headers());
        Ok(())
    })
    .await;
}
