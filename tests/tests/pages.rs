//! The pages, opened in Chromium: at two widths, light and dark, with scripts and without; by keyboard; held against axe-core.
//! Screenshots stay in `target/pages/`.

use std::time::Duration;

use anyhow::Result;
use end_to_end::{
    chromium, python,
    story::{Backend, Setting, TOKEN, tell},
    tools::target_directory,
};

const PROCESSES: &str = include_str!("../data/pages.yaml");
const LIMIT: Duration = Duration::from_secs(480);

fn setting() -> Setting {
    let mut setting = Setting::new(Backend::Local).with_processes(PROCESSES);
    setting.config = setting.config.map(|config| config.replace("  url:", "  languages: [en-US, de]\n  url:"));
    setting
}

async fn open(name: &str, setting: Setting, part: &str) {
    let Some(python) = python::require_or_skip(name).await else { return };
    let Some(chromium) = chromium::require_or_skip(name).await else { return };
    tell(name, setting, async |story| -> Result<()> {
        let shots = target_directory().join("pages");
        std::fs::create_dir_all(&shots)?;
        let arguments = [
            part,
            &story.stack.url(0),
            TOKEN,
            &chromium.display().to_string(),
            &shots.display().to_string(),
            &story.stack.folder().join("chromium").display().to_string(),
        ];
        python.script(story.stack.folder(), "pages.py", &arguments, LIMIT).await?;
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_sound_at_each_width_light_and_dark() {
    open("pages-looks", setting().open_to_all(), "looks").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_filled_by_keyboard_and_its_job_and_result_are_seen() {
    open("pages-form", setting().open_to_all(), "form").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_works_without_scripts() {
    open("pages-plain", setting().open_to_all(), "plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protected_pages_are_shown_to_who_signs_in() {
    open("pages-protected", setting().with_manager("protect_jobs: true"), "protected").await;
}
