//! The pages, opened in Chromium: at two widths, light and dark, with scripts and without; by keyboard; held against axe-core.
//! Screenshots stay in `target/pages/`.

use std::time::Duration;

use anyhow::Result;
use end_to_end::{
    chromium,
    issuer::Issuer,
    ports, python,
    services::Service,
    story::{Backend, Setting, Story, TOKEN, tell},
    tools::{self, Tool, target_directory},
};

const PROCESSES: &str = include_str!("../data/pages.yaml");
const LIMIT: Duration = Duration::from_secs(480);

fn setting() -> Setting {
    let mut setting = Setting::new(Backend::Local).with_processes(PROCESSES);
    setting.config = setting.config.map(|config| config.replace("  url:", "  languages: [en-US, de]\n  url:"));
    setting
}

async fn open(name: &str, setting: Setting, part: &str) {
    open_with(name, setting, part, async |_| Ok(None)).await;
}

/// The same after something was started, which is kept until the end.
async fn open_with(
    name: &str,
    setting: Setting,
    part: &str,
    begin: impl AsyncFnOnce(&mut Story) -> Result<Option<Issuer>>,
) {
    let Some(python) = python::require_or_skip(name).await else { return };
    let Some(chromium) = chromium::require_or_skip(name).await else { return };
    tell(name, setting, async |story| -> Result<()> {
        let issuer = begin(story).await?;
        let shots = target_directory().join("pages");
        std::fs::create_dir_all(&shots)?;
        let profiles = story.stack.folder().join("chromium");
        let mut arguments = vec![part.to_owned(), story.stack.url(0), TOKEN.to_owned()];
        arguments.extend([&chromium, &shots, &profiles].map(|path| path.display().to_string()));
        arguments.extend(issuer.as_ref().map(Issuer::name));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
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

#[tokio::test(flavor = "multi_thread")]
async fn people_sign_in_with_their_organisation() {
    let mut setting = setting().with_manager("protect_jobs: true");
    setting.start_services = false;
    open_with("pages-issuer", setting, "issuer", async |story| {
        let tools = tools::require(&[Tool::ZitadelOidc], &|_| {}).await?;
        let back = format!("{}/signin", story.stack.url(0));
        let issuer = Issuer::start_at(&tools, story.stack.folder(), ports::free()?, &[&back]).await?;
        let name = issuer.name();
        let more = [
            ("QUAYSIDE_GATEWAY__OIDC__ISSUER", name.as_str()),
            ("QUAYSIDE_GATEWAY__OIDC__AUDIENCE", "quayside"),
            ("QUAYSIDE_GATEWAY__OIDC__CLIENT_ID", "quayside"),
            ("QUAYSIDE_GATEWAY__OIDC__PROCESSES_CLAIM", "groups"),
            ("QUAYSIDE_GATEWAY__OIDC__PROCESSES", "water=guarded"),
        ];
        story.stack.start_service(Service::Gateway, 0, &more)?;
        story.stack.start_service(Service::Dispatcher, 0, &[])?;
        story.stack.start_service(Service::Finalizer, 0, &[])?;
        story.stack.wait_ready().await?;
        Ok(Some(issuer))
    })
    .await;
}
