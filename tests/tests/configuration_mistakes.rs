//! A broken configuration: everything that is wrong is said at once, by each service, and none of them starts.

use std::time::Duration;

use end_to_end::{
    services::Service,
    story::{Backend, Setting, tell},
};

/// Ten mistakes.
const BROKEN: &str = "server:
  bind: {host: 127.0.0.1, port: seventy}
  url: not-a-url
  limits: {default_items: -1, on_exceed: explode}
  manager:
    name: some.OtherManager
    finalizer_controller: perhaps
resources:
  no-processor:
    type: process
  own-python:
    type: process
    processor: {name: my.own.Processor}
  broken:
    type: process
    processor:
      name: pygeoapi_k8s_manager.process.GenericImageProcessor
      command: not a list
      env: [{value: without a name}]
      metadata: {version: 1.0.0, title: Broken, description: Broken, jobControlOptions: [sometimes]}
";

/// What each of the ten is told by: its path.
const PATHS: [&str; 10] = [
    "server.bind.port",
    "server.url",
    "server.limits.default_items",
    "server.limits.on_exceed",
    "server.manager.name",
    "server.manager.finalizer_controller",
    "resources.no-processor.processor",
    "resources.own-python.processor.name",
    "resources.broken.processor.command",
    "resources.broken.processor.default_image",
];

#[tokio::test(flavor = "multi_thread")]
async fn ten_mistakes_in_the_configuration_are_all_told_and_nothing_starts() {
    let mut setting = Setting::new(Backend::Local);
    setting.config = Some(BROKEN.to_owned());
    setting.start_services = false;
    tell("configuration-mistakes", setting, async |story| {
        // The finalizer needs nothing of this file.
        for service in [Service::Gateway, Service::Dispatcher] {
            // The port that the harness gives every gateway would cover the mistake in the file.
            story.stack.start_service(service, 0, &[("CONTAINER_PORT", "")])?;
            let program = &mut story.stack.service(service, 0)?.program;
            let status = tokio::time::timeout(Duration::from_secs(30), program.wait()).await??;
            assert!(!status.success(), "{} started", service.name());
            let log = program.log_tail();
            for path in PATHS {
                assert!(log.contains(path), "{} does not tell {path}: {log}", service.name());
            }
            assert!(log.matches("allowed").count() >= PATHS.len(), "each says what is allowed: {log}");
        }
        Ok(())
    })
    .await;
}
