//! `subscriber` of an execution: who is told about the job (OGC 18-062r2, schema `subscriber`). Its addresses may hold secrets,
//! so that no message shows any of them.

use protocol::callback::{CallbackUri, Subscription};
use serde_json::{Map, Value};

use crate::guard::Policy;

/// The longest address, in bytes.
const LONGEST: usize = 2048;
/// The member that the standard's text and the example have, and the one that its schema file requires.
const SUCCESS: [&str; 2] = ["successUri", "successUrl"];
const IN_PROGRESS: &str = "inProgressUri";
const FAILED: &str = "failedUri";

/// Holds the member against `policy`; without one nobody is called back.
pub(super) fn check(
    subscriber: Option<&Value>,
    policy: Option<&Policy>,
    mistakes: &mut Vec<String>,
) -> Option<Subscription> {
    let subscriber = subscriber?;
    let Some(policy) = policy else {
        mistakes.push("subscriber: this service does not call back; leave it out".to_owned());
        return None;
    };
    let Value::Object(members) = subscriber else {
        mistakes.push(format!("subscriber: expected an object of successUri, {IN_PROGRESS} and {FAILED}"));
        return None;
    };
    let known = [SUCCESS[0], SUCCESS[1], IN_PROGRESS, FAILED];
    // A misspelt address would never be called, and nobody would know why. Names that were sent are not repeated.
    if members.keys().any(|name| !known.contains(&name.as_str())) {
        mistakes.push(format!("subscriber: has an unknown member; allowed: successUri, {IN_PROGRESS}, {FAILED}"));
    }
    let success = success(members, policy, mistakes);
    let in_progress = uri(members, IN_PROGRESS, policy, mistakes);
    let failed = uri(members, FAILED, policy, mistakes);
    Some(Subscription::new(success?, in_progress, failed))
}

fn success(members: &Map<String, Value>, policy: &Policy, mistakes: &mut Vec<String>) -> Option<CallbackUri> {
    match SUCCESS.map(|name| members.get(name)) {
        [None, None] => {
            mistakes.push("subscriber.successUri: this member is required".to_owned());
            None
        }
        [Some(uri), Some(url)] if uri != url => {
            mistakes.push("subscriber.successUrl: differs from successUri; give only that one".to_owned());
            None
        }
        [Some(_), _] => uri(members, SUCCESS[0], policy, mistakes),
        [None, Some(_)] => uri(members, SUCCESS[1], policy, mistakes),
    }
}

fn uri(members: &Map<String, Value>, name: &str, policy: &Policy, mistakes: &mut Vec<String>) -> Option<CallbackUri> {
    let mut wrong = |what: &str| {
        mistakes.push(format!("subscriber.{name}: {what}"));
        None
    };
    match members.get(name)? {
        Value::String(text) if text.len() > LONGEST => wrong(&format!("has more than {LONGEST} bytes")),
        Value::String(text) => match policy.parse(text) {
            Ok(url) => Some(CallbackUri::new(url)),
            Err(why) => wrong(&why.to_string()),
        },
        _ => wrong("expected a URL as text"),
    }
}

#[cfg(test)]
mod tests {
    use protocol::callback::CallbackKind;
    use serde_json::json;

    use super::*;

    fn checked(subscriber: Value) -> Result<Subscription, Vec<String>> {
        let policy = Policy::new("gateway.callbacks", false, &[]).unwrap();
        let mut mistakes = Vec::new();
        match check(Some(&subscriber), Some(&policy), &mut mistakes) {
            Some(subscription) if mistakes.is_empty() => Ok(subscription),
            _ => Err(mistakes),
        }
    }

    #[test]
    fn the_address_of_success_is_taken_in_both_spellings() {
        for name in SUCCESS {
            let told = checked(json!({ name: "https://example.org/a?b=c" })).unwrap();
            assert_eq!(told.success_uri.reveal(), "https://example.org/a?b=c");
            assert_eq!(told.kinds(), [CallbackKind::Success]);
        }
        let both = json!({"successUri": "https://example.org/", "successUrl": "https://example.org/"});
        assert!(checked(both).is_ok());
        let all = json!({
            "successUri": "https://a.example/", "inProgressUri": "https://b.example/", "failedUri": "https://c.example/",
        });
        assert_eq!(checked(all).unwrap().kinds(), CallbackKind::ALL);
    }

    #[test]
    fn every_mistake_is_told_at_once_and_no_address_is() {
        let mistakes = checked(json!({
            "successUri": "http://hush.example/", "inProgressUri": 7, "failedUri": "https://10.0.0.1/hush", "hushUri": 1,
        }))
        .unwrap_err();
        assert_eq!(
            mistakes,
            [
                "subscriber: has an unknown member; allowed: successUri, inProgressUri, failedUri",
                "subscriber.successUri: is no https URL; only those are allowed",
                "subscriber.inProgressUri: expected a URL as text",
                "subscriber.failedUri: leads to a private address; only public addresses are allowed",
            ]
        );
    }

    #[test]
    fn the_table_of_what_is_refused() {
        for (subscriber, expected) in [
            (json!(null), "subscriber: expected an object"),
            (json!([]), "subscriber: expected an object"),
            (json!("https://example.org/"), "subscriber: expected an object"),
            (json!({}), "subscriber.successUri: this member is required"),
            (json!({"failedUri": "https://example.org/"}), "subscriber.successUri: this member is required"),
            (json!({"successUri": null}), "subscriber.successUri: expected a URL as text"),
            (json!({"successUri": "nonsense"}), "subscriber.successUri: is no absolute URL"),
            (json!({"successUri": "https://me:hush@example.org/"}), "subscriber.successUri: has credentials"),
            (json!({"successUri": "https://[::1]/"}), "subscriber.successUri: leads to a loopback address"),
            (
                json!({"successUri": format!("https://example.org/{}", "x".repeat(LONGEST))}),
                "subscriber.successUri: has more than 2048 bytes",
            ),
            (
                json!({"successUri": "https://a.example/", "successUrl": "https://b.example/"}),
                "subscriber.successUrl: differs",
            ),
        ] {
            let mistakes = checked(subscriber.clone()).unwrap_err().join("; ");
            assert!(mistakes.contains(expected) && !mistakes.contains("hush"), "{subscriber}: {mistakes}");
        }
    }

    #[test]
    fn where_nobody_is_called_a_subscriber_is_refused() {
        let mut mistakes = Vec::new();
        assert!(check(Some(&json!({"successUri": "https://example.org/"})), None, &mut mistakes).is_none());
        assert!(mistakes[0].contains("does not call back"), "{mistakes:?}");
        assert!(check(None, None, &mut mistakes).is_none() && mistakes.len() == 1);
    }
}
