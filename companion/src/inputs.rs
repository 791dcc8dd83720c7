//! Writes the inputs into the file that the main container finds them in.

use std::{
    fs::{self, File},
    io::{self, Write},
    time::{Duration, Instant},
};

use crate::{
    MissingVariable,
    protocol::{INPUTS_PATH, INPUTS_PIECE, INPUTS_SHA256, INPUTS_SIZE, INPUTS_URL},
    transfer::{self, TransferError},
    variable,
};

/// How long the bucket may be away.
const LIMIT: Duration = Duration::from_secs(300);

/// The inputs can't be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputsError {
    #[error(transparent)]
    Variable(#[from] MissingVariable),
    #[error("the inputs can't be fetched")]
    Fetch(#[from] TransferError),
    #[error("the inputs can't be written")]
    Write(#[from] io::Error),
    #[error("what was fetched is not what was accepted: {size} bytes, and {expected} are expected")]
    Other { size: u64, expected: String },
}

/// Writes them, complete before they appear under their name.
pub(crate) fn write() -> Result<(), InputsError> {
    let path = variable(INPUTS_PATH)?;
    let unfinished = format!("{path}.part");
    match std::env::var(INPUTS_URL) {
        Ok(url) => fetch(&url, &unfinished)?,
        Err(_) => {
            let pieces = (0..).map_while(|number| std::env::var(format!("{INPUTS_PIECE}{number}")).ok());
            fs::write(&unfinished, pieces.collect::<String>())?;
        }
    }
    Ok(fs::rename(unfinished, path)?)
}

fn fetch(url: &str, path: &str) -> Result<(), InputsError> {
    let agent = transfer::agent();
    let fetched = transfer::persistently(Instant::now() + LIMIT, || {
        let failed = |error| transfer::Attempt::Final(TransferError::File(error));
        let mut file = File::create(path).map_err(failed)?;
        let fetched = transfer::get(&agent, url, &mut file)?;
        file.flush().map_err(failed)?;
        Ok(fetched)
    })?;
    let (size, sha256) = (variable(INPUTS_SIZE)?, variable(INPUTS_SHA256)?);
    if fetched.size.to_string() != size || fetched.sha256 != sha256 {
        return Err(InputsError::Other { size: fetched.size, expected: size });
    }
    Ok(())
}
