//! Lets pods of the real node reach a server of this machine under the address that it has here. Servers listen on 127.0.0.1
//! only, and in a pod that is the pod itself: a listener in each pod's network takes connections and forwards them.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File},
    net::TcpListener as StdListener,
    os::fd::AsFd,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::Handle,
};
use tokio_util::sync::CancellationToken;

use super::state::State;

/// How soon a new pod is seen. Who connects in it earlier is refused, and has to try again, as in any cluster.
const LOOK: Duration = Duration::from_millis(20);

/// Forwards until it is dropped.
#[derive(Debug)]
pub struct Forward {
    stop: CancellationToken,
}

impl Forward {
    /// Forwards a port of each pod's 127.0.0.1 to the same port of this machine's. `kubeconfig` is the administrator's, in the
    /// cluster's folder.
    ///
    /// # Errors
    /// When that cluster has no real node.
    pub fn start(kubeconfig: &Path, port: u16) -> Result<Self> {
        let folder = kubeconfig.parent().context("a kubeconfig lies in a folder")?;
        let state = State::read(folder)?.context("there is no cluster")?;
        let networks = state.real_node.context("the cluster has no real node")?.pod_networks();
        let stop = CancellationToken::new();
        let (stopped, runtime) = (stop.clone(), Handle::current());
        thread::Builder::new()
            .name(format!("forward-{port}"))
            .spawn(move || watch(&networks, port, &stopped, &runtime))
            .context("a thread can't be started")?;
        Ok(Self { stop })
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// This thread goes from network to network, and never comes back into its own.
fn watch(networks: &Path, port: u16, stop: &CancellationToken, runtime: &Handle) {
    let mut known: HashSet<OsString> = HashSet::new();
    while !stop.is_cancelled() {
        let entries = fs::read_dir(networks).into_iter().flatten().filter_map(Result::ok);
        for entry in entries {
            // A network that is not mounted yet is entered by the next look.
            if !known.contains(&entry.file_name())
                && let Ok(listener) = listen(&entry.path(), port)
            {
                known.insert(entry.file_name());
                runtime.spawn(forward(listener, port, stop.clone()));
            }
        }
        thread::sleep(LOOK);
    }
}

fn listen(network: &PathBuf, port: u16) -> Result<StdListener> {
    let file = File::open(network)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    let listener = StdListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn forward(listener: StdListener, port: u16, stop: CancellationToken) -> Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (mut inside, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = stop.cancelled() => return Ok(()),
        };
        let stop = stop.clone();
        tokio::spawn(async move {
            let copy = async {
                let mut outside = TcpStream::connect(("127.0.0.1", port)).await?;
                copy_bidirectional(&mut inside, &mut outside).await
            };
            tokio::select! {
                // Whoever hung up is told by the other side.
                copied = copy => drop(copied),
                () = stop.cancelled() => {}
            }
        });
    }
}
