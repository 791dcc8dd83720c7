//! A gateway for unit tests, whose NATS server is not there.

use std::sync::Arc;

use platform::{job_store::JobStore, nats::Nats};
use prometheus_client::registry::Registry;
use protocol::configuration::Configuration;
use tokio::{runtime::Handle, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    access::{Access, OperatorToken},
    app::Gateway,
    audit::Audit,
    callbacks::Callbacks,
    index::Index,
    jobs::Jobs,
    links::Urls,
    logs::Logs,
    memory::Memory,
    metrics::Metrics,
    rates::Rates,
    references::References,
    results::Values,
    settings::GatewaySettings,
    validate::Schemas,
};

pub(crate) const TOKEN: &str = "a-token-of-the-tests";

pub(crate) const CONFIGURATION: &str = "
server:
  url: http://api.example.org/ogc/
  languages: [en-US, de]
  limits: {default_items: 2, max_items: 3}
  manager: {name: KubernetesManager}
metadata:
  identification: {title: {en: Tests, de: Prüfungen}}
resources:
  hello-world-k8s:
    type: process
    processor: {name: HelloWorldK8sProcessor}
  open: &generic
    type: process
    processor: &processor
      name: GenericImageProcessor
      default_image: busybox:1
      check_auth: false
      metadata: &metadata
        version: 1.0.0
        title: Open
        description: d
        keywords: [k]
        links: []
        inputs:
          token: {title: Token, schema: {type: string}, minOccurs: 0}
          text: {title: Text, schema: {type: string}, minOccurs: 0}
        outputs:
          out: {title: Out, schema: {type: string, contentMediaType: text/plain}}
        example: {inputs: {text: x}}
        jobControlOptions: [sync-execute, async-execute, dismiss]
  protected:
    type: process
    processor:
      <<: *processor
      check_auth: true
      metadata:
        <<: *metadata
        inputs:
          token: {title: Token, schema: {type: string}, minOccurs: 1}
          text: {title: Text, schema: {type: string}, minOccurs: 1}
  defaults:
    type: process
    processor:
      <<: *processor
      metadata:
        <<: *metadata
        inputs:
          text: {title: Text, schema: {type: string, default: unused}, minOccurs: 1}
          count: {title: Count, schema: {type: integer, default: 1}, minOccurs: 0}
          several: {title: Several, schema: {type: integer, default: [1, 2]}, minOccurs: 0, maxOccurs: unbounded}
";

pub(crate) fn configuration() -> Configuration {
    Configuration::read(CONFIGURATION, "test", &|_| None).unwrap().0
}

pub(crate) async fn gateway() -> Gateway {
    with(configuration(), Some(TOKEN)).await
}

pub(crate) async fn with(configuration: Configuration, token: Option<&str>) -> Gateway {
    let client =
        async_nats::ConnectOptions::new().retry_on_initial_connect().connect("nats://127.0.0.1:1").await.unwrap();
    let jetstream = async_nats::jetstream::new(client.clone());
    let stream = jetstream.get_stream_no_info("JOBS").await.unwrap();
    let keys = jetstream.get_stream_no_info("IDEMPOTENCY").await.unwrap();
    let callbacks = jetstream.get_stream_no_info("CALLBACKS").await.unwrap();
    let ack_wait = std::time::Duration::from_secs(15);
    let store = JobStore::new(Nats { client, jetstream, stream, keys, callbacks, ack_wait, replicas: 1 }, None);
    let settings = GatewaySettings { max_body: 2048, ..GatewaySettings::default() };
    let index = Index::new(settings.record_cache);
    let (memory, documents) = (Memory::new(settings.memory), Memory::new(settings.documents_memory));
    let metrics =
        Metrics::new(&mut Registry::default(), index.clone(), [memory.clone(), documents.clone(), Memory::new(0)]);
    let references = References::new(&settings.references, memory.clone()).unwrap();
    let runtime = Handle::current();
    let logs = Logs::new(&settings.logs, Memory::new(settings.logs.memory), metrics.clone());
    let urls = Arc::new(Urls::new(&configuration.server.url));
    Gateway {
        access: Access { operator: token.and_then(OperatorToken::new), ..Access::default() },
        rates: Rates::new(&settings.limits),
        audit: Audit::off(),
        urls: urls.clone(),
        jobs: Jobs::new(store.clone(), index.clone(), metrics.clone(), runtime.clone()),
        values: Values::new(store.clone(), runtime.clone(), urls.clone(), &settings, documents),
        store,
        index,
        logs,
        metrics,
        accepting: Arc::new(Semaphore::new(settings.max_accepting)),
        resolving: Arc::new(Semaphore::new(settings.references.max_executions)),
        memory,
        runtime,
        shutdown: CancellationToken::new(),
        schemas: Arc::new(Schemas::compile(&configuration).unwrap().0),
        references,
        callbacks: Callbacks::new(&settings.callbacks).unwrap(),
        settings: Arc::new(settings),
        configuration: Arc::new(configuration),
    }
}
