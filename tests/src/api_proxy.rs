//! What stands before a Kubernetes API server that is under pressure: everything passes but the creation of Jobs, which is answered
//! as an API server answers that has too much to do.

use std::{
    collections::HashMap,
    convert::Infallible,
    fs,
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::{Context, Result};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header::RETRY_AFTER,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use crate::cluster;

/// A running proxy; dropped, it stops.
#[derive(Debug)]
pub struct ApiProxy {
    kubeconfig: PathBuf,
    seen: Arc<Mutex<Seen>>,
    serving: JoinHandle<()>,
}

/// How the creation of Jobs is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// As the API server does when too many requests wait: 429 in plain text, and after how many seconds to come again.
    TooManyRequests {
        /// `Retry-After`.
        retry_after: u64,
    },
    /// 503, and nothing else.
    Unavailable,
}

/// A Job that was to be created.
#[derive(Clone, Debug)]
pub struct Create {
    /// Its name.
    pub name: String,
    /// When the request came.
    pub at: Instant,
    /// Whether it was refused.
    pub refused: bool,
}

#[derive(Debug, Default)]
struct Seen {
    refusal: Option<Refusal>,
    /// Which Job alone is refused: the next one, until it has come.
    only: Option<Option<String>>,
    creates: Vec<Create>,
    under_way: usize,
    most_under_way: usize,
}

impl ApiProxy {
    /// Starts one before the API server of a kubeconfig, and writes one that leads through it beside that.
    pub async fn start(behind: &Path) -> Result<Self> {
        let client = cluster::client(behind).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the proxy can't listen")?;
        let kubeconfig = lead_through(behind, listener.local_addr()?)?;
        let seen = Arc::new(Mutex::new(Seen::default()));
        let of_connections = seen.clone();
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (client, seen) = (client.clone(), of_connections.clone());
                let service = service_fn(move |request| answer(client.clone(), seen.clone(), request));
                connections.spawn(async move {
                    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(connection), service).await
                    {
                        tracing::debug!(%error, "the proxy gave a connection up");
                    }
                });
            }
        });
        Ok(Self { kubeconfig, seen, serving })
    }

    /// The kubeconfig that leads through it, with the user of the other one.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on Jobs are refused like this; or created.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        let mut seen = locked(&self.seen);
        (seen.refusal, seen.only) = (refusal, None);
    }

    /// From now on the Job that comes next is refused like this, each time that it comes, and no other.
    pub fn refuse_one(&self, refusal: Refusal) {
        let mut seen = locked(&self.seen);
        (seen.refusal, seen.only) = (Some(refusal), Some(None));
    }

    /// Every Job that was to be created so far, in order.
    pub fn creates(&self) -> Vec<Create> {
        locked(&self.seen).creates.clone()
    }

    /// How many creates were under way at one time, at most.
    pub fn most_under_way(&self) -> usize {
        locked(&self.seen).most_under_way
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lead_through(behind: &Path, address: SocketAddr) -> Result<PathBuf> {
    let mut config: Value = serde_json::from_slice(&fs::read(behind)?)?;
    config["clusters"][0]["cluster"] = json!({ "server": format!("http://{address}") });
    let file = behind.with_extension("proxy.kubeconfig");
    fs::write(&file, config.to_string())?;
    Ok(file)
}

async fn answer(
    client: kube::Client,
    seen: Arc<Mutex<Seen>>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let answer = pass(client, &seen, request).await;
    Ok(answer.unwrap_or_else(|error| plain(StatusCode::BAD_GATEWAY, None, &format!("{error:#}"))))
}

async fn pass(client: kube::Client, seen: &Mutex<Seen>, request: Request<Incoming>) -> Result<Response<Body>> {
    let (mut head, body) = request.into_parts();
    let body = whole(body).await?;
    let is_create = head.method == Method::POST && head.uri.path().ends_with("/jobs");
    let _under_way = match is_create {
        true => {
            let refusal = begin(seen, &body);
            let under_way = UnderWay(seen);
            match refusal {
                Some(Refusal::TooManyRequests { retry_after }) => {
                    let text = "Too many requests, please try again later.\n";
                    return Ok(plain(StatusCode::TOO_MANY_REQUESTS, Some(retry_after), text));
                }
                Some(Refusal::Unavailable) => {
                    return Ok(plain(StatusCode::SERVICE_UNAVAILABLE, None, "service unavailable\n"));
                }
                None => {}
            }
            Some(under_way)
        }
        false => None,
    };
    // Of this connection, not of the one behind it.
    for name in ["host", "connection", "transfer-encoding", "content-length"] {
        head.headers.remove(name);
    }
    let mut answer = client.send(Request::from_parts(head, Body::from(body))).await?;
    for name in ["connection", "transfer-encoding"] {
        answer.headers_mut().remove(name);
    }
    Ok(answer)
}

/// Notes a create, and how it is to be refused.
fn begin(seen: &Mutex<Seen>, body: &[u8]) -> Option<Refusal> {
    let job: HashMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let name = job.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or_default().to_owned();
    let mut seen = locked(seen);
    let is_meant = seen.only.as_mut().is_none_or(|only| *only.get_or_insert_with(|| name.clone()) == name);
    let refusal = seen.refusal.filter(|_| is_meant);
    seen.creates.push(Create { name, at: Instant::now(), refused: refusal.is_some() });
    seen.under_way += 1;
    seen.most_under_way = seen.most_under_way.max(seen.under_way);
    refusal
}

struct UnderWay<'a>(&'a Mutex<Seen>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        locked(self.0).under_way -= 1;
    }
}

async fn whole(mut body: Incoming) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        if let Ok(data) = frame?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn plain(status: StatusCode, retry_after: Option<u64>, text: &str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text.as_bytes().to_vec()));
    *answer.status_mut() = status;
    if let Some(seconds) = retry_after {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}
