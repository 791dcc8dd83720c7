//! The log of a job while it runs, as its readers see it: over the death of its follower, and on into its archive.

mod feed;
mod pods;
mod readers;

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    stack::StoreChoice,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use jiff::Timestamp;
use protocol::{JobId, ledger::PartKey, names::objects};
use reqwest::Method;
use serde_json::Value;

use self::feed::{Feed, Followed, MAIN, ask, ask_by, header, lines};

/// Small parts, soon.
fn setting() -> Setting {
    Setting::new(Backend::Local)
        .with_processes(&[feed::process(), process_yaml("naps", "sleep 2")].concat())
        .with("QUAYSIDE_FINALIZER__LOG_PART_SIZE", "65536")
        .with("QUAYSIDE_FINALIZER__LOG_PART_AGE", "1")
}

/// Query of the log of the one container.
fn of_main(more: &str) -> String {
    format!("?container={MAIN}{more}")
}

/// Waits until the first so many bytes of a log are in parts.
async fn in_parts(story: &Story, job: &JobId, bytes: usize) -> Result<()> {
    let store = story.stack.objects()?;
    let prefix = objects::log_parts_prefix(store.prefix(), job);
    wait_until("its parts", LIMIT, || async {
        let listed = store.list(&prefix, None, 1000).await?;
        let parts = listed.iter().filter_map(|listed| PartKey::parse(store.prefix(), job, &listed.key));
        let end = parts.map(|part| part.end()).max().unwrap_or_default();
        ensure!(end >= bytes as u64, "{end} of {bytes} bytes");
        Ok(())
    })
    .await
}

/// How many of the first bytes end with a line: what ends within one may wait for its rest.
fn whole_lines(bytes: &[u8], most: usize) -> usize {
    bytes[..most].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1)
}

/// The archive of a job, byte for byte.
async fn archive(story: &Story, job: &JobId) -> Result<Vec<u8>> {
    let key = story.manifest(job).await?.record.archive.key.context("no archive")?;
    Ok(story.stack.objects()?.get(&key, 1 << 28).await?.context("no archive")?.to_vec())
}

/// As a power cut does.
async fn kill_follower(story: &mut Story) -> Result<()> {
    story.stack.service(Service::Finalizer, 0)?.program.kill().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_running_job_is_read_in_parts_and_beyond_them() {
    tell("live_logs_now", setting(), async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        let main = lines(300_000, 1);
        let stored = whole_lines(&main, 250_000);
        feed.print(&main[..stored]).await?;
        in_parts(story, &job, stored).await?;
        feed.print(&main[stored..]).await?;
        let whole = wait_until("all of it", LIMIT, || async {
            let one = ask(story, &job, &of_main(""), &[]).await?.bytes().await?;
            ensure!(one == main, "{} of {} bytes", one.len(), main.len());
            ask(story, &job, "", &[]).await
        })
        .await?;
        ensure!(whole.status().as_u16() == 200 && header(&whole, "quayside-log-gaps") == "0", "{:?}", whole.headers());
        ensure!(header(&whole, "content-type") == "text/plain; charset=utf-8", "{:?}", whole.headers());
        ensure!(header(&whole, "x-content-type-options") == "nosniff", "{:?}", whole.headers());
        let length = header(&whole, "content-length").to_owned();
        let exposed = header(&whole, "access-control-expose-headers").to_owned();
        let whole = whole.bytes().await?;
        ensure!(whole.ends_with(&main) && length == whole.len().to_string(), "{length}: {}", whole.len());
        ensure!(exposed.is_empty(), "nobody asked from another origin");
        let head = ask_by(story, Method::HEAD, &job, "", &[]).await?;
        ensure!(head.status().as_u16() == 200 && header(&head, "content-length") == length, "{:?}", head.headers());

        for (range, from, to) in [
            ("bytes=10-20", 10, 21),
            ("bytes=240000-260009", 240_000, 260_010),
            ("bytes=299000-", 299_000, main.len()),
            ("bytes=-9", main.len() - 9, main.len()),
        ] {
            let part = ask(story, &job, &of_main(""), &[("range", range)]).await?;
            let expected = format!("bytes {from}-{}/*", to - 1);
            let shown = header(&part, "content-range");
            ensure!(part.status().as_u16() == 206 && shown == expected, "{:?}", part.headers());
            ensure!(part.bytes().await? == main[from..to], "{range}");
        }
        let range = format!("bytes={}-", main.len() + 1);
        let beyond = ask(story, &job, &of_main(""), &[("range", &range)]).await?;
        let shown = header(&beyond, "content-range");
        ensure!(beyond.status().as_u16() == 416 && shown == format!("bytes */{}", main.len()), "{beyond:?}");
        // A follower that died may have told of bytes that the next one has yet to read again.
        let awaited = ask(story, &job, &of_main("&follow=true"), &[("range", &range)]).await?;
        let shown = header(&awaited, "content-range").starts_with(&format!("bytes {}-", main.len() + 1));
        ensure!(awaited.status().as_u16() == 206 && shown, "{awaited:?}");
        drop(awaited);

        let unknown = ask(story, &job, "?container=x", &[]).await?;
        let (code, text) = (unknown.status().as_u16(), unknown.text().await?);
        ensure!(code == 404 && text.contains(MAIN), "{text}");
        let wrong = ask(story, &job, "?since=yesterday&follow=maybe", &[]).await?;
        let (code, text) = (wrong.status().as_u16(), wrong.text().await?);
        ensure!(code == 400 && text.contains("since: expected") && text.contains("follow: expected"), "{text}");
        let status: Value = story.status(&job).await?;
        ensure!(status["links"].to_string().contains("/logs"), "{status}");
        let nobody = story.http.get(format!("{}/jobs/{job}/logs", story.stack.url(0))).send().await?;
        ensure!(nobody.status().as_u16() == 401, "{}", nobody.status());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_before_a_time_is_left_out() {
    // What is printed stays with the follower for as long as the story wants it to.
    let setting = setting().with("QUAYSIDE_FINALIZER__LOG_PART_AGE", "600");
    tell("live_logs_since", setting, async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        let mut followed = Followed::begin(ask(story, &job, &of_main("&follow=true"), &[]).await?)?;
        let mut times = Vec::new();
        let mut printed = Vec::new();
        let since = async |story: &Story, time: Timestamp| {
            anyhow::Ok(ask(story, &job, &of_main(&format!("&since={time}")), &[]).await?.bytes().await?)
        };
        for line in ["one\n", "two\n", "three\n"] {
            times.push((Timestamp::now(), printed.len()));
            feed.print(line.as_bytes()).await?;
            printed.extend_from_slice(line.as_bytes());
            followed.until(printed.len()).await?;
        }
        for (time, place) in &times {
            let later = since(story, *time).await?;
            ensure!(later == printed[*place..], "since {time}: {later:?}");
        }
        let now = Timestamp::now();
        ensure!(since(story, now).await?.is_empty(), "nothing is as late");
        let path = format!("{}&since={now}", of_main("&follow=true"));
        let mut later = Followed::begin(ask(story, &job, &path, &[]).await?)?;

        let much = lines(400_000, 7);
        let time = Timestamp::now();
        feed.print(&much).await?;
        later.until(much.len()).await?;
        ensure!(later.seen == much, "only what came afterwards");
        // The largest part of it is in parts by now, the first of which has all lines up to here.
        in_parts(story, &job, 3 * 65_536).await?;
        let all = [&printed, &much[..]].concat();
        ensure!(since(story, times[0].0).await? == all, "all of it is as late");
        let found = since(story, time).await?;
        ensure!(all.ends_with(&found) && found.len() >= much.len(), "{} of {} bytes", found.len(), much.len());
        let nothing = since(story, Timestamp::now()).await?;
        ensure!(nothing.is_empty(), "{} bytes", nothing.len());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_from_before_its_job_runs_over_the_death_of_its_follower_and_on_into_its_archive() {
    tell("live_logs_follow", Setting { start_services: false, ..setting() }, async |story| {
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.wait_ready().await?;
        let mut feed = Feed::submit(story).await?;
        let job = feed.job;
        let waits = ask(story, &job, "", &[]).await?;
        ensure!(waits.status().as_u16() == 404, "{}: it has not started", waits.status());
        let whole = ask(story, &job, "?follow=true", &[]).await?;
        ensure!(header(&whole, "content-length").is_empty(), "{:?}", whole.headers());
        let (mut whole, query) = (Followed::begin(whole)?, of_main("&follow=true"));
        let mut one = Followed::begin(ask(story, &job, &query, &[]).await?)?;

        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        feed.runs().await?;
        let mut main = Vec::new();
        for count in 0..20 {
            let line = format!("line {count}\n");
            feed.print(line.as_bytes()).await?;
            main.extend_from_slice(line.as_bytes());
            one.until(main.len()).await?;
            ensure!(one.seen == main, "each line as it comes");
        }
        let more = lines(400_000, 2);
        let (first, second) = (whole_lines(&more, 200_000), whole_lines(&more, 300_000));
        feed.print(&more[..first]).await?;
        let half = main.len() + first;
        main.extend_from_slice(&more);
        one.until(half).await?;

        // Dead with bytes that it had only told of; the next one reads them again.
        kill_follower(story).await?;
        feed.print(&more[first..second]).await?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        let far = half + second - first;
        one.until(far).await?;
        ensure!(one.seen == main[..far], "nothing twice, nothing missing");

        // A third reader was cut, and goes on.
        let resumed = ask(story, &job, &query, &[("range", "bytes=90001-")]).await?;
        let expected = "bytes 90001-9007199254740991/*";
        ensure!(resumed.status().as_u16() == 206 && header(&resumed, "content-range") == expected, "{resumed:?}");
        let mut resumed = Followed::begin(resumed)?;
        resumed.until(far - 90_001).await?;

        feed.print(&more[second..]).await?;
        one.until(main.len()).await?;
        whole.until(main.len()).await?;
        feed.end();
        ensure!(one.until_end().await? == main, "the log, and its end");
        ensure!(resumed.until_end().await? == main[90_001..], "from where it was cut");
        let whole = whole.until_end().await?;
        story.wait_done(&job).await?;
        let archive = archive(story, &job).await?;
        ensure!(whole == archive, "as the archive has it");

        let archived = ask(story, &job, &query, &[("range", "bytes=5-9")]).await?;
        ensure!(archived.status().as_u16() == 206, "{}", archived.status());
        ensure!(header(&archived, "content-range") == format!("bytes 5-9/{}", main.len()), "{:?}", archived.headers());
        ensure!(archived.bytes().await? == main[5..10], "a range of one container's log in the archive");
        let manifest = story.manifest(&job).await?;
        let pod = manifest.containers.first().context("no container")?.pod.clone();
        for query in ["?follow=true".to_owned(), format!("?pod={pod}")] {
            let again = ask(story, &job, &query, &[]).await?;
            ensure!(again.bytes().await? == archive, "{query}: the archive");
        }
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
    let setting = setting().with("QUAYSIDE_FINALIZER__LOG_PART_SIZE", "524288");
    tell("live_logs_large", setting, async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        let main = lines(20_000_000, 3);
        let mut readers = Vec::new();
        for _ in 0..3 {
            let followed = Followed::begin(ask(story, &job, &of_main("&follow=true"), &[]).await?)?;
            readers.push(tokio::spawn(followed.until_end()));
        }
        for (count, chunk) in main.chunks(2_000_000).enumerate() {
            if count % 4 == 2 {
                kill_follower(story).await?;
            }
            feed.print(chunk).await?;
            if count % 4 == 2 {
                story.stack.start_service(Service::Finalizer, 0, &[])?;
            }
        }
        feed.end();
        for reader in readers {
            let seen = tokio::time::timeout(LIMIT, reader).await???;
            ensure!(seen.len() == main.len(), "{} of {} bytes", seen.len(), main.len());
            ensure!(seen == main, "the bytes");
        }
        story.wait_done(&job).await?;
        let archived = ask(story, &job, &of_main(""), &[]).await?;
        ensure!(header(&archived, "quayside-log-gaps") == "0", "{:?}", archived.headers());
        ensure!(archived.bytes().await? == main, "as the archive has it");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_job_that_is_dismissed_gets_its_log_and_the_end() {
    tell("live_logs_dismissed", setting(), async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        let mut whole = Followed::begin(ask(story, &job, "?follow=true", &[]).await?)?;
        let mut one = Followed::begin(ask(story, &job, &of_main("&follow=true"), &[]).await?)?;
        let main = lines(100_000, 8);
        feed.print(&main).await?;
        one.until(main.len()).await?;
        whole.until(main.len()).await?;
        ensure!(story.delete_at(0, &job).await?.status().as_u16() == 200, "dismissed");
        ensure!(one.until_end().await? == main, "its log, and its end");
        let whole = whole.until_end().await?;
        ensure!(whole == archive(story, &job).await?, "as the archive has it");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_job_that_is_dismissed_before_it_runs_gets_an_empty_log() {
    tell("live_logs_never", Setting { start_services: false, ..setting() }, async |story| {
        story.stack.start_service(Service::Gateway, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        story.stack.wait_ready().await?;
        let feed = Feed::submit(story).await?;
        let whole = Followed::begin(ask(story, &feed.job, "?follow=true", &[]).await?)?;
        let one = Followed::begin(ask(story, &feed.job, &of_main("&follow=true"), &[]).await?)?;
        let page = ask(story, &feed.job, "", &[("accept", "text/html")]).await?.text().await?;
        ensure!(page.contains("Nothing yet") && page.contains("http-equiv=\"refresh\""), "{page}");
        ensure!(story.delete_at(0, &feed.job).await?.status().as_u16() == 200, "dismissed");
        ensure!(whole.until_end().await?.is_empty() && one.until_end().await?.is_empty(), "nothing");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_bucket_there_is_what_the_follower_holds() {
    tell("live_logs_no_bucket", Setting { store: StoreChoice::Absent, ..setting() }, async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        let main = lines(1_000_000, 5);
        feed.print(&main).await?;
        let held = wait_until("the end of it", LIMIT, || async {
            let held = ask(story, &job, &of_main(""), &[]).await?.bytes().await?;
            ensure!(main.ends_with(&held) && held.len() >= 65_536, "{} bytes", held.len());
            Ok(held)
        })
        .await?;
        ensure!(held.len() < 500_000, "{} bytes", held.len());
        let mut followed = Followed::begin(ask(story, &job, &of_main("&follow=true"), &[]).await?)?;
        followed.until(held.len()).await?;
        feed.print(b"last\n").await?;
        followed.until(held.len() + 5).await?;
        feed.end();
        ensure!(followed.until_end().await? == [&held[..], b"last\n"].concat(), "to the end");
        let status = story.wait_done(&job).await?;
        let none = ask(story, &job, "", &[]).await?;
        ensure!(none.status().as_u16() == 404, "{}: {status}", none.status());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_a_log_shows_its_end_as_text_and_looks_again_while_the_job_runs() {
    tell("live_logs_page", setting(), async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        let page = async |story: &Story| {
            let answer = ask(story, &job, "", &[("accept", "text/html")]).await?;
            ensure!(answer.status().as_u16() == 200, "{}", answer.status());
            ensure!(header(&answer, "content-type").starts_with("text/html"), "{:?}", answer.headers());
            Ok(answer.text().await?)
        };
        let mut main = lines(100_000, 6);
        main.extend_from_slice(b"<script>alert(1)</script>\n");
        feed.print(&main).await?;
        let text = wait_until("the end of it", LIMIT, || async {
            let text = page(story).await?;
            ensure!(text.contains("&#60;script&#62;alert(1)") || text.contains("&lt;script&gt;alert(1)"), "escaped");
            Ok(text)
        })
        .await?;
        ensure!(text.contains("http-equiv=\"refresh\""), "it looks again");
        ensure!(!text.contains("<script>alert") && text.contains("This is only the end"), "{}", text.len());
        ensure!(text.contains("f=txt") && text.len() < 1_000_000, "{}", text.len());
        feed.print(b"done\n").await?;
        feed.end();
        story.wait_done(&job).await?;
        let text = page(story).await?;
        ensure!(!text.contains("http-equiv=\"refresh\"") && text.contains("done\n"), "{text}");
        let download = ask(story, &job, "?f=txt", &[("accept", "text/html")]).await?;
        ensure!(header(&download, "content-type").starts_with("text/plain"), "{:?}", download.headers());
        Ok(())
    })
    .await;
}
