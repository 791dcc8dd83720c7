//! The stories: what users of Quayside do, on real servers. Run them by `cargo xtask test`.

// Helpers outside of `#[test]` functions fail a test by panicking, too.
#![allow(clippy::unwrap_used)]

/// Tells one story on several backends, a test each.
macro_rules! on_each {
    ($story:ident: $($backend:ident as $name:ident),+) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $story(end_to_end::story::Backend::$backend).await;
            }
        )+
    };
}

mod access;
mod apiserver_restarted;
mod audit;
mod bad_requests;
mod callbacks;
mod callers;
mod caps;
mod certification;
mod class_callback;
mod class_core_execution;
mod class_core_inputs;
mod class_core_outputs;
mod class_core_reading;
mod class_descriptions;
mod class_dismiss;
mod class_html;
mod class_job_list;
mod class_oas30;
mod cluster_real;
mod cluster_simulated;
mod configuration_mistakes;
mod conformance;
mod crashes;
mod deploy;
mod dismiss;
mod exchange;
mod exit_code;
mod fifty_at_once;
mod finalizer;
mod finalizer_leftovers;
mod followed_logs;
mod generic_example;
mod held_up;
mod hello_world;
mod idempotency;
mod image_pull;
mod inputs;
mod large_log;
mod limits;
mod lists;
mod live_logs;
mod logs;
mod manifest_dry_run;
mod many;
mod memory;
mod mutated_bodies;
mod namespaces;
mod no_store;
mod nodes;
mod object_store;
mod ogc;
mod openapi_valid;
mod options;
mod originals;
mod outputs;
mod owslib;
mod pages;
mod poison;
mod pressure;
mod proxy;
mod queue;
mod reasons;
mod results;
mod retention;
mod retries;
mod schemathesis;
mod stream;
mod tenants;
mod token_stays_out;
mod up;
