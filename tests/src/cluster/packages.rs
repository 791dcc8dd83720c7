//! What the real node needs besides the kubelet: containerd, runc, network plugins, and the contents of test images.
//!
//! The distribution's packages are downloaded and unpacked beside the other tools, not installed: nothing on the machine
//! changes, and a container engine that is already there is left alone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::tools::{Progress, find_on_path, target_directory};

/// The names of the Debian packages, and a file that each must bring.
const PACKAGES: [(&str, &str); 5] = [
    ("containerd", "usr/bin/containerd"),
    ("runc", "usr/sbin/runc"),
    ("containernetworking-plugins", "usr/lib/cni/bridge"),
    ("busybox-static", "bin/busybox"),
    ("bash-static", "bin/bash-static"),
];

/// Programs of the machine itself that must be there.
const ON_PATH: [&str; 3] = ["tar", "ip", "mount"];

/// Where the unpacked files are.
#[derive(Clone, Debug)]
pub(super) struct Packages {
    root: PathBuf,
}

impl Packages {
    /// Downloads and unpacks what is not there yet.
    pub(super) async fn require(progress: Progress<'_>) -> Result<Self> {
        ensure!(
            rustix::process::geteuid().is_root(),
            "a real node needs root: containerd and the kubelet mount and unmount"
        );
        for program in ON_PATH {
            ensure!(find_on_path(program).is_some(), "a real node needs the program {program} on PATH");
        }
        let this = Self { root: target_directory().join("tools/debian") };
        let missing: Vec<&str> =
            PACKAGES.iter().filter(|(_, file)| !this.root.join(file).exists()).map(|(name, _)| *name).collect();
        if missing.is_empty() {
            return Ok(this);
        }
        if find_on_path("apt-get").is_none() || find_on_path("dpkg-deb").is_none() {
            bail!(
                "a real node needs what Debian packages as {}, and there is no apt-get here: unpack them into {}",
                missing.join(", "),
                this.root.display()
            );
        }
        progress(&format!("downloading the packages {}", missing.join(", ")));
        let archives = this.root.join("archives");
        fs::create_dir_all(&archives)?;
        if download(&archives, &missing).await.is_err() {
            // A fresh machine has no lists of packages, or lists older than the packages.
            run("apt-get", &archives, &["update", "-qq"]).await?;
            download(&archives, &missing).await?;
        }
        for entry in fs::read_dir(&archives)? {
            let archive = entry?.path();
            let root = this.root.to_string_lossy().into_owned();
            run("dpkg-deb", &archives, &["-x", &archive.to_string_lossy(), &root]).await?;
        }
        fs::remove_dir_all(&archives)?;
        for (package, file) in PACKAGES {
            ensure!(this.root.join(file).exists(), "the package {package} brings no {file} here");
        }
        Ok(this)
    }

    /// The folders with containerd, its shim, `ctr` and runc, as a value of `PATH`.
    pub(super) fn search_path(&self) -> String {
        let inherited = std::env::var("PATH").unwrap_or_default();
        format!("{}:{}:{inherited}", self.root.join("usr/bin").display(), self.root.join("usr/sbin").display())
    }

    pub(super) fn containerd(&self) -> PathBuf {
        self.root.join("usr/bin/containerd")
    }

    pub(super) fn ctr(&self) -> PathBuf {
        self.root.join("usr/bin/ctr")
    }

    pub(super) fn runc(&self) -> PathBuf {
        self.root.join("usr/sbin/runc")
    }

    pub(super) fn network_plugins(&self) -> PathBuf {
        self.root.join("usr/lib/cni")
    }

    pub(super) fn busybox(&self) -> PathBuf {
        self.root.join("bin/busybox")
    }

    pub(super) fn bash(&self) -> PathBuf {
        self.root.join("bin/bash-static")
    }
}

async fn download(folder: &Path, packages: &[&str]) -> Result<()> {
    let mut arguments = vec!["download", "-qq"];
    arguments.extend(packages);
    // The user that apt drops to may not write here; the notice about that is not an error.
    run("apt-get", folder, &arguments).await
}

/// Runs a program to its end; what it printed is in the error.
pub(super) async fn run(program: impl AsRef<Path>, folder: &Path, arguments: &[&str]) -> Result<()> {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} can't be run", program.display()))?;
    ensure!(
        output.status.success(),
        "{} {} failed ({}): {}",
        program.display(),
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
