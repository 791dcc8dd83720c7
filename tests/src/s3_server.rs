//! S3 servers on a folder: one inside this process, and versitygw as a second opinion.

use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::{Context, Result};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use platform::{
    object_store::{ObjectStore, StoreSettings},
    secret::Secret,
};
use s3s::{
    S3Request, S3Result,
    access::{S3Access, S3AccessContext},
    auth::SimpleAuth,
    dto::ListObjectsV2Input,
    path::S3Path,
    s3_error,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ports,
    program::{Launch, Program},
    tools::{Tool, Tools},
};

/// The access key of both servers.
pub const KEY: &str = "quayside";
/// The secret of [`KEY`]. No secret at all: these servers listen on the loopback address only.
pub const SECRET: &str = "quayside-local-only";
/// The bucket of both servers.
pub const BUCKET: &str = "quayside";

/// Settings for a server of this file.
pub fn settings(endpoint: &str) -> StoreSettings {
    StoreSettings {
        endpoint: endpoint.to_owned(),
        key: KEY.to_owned(),
        secret: Secret::new(SECRET),
        bucket: BUCKET.to_owned(),
        prefix: "logs/".to_owned(),
        region: None,
        path_style: true,
        timeout: Duration::from_secs(20),
        part_size: 5 * 1024 * 1024,
        public_endpoint: None,
        pods_endpoint: None,
    }
}

/// An S3 server inside this process. Its objects are files in a folder, and are there again when it is started on the
/// same folder.
#[derive(Debug)]
pub struct S3Server {
    folder: PathBuf,
    address: SocketAddr,
    running: Option<(CancellationToken, JoinHandle<()>)>,
    refusals: Refusals,
}

impl S3Server {
    /// Starts a server on `folder`, made if it is not there, with the bucket [`BUCKET`]; on a free port unless one is
    /// named. Must be called inside a tokio runtime.
    pub async fn start(folder: impl Into<PathBuf>, port: Option<u16>) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
        let mut server = Self { folder: folder.into(), address, running: None, refusals: Refusals::default() };
        server.restart().await?;
        Ok(server)
    }

    /// URL of the server; the same after [`restart`](Self::restart).
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Settings that reach it.
    pub fn settings(&self) -> StoreSettings {
        settings(&self.endpoint())
    }

    /// A client for its bucket.
    pub fn store(&self) -> Result<ObjectStore> {
        Ok(ObjectStore::new(&self.settings())?)
    }

    /// From now on answers "service unavailable" to requests of which this is true: of the operation, such as `PutObject`,
    /// and the object's key, empty where the request is about none. Nothing is refused that was begun before.
    pub fn refuse(&self, which: impl Fn(&str, &str) -> bool + Send + Sync + 'static) {
        *self.refusals.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(which));
    }

    /// Refuses nothing any more.
    pub fn refuse_nothing(&self) {
        *self.refusals.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Starts it again, on the same port; does nothing when it runs.
    pub async fn restart(&mut self) -> Result<()> {
        if self.running.is_some() {
            return Ok(());
        }
        fs::create_dir_all(self.folder.join(BUCKET))
            .with_context(|| format!("{} can't be made", self.folder.display()))?;
        let files = FileSystem::new(&self.folder).map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        builder.set_access(Access(self.refusals.clone()));
        let socket = TcpSocket::new_v4()?;
        // The port may still have closed connections of the server before.
        socket.set_reuseaddr(true)?;
        socket.bind(self.address).with_context(|| format!("{} is taken", self.address))?;
        let listener = socket.listen(1024)?;
        self.address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, builder.build(), stop.clone()));
        self.running = Some((stop, task));
        Ok(())
    }

    /// Stops it at once: open requests are cut, as by a crash. The objects stay.
    pub async fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.await.ok();
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.running {
            stop.cancel();
        }
    }
}

type Refused = Box<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// Which requests are refused.
#[derive(Clone, Default)]
struct Refusals(Arc<RwLock<Option<Refused>>>);

impl Refusals {
    fn has(&self, operation: &str, key: &str) -> bool {
        let which = self.0.read().unwrap_or_else(PoisonError::into_inner);
        which.as_ref().is_some_and(|which| which(operation, key))
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Refusals")
    }
}

struct Access(Refusals);

type Checked<'f> = Pin<Box<dyn Future<Output = S3Result<()>> + Send + 'f>>;

impl S3Access for Access {
    fn check<'s, 'r, 'c, 'f>(&'s self, request: &'r mut S3AccessContext<'c>) -> Checked<'f>
    where
        's: 'f,
        'r: 'f,
        'c: 'f,
    {
        let key = match request.s3_path() {
            S3Path::Object { key, .. } => key,
            S3Path::Root | S3Path::Bucket { .. } => "",
        };
        let checked = if request.credentials().is_none() {
            Err(s3_error!(AccessDenied, "signature is required"))
        } else if self.0.has(request.s3_op().name(), key) {
            Err(s3_error!(ServiceUnavailable, "the test wants it"))
        } else {
            Ok(())
        };
        Box::pin(async { checked })
    }

    /// An empty delimiter is none, as Amazon's service has it: s3s-fs 0.14 would find no object with it.
    fn list_objects_v2<'s, 'r, 'f>(&'s self, request: &'r mut S3Request<ListObjectsV2Input>) -> Checked<'f>
    where
        's: 'f,
        'r: 'f,
    {
        request.input.delimiter.take_if(|delimiter| delimiter.is_empty());
        Box::pin(async { Ok(()) })
    }
}

async fn serve(listener: TcpListener, service: S3Service, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) => {
                stream.set_nodelay(true).ok();
                let service = service.clone();
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    server.serve_connection(TokioIo::new(stream), service).await.ok();
                });
            }
            // Too many open files: some will close.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    connections.shutdown().await;
}

/// A versitygw process.
#[derive(Debug)]
pub struct Versitygw {
    endpoint: String,
    /// The process, to stop or signal.
    pub program: Program,
}

impl Versitygw {
    /// Starts it on `folder`, with the bucket [`BUCKET`]; its log is written beside the folder. `tools` must hold
    /// [`Tool::Versitygw`].
    pub async fn start(tools: &Tools, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join(BUCKET)).with_context(|| format!("{} can't be made", folder.display()))?;
        let port = ports::free()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let mut program = Launch::new("versitygw", tools.path(Tool::Versitygw)?, folder.with_extension("log"))
            .args(["--port", &format!("127.0.0.1:{port}"), "--access", KEY, "--secret", SECRET, "--quiet", "posix"])
            .arg(folder)
            .spawn()?;
        let store = ObjectStore::new(&settings(&endpoint))?;
        program.wait_ready(Duration::from_secs(20), || async { Ok(store.check().await?) }).await?;
        Ok(Self { endpoint, program })
    }

    /// URL of the server.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Settings that reach it.
    pub fn settings(&self) -> StoreSettings {
        settings(&self.endpoint)
    }
}
