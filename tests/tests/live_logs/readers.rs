//! Readers have limits, and are missed when they go.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    story::{LIMIT, Story, TOKEN, tell},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    feed::{Feed, Followed, ask, header, lines},
    of_main, setting,
};

/// A client without a library. It speaks HTTP/1.0, so that bytes come as they are.
struct Plain(TcpStream);

impl Plain {
    async fn ask(story: &Story, method: &str, path: &str, body: &str) -> Result<Self> {
        let url = story.stack.url(0);
        let address = url.strip_prefix("http://").context("no address")?;
        let mut stream = TcpStream::connect(address).await?;
        let head = format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Bearer {TOKEN}\r\n");
        let length = format!("content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(format!("{head}{length}{body}").as_bytes()).await?;
        Ok(Self(stream))
    }

    /// Follows the log of a job, of which the first line is this.
    async fn follow(story: &Story, feed: &Feed, first: &str) -> Result<Self> {
        let path = format!("/jobs/{}/logs{}", feed.job, of_main("&follow=true"));
        let mut client = Self::ask(story, "GET", &path, "").await?;
        let mut seen = Vec::new();
        while !seen.ends_with(first.as_bytes()) {
            let mut byte = [0];
            tokio::time::timeout(LIMIT, client.0.read_exact(&mut byte)).await??;
            seen.extend_from_slice(&byte);
        }
        ensure!(seen.starts_with(b"HTTP/1.0 200") || seen.starts_with(b"HTTP/1.1 200"), "{seen:?}");
        Ok(client)
    }

    /// Everything else that comes, to the end.
    async fn rest(mut self) -> Result<String> {
        let mut rest = String::new();
        tokio::time::timeout(LIMIT, self.0.read_to_string(&mut rest)).await??;
        Ok(rest)
    }
}

/// Logs that are being read, as the gateway counts them.
async fn readers(story: &mut Story, expected: u32) -> Result<()> {
    let probe = story.stack.service(Service::Gateway, 0)?.probe;
    let line = format!("quayside_gateway_log_readers {expected}\n");
    let url = format!("http://127.0.0.1:{probe}/metrics");
    wait_until(&line, LIMIT, || async {
        let shown = story.http.get(&url).send().await?.text().await?;
        let own = shown.lines().find(|line| line.starts_with("quayside_gateway_log_readers")).unwrap_or_default();
        ensure!(shown.contains(&line), "{own}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_have_a_number_a_time_and_a_speed() {
    let setting = setting()
        .with("QUAYSIDE_GATEWAY__LOGS__MAX_READERS", "1")
        .with("QUAYSIDE_GATEWAY__LOGS__FOLLOW_LIMIT", "4")
        .with("QUAYSIDE_GATEWAY__SEND_TIMEOUT", "2");
    tell("live_logs_limits", setting, async |story| {
        let mut feed = Feed::start(story).await?;
        let job = feed.job;
        feed.print(b"one\n").await?;
        let query = of_main("&follow=true");
        let came_in = async |story: &Story| {
            let answer = wait_until("there is a place", LIMIT, || async {
                let answer = ask(story, &job, &query, &[]).await?;
                ensure!(answer.status().as_u16() == 200, "{}", answer.status());
                Ok(answer)
            })
            .await?;
            Followed::begin(answer)
        };
        let first = came_in(story).await?;
        let began = Instant::now();
        let second = ask(story, &job, "", &[]).await?;
        ensure!(second.status().as_u16() == 503 && !header(&second, "retry-after").is_empty(), "{}", second.status());
        ensure!(first.until_end().await? == b"one\n", "what was there, then its time was over");
        ensure!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());

        let _stalled = came_in(story).await?;
        let much = lines(30_000_000, 4);
        feed.print(&much).await?;
        // It takes nothing: the place is another's before long.
        let mut last = came_in(story).await?;
        last.until(1_000_000).await?;
        ensure!(last.seen[4..1_000_000] == much[..999_996], "the bytes");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_is_missed_and_one_that_only_has_nothing_more_to_ask_is_served() {
    tell("live_logs_gone", setting(), async |story| {
        let mut feed = Feed::start(story).await?;
        feed.print(b"one\n").await?;
        let mut silent = Plain::follow(story, &feed, "one\n").await?;
        // It says that it sends nothing more, and waits for what comes.
        silent.0.shutdown().await?;
        let gone = Plain::follow(story, &feed, "one\n").await?;
        let reset = Plain::follow(story, &feed, "one\n").await?;
        readers(story, 3).await?;
        reset.0.set_zero_linger()?;
        drop(reset);
        readers(story, 2).await?;
        // Nothing is written, and yet it is missed, once this system has forgotten its connection.
        drop(gone);
        readers(story, 1).await?;
        feed.print(b"two\n").await?;
        feed.end();
        let rest = silent.rest().await?;
        ensure!(rest == "two\n", "{rest}");
        readers(story, 0).await?;

        // So is one that waits for a job.
        let mut waits = Plain::ask(story, "POST", "/processes/naps/execution", "{}").await?;
        waits.0.shutdown().await?;
        let answer = waits.rest().await?;
        ensure!(answer.starts_with("HTTP/1.0 204 "), "{answer}");
        Ok(())
    })
    .await;
}
