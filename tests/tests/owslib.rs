//! OWSLib, as its users know it.

use std::time::Duration;

use end_to_end::{
    python,
    story::{Backend, ECHO, Setting, TOKEN, tell},
};

#[tokio::test(flavor = "multi_thread")]
async fn owslib_lists_describes_executes_and_reads_results() {
    let Some(python) = python::require_or_skip("owslib").await else { return };
    tell("owslib", Setting::new(Backend::Local).with_processes(ECHO), async |story| {
        let arguments = [&story.stack.url(0), "echo", "echo-protected", TOKEN];
        python.script(story.stack.folder(), "owslib_client.py", &arguments, Duration::from_secs(120)).await?;
        Ok(())
    })
    .await;
}
