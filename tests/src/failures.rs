//! Why stories failed, in files beside what they left: what runs them says it once more at its end, as of a long run only the last
//! lines may be kept.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::strays;

/// The file in a failed story's folder.
const FILE: &str = "failure.txt";

/// Keeps why the story of this folder failed, as far as there is a folder to keep it in.
pub fn keep(story: &Path, error: &anyhow::Error) {
    fs::write(story.join(FILE), format!("{error:#}")).ok();
}

/// Why stories of this run failed, by the names of their folders.
///
/// # Errors
/// When the folder of the run can't be read.
pub fn of_run(run: &Path) -> Result<BTreeMap<String, String>> {
    let words = |folder: PathBuf| {
        let words = fs::read_to_string(folder.join(FILE)).ok()?;
        Some((folder.file_name()?.to_string_lossy().into_owned(), words))
    };
    Ok(strays::folders(run)?.into_iter().filter_map(words).collect())
}

/// Forgets those of runs before.
///
/// # Errors
/// When the folder of the run can't be read.
pub fn forget(run: &Path) -> Result<()> {
    strays::folders(run)?.iter().for_each(|folder| drop(fs::remove_file(folder.join(FILE))));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_stories_failed_is_kept_until_the_next_run() -> Result<()> {
        let run = tempfile::tempdir()?;
        assert_eq!(of_run(&run.path().join("none"))?, BTreeMap::new());
        for story in ["failed", "passed"] {
            fs::create_dir(run.path().join(story))?;
        }
        let error = anyhow::anyhow!("the cause").context("what was done");
        keep(&run.path().join("failed"), &error);
        let expected = BTreeMap::from([("failed".to_owned(), "what was done: the cause".to_owned())]);
        assert_eq!(of_run(run.path())?, expected);
        forget(run.path())?;
        assert_eq!(of_run(run.path())?, BTreeMap::new());
        Ok(())
    }
}
