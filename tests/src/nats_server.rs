//! A nats-server with JetStream of one's own.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    ports,
    program::{Launch, Program},
    tools::{Tool, Tools},
};

/// A running nats-server on the loopback address; its stream is in a folder, and is there again after a restart.
#[derive(Debug)]
pub struct NatsServer {
    /// The program.
    pub program: Program,
    binary: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl NatsServer {
    /// Starts one on `folder`; on a free port unless one is named.
    pub async fn start(tools: &Tools, folder: &Path, port: Option<u16>) -> Result<Self> {
        let binary = tools.path(Tool::NatsServer)?.to_path_buf();
        let port = port.map_or_else(ports::free, Ok)?;
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        let program = Self::launch(&binary, folder, port).await?;
        Ok(Self { program, binary, folder: folder.to_path_buf(), port })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The folder with its store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Kills it, and starts it again on the same folder and port.
    pub async fn crash_and_restart(&mut self) -> Result<()> {
        self.program.kill().await?;
        self.program = Self::launch(&self.binary, &self.folder, self.port).await?;
        Ok(())
    }

    async fn launch(binary: &Path, folder: &Path, port: u16) -> Result<Program> {
        let config = folder.join("nats.conf");
        let store = folder.join("jetstream");
        // One node alone has nobody to get a lost write back from: it writes through, whatever that costs.
        let text = format!(
            "listen: 127.0.0.1:{port}\nserver_name: quayside\njetstream {{\n  store_dir: {store:?}\n  sync_interval: always\n}}\n"
        );
        fs::write(&config, text).with_context(|| format!("{} can't be written", config.display()))?;
        let mut program =
            Launch::new("nats-server", binary, folder.join("nats-server.log")).arg("--config").arg(&config).spawn()?;
        program
            .wait_ready(Duration::from_secs(20), || async {
                let client = async_nats::connect(format!("127.0.0.1:{port}")).await?;
                let jetstream = async_nats::jetstream::new(client);
                jetstream.query_account().await.map_err(|error| anyhow::anyhow!("{error}"))?;
                Ok(())
            })
            .await?;
        Ok(program)
    }
}
