//! Images for the real node, made here: no registry is asked.
//!
//! They are archives in the form of `docker save`, which containerd imports.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::process::Command;

use super::packages::{Packages, run};
use crate::companion;

/// The image of the container that holds a pod's namespaces.
pub(super) const PAUSE: &str = "quayside.test/pause:1";

/// An image to be made: a name, files, and what runs by default.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    /// The name with its tag, such as `busybox:1`.
    pub name: &'a str,
    /// A folder with the file system.
    pub root: &'a Path,
    /// The program that runs whatever arguments a container gives; empty: the first of them, or of `command`.
    pub entrypoint: &'a [&'a str],
    /// The command that runs when a container names none.
    pub command: &'a [&'a str],
}

impl Image<'_> {
    /// Writes the archive. `folder` is for intermediate files and must be empty or absent.
    pub async fn write(&self, folder: &Path, archive: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        let layer = folder.join("layer.tar");
        let (layer_name, root) = (layer.to_string_lossy(), self.root.to_string_lossy());
        tar(folder, &layer_name, &["-C", &root, "."]).await?;
        let config = json!({
            "architecture": architecture(), "os": "linux", "created": "2026-01-01T00:00:00Z",
            "config": { "Entrypoint": self.entrypoint, "Cmd": self.command, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"] },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", sha256(&fs::read(&layer)?))] },
        })
        .to_string();
        let config_name = format!("{}.json", sha256(config.as_bytes()));
        fs::write(folder.join(&config_name), config)?;
        let manifest = json!([{ "Config": config_name, "RepoTags": [full_name(self.name)], "Layers": ["layer.tar"] }]);
        fs::write(folder.join("manifest.json"), manifest.to_string())?;
        tar(folder, &archive.to_string_lossy(), &["manifest.json", &config_name, "layer.tar"]).await
    }
}

/// Makes the images that every real node has, and returns their archives: `busybox:1`, `bash:5`, the
/// companion's and the pause image.
pub(super) async fn standard(packages: &Packages, folder: &Path) -> Result<Vec<PathBuf>> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => fs::create_dir_all(folder)?,
    }
    let busybox = folder.join("busybox.root");
    busybox_root(packages, &busybox).await?;
    let bash = folder.join("bash.root");
    busybox_root(packages, &bash).await?;
    // The official image has bash here, and scripts ask for it in both places.
    fs::create_dir_all(bash.join("usr/local/bin"))?;
    copy_program(&packages.bash(), &bash.join("usr/local/bin/bash"))?;
    symlink("/usr/local/bin/bash", bash.join("bin/bash"))?;

    let companion = folder.join("companion.root");
    fs::create_dir_all(&companion)?;
    copy_program(&companion::build().await?, &companion.join("quayside-companion"))?;

    // Its own signal handler, since the first process of a pid namespace ignores TERM without one; the shell reaps.
    let pause = ["/bin/sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 2147483647 & wait $!; done"];
    let images = [
        Image { name: "busybox:1", root: &busybox, entrypoint: &[], command: &["sh"] },
        Image { name: "bash:5", root: &bash, entrypoint: &[], command: &["bash"] },
        Image { name: PAUSE, root: &busybox, entrypoint: &[], command: &pause },
        Image { name: &companion::image(), root: &companion, entrypoint: &["/quayside-companion"], command: &[] },
    ];
    let mut archives = Vec::new();
    for (number, image) in images.iter().enumerate() {
        let archive = folder.join(format!("{number}.tar"));
        image.write(&folder.join(format!("{number}.parts")), &archive).await?;
        archives.push(archive);
    }
    Ok(archives)
}

async fn busybox_root(packages: &Packages, root: &Path) -> Result<()> {
    for folder in ["bin", "etc", "home", "proc", "root", "sys", "usr/bin", "usr/sbin", "sbin", "dev", "tmp", "var"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n",
    )?;
    fs::write(root.join("etc/group"), "root:x:0:\nnobody:x:65534:\n")?;
    copy_program(&packages.busybox(), &root.join("bin/busybox"))?;
    let listed = Command::new(packages.busybox()).arg("--list-full").stdin(Stdio::null()).output().await?;
    for path in String::from_utf8_lossy(&listed.stdout).lines() {
        let link = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(link.parent().context("a link lies in a folder")?)?;
        if !link.exists() {
            symlink("/bin/busybox", link)?;
        }
    }
    Ok(())
}

fn copy_program(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("{} can't be copied", from.display()))?;
    Ok(fs::set_permissions(to, fs::Permissions::from_mode(0o755))?)
}

/// The same files give the same archive: nothing of this machine or moment is in it.
async fn tar(folder: &Path, archive: &str, what: &[&str]) -> Result<()> {
    let mut arguments = vec!["--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "--sort=name", "-cf", archive];
    arguments.extend(what);
    run("tar", folder, &arguments).await
}

/// The name as containerd knows it: a bare one belongs to the public hub's library.
fn full_name(name: &str) -> String {
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((host, _)) if host.contains(['.', ':']) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
