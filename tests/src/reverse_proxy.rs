//! A small reverse proxy: what stands before the gateway where Quayside has a path of somebody's public address.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A running proxy; dropped, it stops.
#[derive(Debug)]
pub struct ReverseProxy {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

/// What a proxy does with a request.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The path below which it serves.
    pub path: &'static str,
    /// Whether the server behind it sees paths without that.
    pub strips: bool,
    /// Headers that it adds.
    pub headers: &'static [(&'static str, &'static str)],
}

impl ReverseProxy {
    /// Starts one on `port` of the loopback address, before the server at `upstream`, a port too.
    pub async fn start(port: u16, upstream: u16, rules: Rules) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("the proxy can't listen")?;
        let address = listener.local_addr()?;
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let rules = rules.clone();
                connections.spawn(async move {
                    if let Err(error) = pass(client, upstream, &rules).await {
                        tracing::debug!(%error, "the proxy gave a connection up");
                    }
                });
            }
        });
        Ok(Self { address, serving })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Passes one request on, and its answer back; the connection ends with it.
async fn pass(mut client: TcpStream, upstream: u16, rules: &Rules) -> Result<()> {
    const LIMIT: usize = 64 * 1024;
    let mut seen = Vec::new();
    let end = loop {
        if let Some(end) = seen.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        ensure!(seen.len() < LIMIT && client.read_buf(&mut seen).await? > 0, "no whole head came");
    };
    let head = std::str::from_utf8(&seen[..end])?;
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let (method, target) = line.split_once(' ').context("no request line")?;
    let below = target.strip_prefix(rules.path).context("not below the path of the proxy")?;
    let target = match (rules.strips, below.starts_with('/')) {
        (false, _) => target.to_owned(),
        (true, true) => below.to_owned(),
        (true, false) => format!("/{below}"),
    };
    let kept = headers.lines().filter(|header| !header.to_ascii_lowercase().starts_with("connection:"));
    let mut rewritten = format!("{method} {target}\r\nconnection: close\r\n");
    for header in kept {
        rewritten.push_str(&format!("{header}\r\n"));
    }
    for (name, value) in rules.headers {
        rewritten.push_str(&format!("{name}: {value}\r\n"));
    }
    rewritten.push_str("\r\n");
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream)).await?;
    server.write_all(rewritten.as_bytes()).await?;
    server.write_all(&seen[end + 4..]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
