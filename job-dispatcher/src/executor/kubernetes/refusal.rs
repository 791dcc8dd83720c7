//! Why the Job controller makes no pod for a Job. A Job's status does not say so: only events do
//! (<https://github.com/kubernetes/kubernetes/issues/90124>).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{Api, api::ListParams};
use platform::telemetry::chain;
use tracing::warn;

use super::{KubernetesExecutor, boxed, limited};
use crate::executor::{ExecutorError, Looked, Observation};

/// The Job controller's word for a pod that it could not make.
const FAILED_CREATE: &str = "FailedCreate";
/// So long a look waits for others; then it is another time's.
const LOOK_WAITS: Duration = Duration::from_secs(5);
/// Its events of one Job are few: similar ones are counted in one.
const MOST: u32 = 100;
/// What precedes the words of an event that stands for several.
const COMBINED: &str = "(combined from similar events): ";

impl KubernetesExecutor {
    pub(crate) async fn refusal(&self, seen: &Observation) -> Looked {
        // The server looks through all events of the namespace for this: not for many Jobs at one time.
        let Ok(Ok(_look)) = tokio::time::timeout(LOOK_WAITS, self.looks.acquire()).await else { return Looked::NotNow };
        let of_job = format!("involvedObject.uid={},reason={FAILED_CREATE}", seen.uid);
        let of_job = ListParams::default().fields(&of_job).limit(MOST);
        let events = Api::<Event>::namespaced(self.client.clone(), &seen.namespace);
        let error = match limited(events.list(&of_job)).await {
            Ok(Ok(found)) => return newest(found.items).map_or(Looked::Nothing, Looked::Refused),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                warn!(job_id = %seen.job_id, %status, "why the job has no pod may not be read: the dispatcher's Role needs the verb list on events");
                return Looked::Nothing;
            }
            Ok(Err(error)) => boxed(error),
            Err(late) => ExecutorError(late),
        };
        warn!(job_id = %seen.job_id, error = %chain(&error), "why the job has no pod can't be read");
        Looked::NotNow
    }
}

fn newest(events: Vec<Event>) -> Option<String> {
    let newest = events.into_iter().max_by_key(last_seen)?.message?;
    Some(newest.strip_prefix(COMBINED).map(str::to_owned).unwrap_or(newest))
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let of_series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let counted = event.last_timestamp.as_ref().map(|time| time.0);
    of_series.max(counted).max(event.event_time.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_refusal_counts_however_its_time_is_told() {
        let event = |message: &str, times: serde_json::Value| -> Event {
            let mut event = json!({ "metadata": {}, "involvedObject": {}, "message": message });
            event.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
            serde_json::from_value(event).unwrap()
        };
        let events = vec![
            event("first", json!({ "lastTimestamp": "2026-01-01T00:00:01Z" })),
            event("(combined from similar events): last", json!({ "lastTimestamp": "2026-01-01T00:00:09Z" })),
            event(
                "of a series",
                json!({ "eventTime": "2026-01-01T00:00:00.000000Z", "series": {
                "count": 2, "lastObservedTime": "2026-01-01T00:00:05.000000Z",
            } }),
            ),
            event("timeless", json!({})),
        ];
        assert_eq!(newest(events).as_deref(), Some("last"));
        assert_eq!(newest(Vec::new()), None);
    }
}
