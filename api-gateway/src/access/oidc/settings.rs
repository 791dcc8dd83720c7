use std::{path::PathBuf, str::FromStr, time::Duration};

use platform::config::{list, seconds};
use serde::{Deserialize, Deserializer, de::Error};
use url::{Host, Url};

/// Settings `gateway.oidc`: whose tokens are taken beside our own.
#[derive(Debug, Clone, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OidcSettings {
    /// The issuer, exactly as its tokens name it; unset: none.
    pub issuer: Option<String>,
    /// Audiences one of which a token has to be for. In the environment separated by commas.
    #[serde(deserialize_with = "list")]
    pub audience: Vec<String>,
    /// Id of the client with which people sign in on the pages.
    pub client_id: Option<String>,
    /// Path of the claim that says which processes may be executed; unset: all of them.
    pub processes_claim: Option<String>,
    /// What values of that claim stand for; empty: they are ids of processes, `*` being all.
    #[serde(deserialize_with = "rules")]
    #[schemars(with = "Vec<String>")]
    pub processes: Vec<ProcessRule>,
    /// Path of the claim that says whose a job is.
    pub owner_claim: String,
    /// Path of the claim that says who sees, and may remove, everybody's jobs; unset: nobody.
    pub jobs_claim: Option<String>,
    /// Values of that claim, of which one suffices.
    #[serde(deserialize_with = "list")]
    pub jobs_values: Vec<String>,
    /// How far clocks may differ, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub leeway: Duration,
    /// How often the issuer is asked for its keys, in seconds.
    #[serde(deserialize_with = "seconds")]
    pub refresh: Duration,
    /// Path of a certificate authority beside the usual ones.
    pub ca: Option<PathBuf>,
    /// Whether the issuer may be reached by `http` where it is not on this machine.
    pub allow_http: bool,
}

/// That a value of a claim stands for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessRule {
    /// The value.
    pub value: String,
    /// Id of the process; `*`: all.
    pub process: String,
}

impl Default for OidcSettings {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: Vec::new(),
            client_id: None,
            processes_claim: None,
            processes: Vec::new(),
            owner_claim: "sub".to_owned(),
            jobs_claim: None,
            jobs_values: Vec::new(),
            leeway: Duration::from_secs(30),
            refresh: Duration::from_secs(300),
            ca: None,
            allow_http: false,
        }
    }
}

impl OidcSettings {
    /// What is not allowed.
    pub fn mistakes(&self) -> Vec<String> {
        let mut mistakes = Vec::new();
        let mut rule = |holds: bool, text: &str| {
            if !holds {
                mistakes.push(format!("gateway.oidc.{text}"));
            }
        };
        match &self.issuer {
            Some(issuer) => {
                let url = Url::parse(issuer).ok().filter(|url| url.query().is_none() && url.fragment().is_none());
                let is_reachable = url.is_some_and(|url| may_be_asked(&url, self.allow_http));
                rule(
                    is_reachable,
                    "issuer: expected an https URL without query, or an http one of this machine or with allow_http",
                );
                rule(!self.audience.is_empty(), "audience: expected at least one where there is an issuer");
            }
            None => rule(*self == Self::default(), "issuer: expected where anything else of gateway.oidc is set"),
        }
        rule(
            self.processes.is_empty() || self.processes_claim.is_some(),
            "processes_claim: expected where there are processes",
        );
        rule(
            self.jobs_claim.is_some() != self.jobs_values.is_empty(),
            "jobs_claim: expected with jobs_values, and not without",
        );
        rule(!self.owner_claim.is_empty(), "owner_claim: expected the name of a claim");
        rule(self.leeway <= Duration::from_secs(300), "leeway: expected at most 300 seconds");
        rule(
            (Duration::from_secs(10)..=Duration::from_secs(86_400)).contains(&self.refresh),
            "refresh: expected 10 to 86400 seconds",
        );
        mistakes
    }
}

/// Whether an issuer's resource may be asked for: over TLS, or on this machine.
pub(super) fn may_be_asked(url: &Url, allow_http: bool) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    match url.scheme() {
        "https" => true,
        "http" => is_here || allow_http,
        _ => false,
    }
}

impl FromStr for ProcessRule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once('=') {
            Some((value, process)) if !value.trim().is_empty() && !process.trim().is_empty() => {
                Ok(Self { value: value.trim().to_owned(), process: process.trim().to_owned() })
            }
            _ => Err("processes: expected parts such as group=process, or group=* for all"),
        }
    }
}

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ProcessRule>, D::Error> {
    list(deserializer)?.iter().map(|part| part.parse().map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> OidcSettings {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_issuer_is_asked_over_tls_or_on_this_machine() {
        let mistakes = |issuer: &str, allow_http| {
            read(json!({"issuer": issuer, "audience": "quayside", "allow_http": allow_http})).mistakes()
        };
        for issuer in [
            "https://id.example.org",
            "https://id.example.org/realms/x/",
            "http://127.0.0.1:1",
            "http://[::1]",
            "http://localhost:80",
        ] {
            assert_eq!(mistakes(issuer, false), Vec::<String>::new(), "{issuer}");
        }
        for issuer in ["http://id.example.org", "id.example.org", "ftp://127.0.0.1", "https://id.example.org/?a=b", ""]
        {
            assert_eq!(mistakes(issuer, false).len(), 1, "{issuer}");
        }
        assert!(mistakes("http://id.example.org", true).is_empty());
    }

    #[test]
    fn settings_that_do_not_go_together_are_told_together() {
        assert!(OidcSettings::default().mistakes().is_empty());
        let wrong = json!({"audience": "a", "processes": "x=y", "jobs_claim": "groups", "refresh": 1, "leeway": 3600});
        let told = read(wrong).mistakes().join("; ");
        for part in ["oidc.issuer", "oidc.processes_claim", "oidc.jobs_claim", "oidc.refresh", "oidc.leeway"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(read(json!({"issuer": "https://a"})).mistakes()[0].contains("audience"));
    }

    #[test]
    fn what_values_stand_for_is_a_list_or_a_text() {
        let rule = |value: &str, process: &str| ProcessRule { value: value.into(), process: process.into() };
        let read = |processes| read(json!({ "processes": processes })).processes;
        assert_eq!(
            read(json!("lakes=a, lakes = b,cn=admins=*")),
            [rule("lakes", "a"), rule("lakes", "b"), rule("cn=admins", "*")]
        );
        assert_eq!(read(json!(["a=b"])), [rule("a", "b")]);
        assert!(serde_json::from_value::<OidcSettings>(json!({"processes": "a"})).is_err());
    }
}
