use std::net::IpAddr;

use actix_web::{HttpMessage, HttpRequest, http::StatusCode};
use percent_encoding::percent_decode_str;
use protocol::{
    JobId, ProcessId,
    audit::{Action, Entry, Outcome},
};

use super::{Audit, refusals::ANONYMOUS};
use crate::{access::Caller, app::Gateway, request_id::RequestId, requests};

/// Who is about to do something, and by which request; it goes along to where it is done.
#[derive(Clone)]
pub struct Trail {
    audit: Audit,
    caller: Caller,
    from: From,
}

/// Where a request came from.
#[derive(Clone)]
struct From {
    address: Option<IpAddr>,
    request_id: Option<String>,
    operation: String,
}

impl Trail {
    /// That of a request of `caller`.
    pub fn of(gateway: &Gateway, request: &HttpRequest, caller: Caller) -> Self {
        Self { audit: gateway.audit.clone(), caller, from: From::of(gateway, request) }
    }

    /// Who it is.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// It was done; or came to this.
    pub fn tell(&self, action: Action, process: &ProcessId, job: &JobId, outcome: Outcome) {
        let who = self.caller.identity().to_string();
        let entry = Entry {
            process_id: Some(process.as_str().to_owned()),
            job_id: Some(*job),
            ..self.from.clone().entry(&who, outcome)
        };
        self.audit.tell(action, entry);
    }
}

impl From {
    fn of(gateway: &Gateway, request: &HttpRequest) -> Self {
        let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
        Self {
            address: requests::client(gateway, request),
            request_id: request.extensions().get::<RequestId>().map(RequestId::to_string),
            operation: format!("{} {route}", requests::method_label(request)),
        }
    }

    fn entry(self, who: &str, outcome: Outcome) -> Entry {
        let Self { address, request_id, operation } = self;
        Entry { address, request_id, operation: Some(operation), ..Entry::new(who, outcome) }
    }
}

/// Tells of a request that was answered with this status, if that is a refusal.
pub(crate) fn refused(gateway: &Gateway, request: &HttpRequest, status: StatusCode) {
    let outcome = match status {
        StatusCode::UNAUTHORIZED => Outcome::Unauthorized,
        StatusCode::FORBIDDEN => Outcome::Forbidden,
        _ => return,
    };
    let who = request.extensions().get::<Caller>().map(|caller| caller.identity().to_string());
    let named = request.match_info().get("processID").map(|id| percent_decode_str(id).decode_utf8_lossy());
    let process = gateway.configuration.processes.keys().find(|id| Some(id.as_str()) == named.as_deref());
    let entry = Entry {
        process_id: process.map(|id| id.as_str().to_owned()),
        job_id: request.match_info().get("jobID").and_then(|id| id.parse().ok()),
        ..From::of(gateway, request).entry(who.as_deref().unwrap_or(ANONYMOUS), outcome)
    };
    gateway.audit.tell_refusal(entry);
}
