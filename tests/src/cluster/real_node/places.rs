//! What a real node occupies on the machine, and how all of it is given back, also after a crash.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fs::statfs,
    mount::{UnmountFlags, unmount},
};
use serde::{Deserialize, Serialize};

use crate::program::{ProcessIdentity, Signal};

/// How long killed processes may take to be gone.
const END_LIMIT: Duration = Duration::from_secs(20);

/// The kubelet puts links to pods' logs here, wherever the logs themselves are.
const LOG_LINKS: &str = "/var/log/containers";

/// Folders, network and cgroup of one node; no two clusters on a machine share any.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::cluster) struct Places {
    /// For what can be large.
    pub(super) data: PathBuf,
    /// For sockets, whose paths may have no more than 107 bytes.
    pub(super) short: PathBuf,
    pub(super) bridge: String,
    pub(super) subnet: String,
    pub(super) cgroup: String,
}

impl Places {
    /// Chooses them. Nothing is made yet.
    pub(in crate::cluster) fn choose(folder: &Path) -> Result<Self> {
        let mut bytes = [0; 4];
        std::io::Read::read_exact(&mut fs::File::open("/dev/urandom")?, &mut bytes)?;
        let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            data: folder.join("node"),
            short: std::env::temp_dir().join(format!("quayside-{id}")),
            // At most 15 characters.
            bridge: format!("qs{id}"),
            subnet: format!("10.{}.{}.0/24", 64 + bytes[0] % 64, bytes[1]),
            cgroup: format!("quayside-{id}"),
        })
    }

    /// The host's address on the bridge: what a pod calls to reach a server on this machine.
    pub(in crate::cluster) fn host_address(&self) -> String {
        self.subnet.replace(".0/24", ".1")
    }

    /// Makes folders, bridge and cgroups.
    pub(super) fn make(&self) -> Result<()> {
        for folder in [&self.data, &self.short, &self.kubelet()] {
            fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        }
        let room = 107 - "/pod-resources/kubelet.sock".len();
        ensure!(
            self.kubelet().as_os_str().len() < room,
            "the folder for temporary files has too long a name: set TMPDIR"
        );
        // The network plugin would make it with the first pod; servers must be able to listen on its address before.
        let address = format!("{}/24", self.host_address());
        ip(&["link", "add", &self.bridge, "type", "bridge"])?;
        ip(&["address", "add", &address, "dev", &self.bridge])?;
        ip(&["link", "set", &self.bridge, "up"])?;
        for hierarchy in limiting(hierarchies()?) {
            fs::create_dir_all(hierarchy.join(&self.cgroup))?;
        }
        Ok(())
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.short.join("containerd.sock")
    }

    /// The folder with the networks of all pods, each a file to enter it by.
    pub(in crate::cluster) fn pod_networks(&self) -> PathBuf {
        self.short.join("containerd/io.containerd.grpc.v1.cri/netns")
    }

    pub(super) fn kubelet(&self) -> PathBuf {
        self.short.join("kubelet")
    }

    /// An overlay can't lie on an overlay, which is what a container's own file system usually is.
    pub(super) fn snapshotter(&self) -> &'static str {
        const OVERLAYFS: i64 = 0x794c_7630;
        match statfs(&self.data) {
            Ok(found) if found.f_type == OVERLAYFS => "native",
            _ => "overlayfs",
        }
    }

    /// Ends all containers, and removes every mount, network, cgroup and folder. containerd and the kubelet must have
    /// ended.
    pub(in crate::cluster) fn clear(&self) -> Result<()> {
        let sockets = self.shim_sockets();
        self.end_shims()?;
        self.end_containers()?;
        for socket in sockets {
            remove(fs::remove_file(&socket)).with_context(|| format!("{}", socket.display()))?;
        }
        self.unmount_all()?;
        self.remove_bridge()?;
        self.remove_log_links()?;
        for folder in [&self.short, &self.data] {
            remove(fs::remove_dir_all(folder)).with_context(|| format!("{} can't be removed", folder.display()))?;
        }
        Ok(())
    }

    /// A shim's socket lies in a folder that all containerds of the machine share; its address is noted beside its state.
    fn shim_sockets(&self) -> Vec<PathBuf> {
        let bundles = self.short.join("containerd/io.containerd.runtime.v2.task/k8s.io");
        let Ok(entries) = fs::read_dir(bundles) else { return Vec::new() };
        entries
            .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("address")).ok())
            .filter_map(|address| Some(PathBuf::from(address.trim().strip_prefix("unix://")?)))
            .collect()
    }

    /// A shim is known by the socket of its containerd, which is in its arguments.
    fn end_shims(&self) -> Result<()> {
        let address = self.containerd_socket();
        let address = address.as_os_str().as_encoded_bytes();
        for entry in fs::read_dir("/proc")? {
            let entry = entry?;
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(arguments) = fs::read(entry.path().join("cmdline")) else { continue };
            if arguments.split(|byte| *byte == 0).any(|argument| argument == address) {
                let Ok(process) = ProcessIdentity::of(pid) else { continue };
                process.stop_blocking(Duration::ZERO)?;
            }
        }
        Ok(())
    }

    fn end_containers(&self) -> Result<()> {
        let limit = Instant::now() + END_LIMIT;
        for (hierarchy, _) in hierarchies()? {
            let root = hierarchy.join(&self.cgroup);
            while root.exists() {
                for process in processes_below(&root) {
                    if let Ok(process) = ProcessIdentity::of(process) {
                        process.signal(Signal::KILL)?;
                    }
                }
                if remove_cgroups(&root).is_ok() {
                    break;
                }
                ensure!(Instant::now() < limit, "processes in {} do not end", root.display());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    fn unmount_all(&self) -> Result<()> {
        // Removing a folder with something mounted in it would remove that, so this must leave none.
        for _ in 0..3 {
            let mounts = self.mounts()?;
            for mount in mounts.iter().rev() {
                match unmount(mount, UnmountFlags::DETACH) {
                    // Gone with one that it lay in.
                    Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
                    Err(error) => bail!("{} can't be unmounted: {error}", mount.display()),
                }
            }
        }
        let left = self.mounts()?;
        ensure!(left.is_empty(), "still mounted: {left:?}");
        Ok(())
    }

    fn mounts(&self) -> Result<Vec<PathBuf>> {
        Ok(mount_points()?
            .into_iter()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with(&self.short) || path.starts_with(&self.data))
            .collect())
    }

    fn remove_bridge(&self) -> Result<()> {
        if !Path::new("/sys/class/net").join(&self.bridge).exists() {
            return Ok(());
        }
        ip(&["link", "delete", &self.bridge])
    }

    fn remove_log_links(&self) -> Result<()> {
        let Ok(entries) = fs::read_dir(LOG_LINKS) else { return Ok(()) };
        for entry in entries {
            let link = entry?.path();
            if fs::read_link(&link).is_ok_and(|target| target.starts_with(&self.data)) {
                remove(fs::remove_file(link))?;
            }
        }
        Ok(())
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = std::process::Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("the program ip can't be run")?;
    let message = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {} failed: {message}", arguments.join(" "));
    Ok(())
}

/// What is gone already is removed.
fn remove(result: std::io::Result<()>) -> std::io::Result<()> {
    match result {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The root of each cgroup hierarchy, and whether it is of version 1.
fn hierarchies() -> Result<Vec<(PathBuf, bool)>> {
    let mounts = mount_points()?.into_iter();
    Ok(mounts.filter(|(_, kind)| kind.starts_with("cgroup")).map(|(path, kind)| (path, kind == "cgroup")).collect())
}

/// Those that the kubelet uses. Where both versions are mounted, version 2 has no controllers, though runc still makes
/// its groups there.
fn limiting(all: Vec<(PathBuf, bool)>) -> Vec<PathBuf> {
    let has_first = all.iter().any(|(_, is_first)| *is_first);
    all.into_iter().filter(|(_, is_first)| *is_first == has_first).map(|(path, _)| path).collect()
}

/// Mount point and file system type of each line of `/proc/self/mountinfo`, in the order of mounting.
fn mount_points() -> Result<Vec<(PathBuf, String)>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let parse = |line: &str| {
        let path = line.split(' ').nth(4)?.replace("\\040", " ");
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        Some((PathBuf::from(path), kind.to_owned()))
    };
    Ok(text.lines().filter_map(parse).collect())
}

fn processes_below(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect();
    for child in children(cgroup) {
        found.extend(processes_below(&child));
    }
    found
}

/// A cgroup can be removed once it holds no process and no other cgroup.
fn remove_cgroups(cgroup: &Path) -> std::io::Result<()> {
    for child in children(cgroup) {
        remove_cgroups(&child)?;
    }
    remove(fs::remove_dir(cgroup))
}

fn children(cgroup: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(cgroup) else { return Vec::new() };
    entries.filter_map(Result::ok).map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}
