//! A receiver of callbacks: notes what it gets, and answers as it is told to.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use crate::program::wait_until;

/// A running receiver; dropped, it stops.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

/// One request that came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Path and query.
    pub target: String,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Manner {
    /// This head, and no body.
    Says(String),
    /// Nothing, and the connection stays.
    SaysNothing,
    /// A head, and a body without end.
    TalksForEver,
}

#[derive(Debug)]
struct State {
    manner: Manner,
    received: Vec<Received>,
}

impl Manner {
    /// An answer of this status.
    pub fn status(status: u16) -> Self {
        Self::Says(format!("HTTP/1.1 {status} Status\r\n"))
    }

    /// A redirect to this URL.
    pub fn redirect(url: &str) -> Self {
        Self::Says(format!("HTTP/1.1 307 Redirect\r\nlocation: {url}\r\n"))
    }
}

impl Received {
    /// A header, empty where it did not come.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| String::from_utf8_lossy(&self.body).into_owned())
    }
}

impl Receiver {
    /// Starts one on `port` of the loopback address, 0 being any.
    pub async fn start(port: u16, manner: Manner) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("the receiver can't listen")?;
        let address = listener.local_addr()?;
        let state = Arc::new(Mutex::new(State { manner, received: Vec::new() }));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let state = shared.clone();
                connections.spawn(async move {
                    if let Err(error) = receive(connection, &state).await {
                        tracing::debug!(%error, "the receiver gave a connection up");
                    }
                });
            }
        });
        Ok(Self { address, state, serving })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// A URL of it.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Answers otherwise from now on.
    pub fn behave(&self, manner: Manner) {
        lock(&self.state).manner = manner;
    }

    /// What came so far.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.state).received.clone()
    }

    /// What came on this path and query, once that is so many.
    pub async fn wait_for(&self, target: &str, count: usize, limit: Duration) -> Result<Vec<Received>> {
        wait_until(&format!("{count} calls of {target}"), limit, || async {
            let found: Vec<Received> = self.received().into_iter().filter(|it| it.target == target).collect();
            ensure!(found.len() >= count, "{} came", found.len());
            Ok(found)
        })
        .await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn receive(mut connection: TcpStream, state: &Mutex<State>) -> Result<()> {
    const LIMIT: usize = 64 * 1024 * 1024;
    let mut seen = Vec::new();
    let end = loop {
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        ensure!(connection.read_buf(&mut seen).await? > 0, "no whole head came");
    };
    let head = std::str::from_utf8(&seen[..end])?;
    let (line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
    let target = line.strip_prefix("POST ").and_then(|rest| rest.split(' ').next()).context("no POST")?.to_owned();
    let headers: BTreeMap<String, String> = lines
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").context("no content-length")?.parse()?;
    ensure!(length <= LIMIT, "{length} bytes");
    let mut body = seen.split_off(end + 4);
    while body.len() < length {
        ensure!(connection.read_buf(&mut body).await? > 0, "no whole body came");
    }
    let manner = {
        let mut state = lock(state);
        state.received.push(Received { target, headers, body });
        state.manner.clone()
    };
    match manner {
        Manner::Says(head) => connection.write_all(format!("{head}content-length: 0\r\n\r\n").as_bytes()).await?,
        Manner::SaysNothing => std::future::pending().await,
        Manner::TalksForEver => {
            connection.write_all(b"HTTP/1.1 500 No\r\ntransfer-encoding: chunked\r\n\r\n").await?;
            loop {
                connection.write_all(b"400\r\n").await?;
                connection.write_all(&[b'x'; 1024]).await?;
                connection.write_all(b"\r\n").await?;
            }
        }
    }
    Ok(())
}
