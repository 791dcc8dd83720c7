//! Which outputs are answered, and in which form (OGC 18-062r2, requirements `/req/core/process-execute-sync-…` and
//! `/req/core/job-results-async-…`). Pure.

use actix_web::{HttpRequest, http::Method};
use protocol::{
    JobRecord,
    job_record::{ResponseForm, TransmissionMode},
};

use super::{
    negotiation::Accept,
    printed::{Output, Printed},
};
use crate::{error::GatewayError, links::JSON, query::Query};

/// Media type of several raw outputs (RFC 2387).
pub(super) const MULTIPART: &str = "multipart/related";

/// How a client asks for results.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// What it accepts.
    pub accept: Accept,
    /// The outputs that it selects; `None`: those that the execution asked for.
    pub outputs: Option<Vec<String>>,
    /// True when it wants the head only.
    pub head: bool,
}

impl Asked {
    /// Reads a request: the header `Accept`, or the parameter `f` in its place, and the parameter `outputs`.
    pub fn of(request: &HttpRequest, query: &Query) -> Self {
        let accept = match query.one("f") {
            Some("json") => Accept::json(),
            _ => Accept::of(request.headers()),
        };
        let outputs: Vec<String> = query.list("outputs").into_iter().map(str::to_owned).collect();
        Self { accept, outputs: (!outputs.is_empty()).then_some(outputs), head: request.method() == Method::HEAD }
    }
}

/// What is answered.
#[derive(Debug, PartialEq)]
pub(super) enum Plan<'a> {
    /// There is nothing: 204.
    Nothing,
    /// One value, as it is.
    Value(&'a Output),
    /// No content, a link to each.
    References(Vec<&'a Output>),
    /// A part for each.
    Multipart(Vec<Chosen<'a>>),
    /// The results document with these; there may be none.
    Document(Vec<Chosen<'a>>),
}

/// An output that is answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chosen<'a> {
    pub output: &'a Output,
    pub by_reference: bool,
}

/// Decides over the answer.
///
/// # Errors
/// When an output is asked for that there is not, or the client does not want the form.
pub(super) fn plan<'a>(record: &JobRecord, printed: &'a Printed, asked: &Asked) -> Result<Plan<'a>, GatewayError> {
    let wanted = wanted(record, printed, asked.outputs.as_deref())?;
    let chosen: Vec<Chosen<'a>> = wanted
        .iter()
        .filter_map(|(id, by_reference)| Some(Chosen { output: printed.find(id)?, by_reference: *by_reference }))
        .collect();
    if record.response != ResponseForm::Raw {
        return document(chosen, &asked.accept);
    }
    let references = || chosen.iter().map(|it| it.output).collect();
    match chosen.as_slice() {
        [] if wanted.len() == 1 && !printed.outputs.is_empty() => Err(printed.has_none()),
        [] => Ok(Plan::Nothing),
        all if all.iter().all(|it| it.by_reference) => Ok(Plan::References(references())),
        [only] if wanted.len() == 1 => match asked.accept.excludes(&only.output.media_type) {
            true => Err(GatewayError::ResultNotAcceptable { offered: only.output.media_type.clone() }),
            false => Ok(Plan::Value(only.output)),
        },
        _ => several(chosen, &asked.accept),
    }
}

/// All that the execution asked for, as a document holds it.
///
/// # Errors
/// Never, as nobody selects anything.
pub(super) fn requested<'a>(record: &JobRecord, printed: &'a Printed) -> Result<Vec<Chosen<'a>>, GatewayError> {
    let wanted = wanted(record, printed, None)?;
    let chosen = wanted
        .iter()
        .filter_map(|(id, by_reference)| Some(Chosen { output: printed.find(id)?, by_reference: *by_reference }));
    Ok(chosen.collect())
}

/// Ids of the outputs that are wanted, and whether by reference.
fn wanted<'r>(
    record: &'r JobRecord,
    printed: &'r Printed,
    selected: Option<&'r [String]>,
) -> Result<Vec<(&'r str, bool)>, GatewayError> {
    let requested = &record.requested_outputs;
    let is_reference = |mode: TransmissionMode| mode == TransmissionMode::Reference;
    let all_by_reference = !requested.is_empty() && requested.iter().all(|it| is_reference(it.transmission_mode));
    let declared = record.declared_outputs.iter().map(|output| output.id.as_str());
    if let Some(selected) = selected {
        let known: Vec<&str> = declared.chain(printed.outputs.iter().map(|output| output.id.as_str())).collect();
        if selected.iter().any(|id| !known.contains(&id.as_str())) {
            return Err(GatewayError::invalid(format!(
                "outputs: the job has no such output; allowed: {}",
                listed(known)
            )));
        }
        let mode = |id: &String| requested.iter().find(|it| it.id == *id).map(|it| it.transmission_mode);
        // An output that is named twice is one output.
        let first = selected.iter().enumerate().filter(|(place, id)| !selected[..*place].contains(id));
        return Ok(first.map(|(_, id)| (id.as_str(), mode(id).is_some_and(is_reference))).collect());
    }
    // One that stands for several is all there is, whatever was asked for; so is what a process without declared outputs
    // printed.
    if printed.is_whole || record.declared_outputs.is_empty() {
        return Ok(printed.outputs.iter().map(|output| (output.id.as_str(), all_by_reference)).collect());
    }
    if requested.is_empty() {
        return Ok(declared.map(|id| (id, false)).collect());
    }
    Ok(requested.iter().map(|it| (it.id.as_str(), is_reference(it.transmission_mode))).collect())
}

fn listed(mut ids: Vec<&str>) -> String {
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    ids.join(", ")
}

fn document<'a>(chosen: Vec<Chosen<'a>>, accept: &Accept) -> Result<Plan<'a>, GatewayError> {
    if accept.excludes(JSON) {
        return Err(GatewayError::ResultNotAcceptable { offered: JSON.to_owned() });
    }
    Ok(Plan::Document(chosen))
}

/// Several raw outputs come as parts, as the standard has it whatever is accepted; to those who exclude them, in the one
/// JSON form that holds several.
fn several<'a>(chosen: Vec<Chosen<'a>>, accept: &Accept) -> Result<Plan<'a>, GatewayError> {
    match (accept.excludes(MULTIPART), accept.excludes(JSON)) {
        (false, _) => Ok(Plan::Multipart(chosen)),
        (true, false) => Ok(Plan::Document(chosen)),
        (true, true) => Err(GatewayError::ResultNotAcceptable { offered: format!("{MULTIPART}, {JSON}") }),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use bytes::Bytes;
    use jiff::Timestamp;
    use protocol::{
        JobId,
        job_record::{ArchiveState, DeclaredOutput, RequestedOutput, WHOLE_RESULT},
    };

    use super::{super::printed::Content, *};

    fn record(declared: &[&str], response: ResponseForm, requested: &[(&str, TransmissionMode)]) -> JobRecord {
        let (id, now) = (JobId::generate(1000), Timestamp::UNIX_EPOCH);
        let mut record = JobRecord::accepted(id, "p".parse().unwrap(), "1".into(), now, ArchiveState::Stored);
        record.declared_outputs = declared.iter().map(|id| DeclaredOutput::new(*id, "image/png")).collect();
        record.requested_outputs = requested
            .iter()
            .map(|(id, mode)| RequestedOutput {
                id: (*id).to_owned(),
                transmission_mode: *mode,
                media_type: None,
                unknown: protocol::Unknown::new(),
            })
            .collect();
        JobRecord { response, ..record }
    }

    fn printed(ids: &[&str]) -> Printed {
        let output = |id: &&str| Output {
            id: (*id).to_owned(),
            media_type: "image/png".into(),
            size: 0,
            sha256: String::new(),
            content: Content::Held(Bytes::new()),
        };
        Printed { outputs: ids.iter().map(output).collect(), is_whole: ids == [WHOLE_RESULT] }
    }

    fn asked(accept: &str, query: &str) -> Asked {
        let mut request = TestRequest::default();
        if !accept.is_empty() {
            request = request.insert_header(("accept", accept));
        }
        Asked::of(&request.to_http_request(), &Query::parse(query).unwrap())
    }

    /// The plan in short: its form, and the ids with a star for those by reference.
    fn shown(record: &JobRecord, printed: &Printed, asked: &Asked) -> String {
        let ids = |all: Vec<Chosen<'_>>| -> String {
            all.iter().map(|it| format!(" {}{}", it.output.id, if it.by_reference { "*" } else { "" })).collect()
        };
        match plan(record, printed, asked) {
            Ok(Plan::Nothing) => "nothing".into(),
            Ok(Plan::Value(output)) => format!("value {}", output.id),
            Ok(Plan::References(all)) => {
                format!("references{}", all.iter().map(|it| format!(" {}", it.id)).collect::<String>())
            }
            Ok(Plan::Multipart(all)) => format!("multipart{}", ids(all)),
            Ok(Plan::Document(all)) => format!("document{}", ids(all)),
            Err(error) => actix_web::ResponseError::status_code(&error).as_u16().to_string(),
        }
    }

    #[test]
    fn the_form_follows_what_was_requested_and_what_is_there() {
        use ResponseForm::{Document, Raw};
        use TransmissionMode::{Reference, Value};
        let both = [("a", Value), ("b", Value)];
        for (declared, form, requested, there, expected) in [
            // One declared output.
            (&["a"][..], Raw, &[][..], &["a"][..], "value a"),
            (&["a"], Raw, &[("a", Reference)], &["a"], "references a"),
            (&["a"], Raw, &[], &[], "nothing"),
            (&["a"], Document, &[], &[], "document"),
            (&["a"], Document, &[("a", Reference)], &["a"], "document a*"),
            // Several.
            (&["a", "b"], Raw, &[], &["a", "b"], "multipart a b"),
            (&["a", "b"], Raw, &both, &["a", "b"], "multipart a b"),
            (&["a", "b"], Raw, &[("b", Value)], &["a", "b"], "value b"),
            (&["a", "b"], Raw, &[("b", Reference), ("a", Reference)], &["a", "b"], "references b a"),
            (&["a", "b"], Raw, &[("b", Reference), ("a", Value)], &["a", "b"], "multipart b* a"),
            (&["a", "b"], Document, &[("b", Reference), ("a", Value)], &["a", "b"], "document b* a"),
            (&["a", "b"], Document, &[], &["a", "b"], "document a b"),
            // Some are missing.
            (&["a", "b"], Raw, &[], &["b"], "multipart b"),
            (&["a", "b"], Raw, &[("a", Value)], &["b"], "404"),
            (&["a", "b"], Document, &[("a", Value)], &["b"], "document"),
            (&["a", "b", "c"], Raw, &both, &["c"], "nothing"),
            (&["a", "b"], Raw, &[], &[], "nothing"),
            // Several that can't be told apart, or none declared.
            (&["a", "b"], Raw, &[], &["result"], "value result"),
            (&["a", "b"], Raw, &[("a", Reference)], &["result"], "references result"),
            (&["a", "b"], Document, &[], &["result"], "document result"),
            (&[], Raw, &[], &["result"], "value result"),
            (&[], Document, &[], &["result"], "document result"),
        ] {
            let shown = shown(&record(declared, form, requested), &printed(there), &Asked::default());
            assert_eq!(shown, expected, "{declared:?} {form:?} {requested:?} {there:?}");
        }
    }

    #[test]
    fn several_raw_outputs_are_parts_unless_the_client_excludes_them() {
        let record = record(&["a", "b"], ResponseForm::Raw, &[]);
        for (accept, query, expected) in [
            ("", "", "multipart a b"),
            ("*/*", "", "multipart a b"),
            ("application/json, */*", "", "multipart a b"),
            ("multipart/related, application/json", "", "multipart a b"),
            ("text/html", "", "multipart a b"),
            // The certification suite names it in every request.
            ("application/json", "", "multipart a b"),
            ("application/json, */*;q=0", "", "document a b"),
            ("text/html, multipart/related;q=0", "", "document a b"),
            ("text/html, */*;q=0", "", "406"),
            ("", "f=json", "document a b"),
            ("multipart/related", "f=json", "document a b"),
            ("", "f=json&outputs=a", "value a"),
            ("", "outputs=b", "value b"),
            ("", "outputs=b,a", "multipart b a"),
            ("", "outputs=c", "400"),
        ] {
            assert_eq!(shown(&record, &printed(&["a", "b"]), &asked(accept, query)), expected, "{accept} {query}");
        }
    }

    #[test]
    fn one_value_and_a_document_are_refused_only_to_those_who_exclude_them() {
        let raw = record(&["a"], ResponseForm::Raw, &[]);
        let document = record(&["a"], ResponseForm::Document, &[]);
        for (accept, for_raw, for_document) in [
            ("application/json", "value a", "document a"),
            ("image/png", "value a", "document a"),
            ("*/*, image/png;q=0", "406", "document a"),
            ("image/png, */*;q=0", "value a", "406"),
        ] {
            assert_eq!(shown(&raw, &printed(&["a"]), &asked(accept, "")), for_raw, "{accept}");
            assert_eq!(shown(&document, &printed(&["a"]), &asked(accept, "")), for_document, "{accept}");
        }
    }

    #[test]
    fn a_selection_keeps_how_outputs_were_requested_and_overrides_which() {
        use TransmissionMode::{Reference, Value};
        let record = record(&["a", "b"], ResponseForm::Raw, &[("a", Reference)]);
        let shown = |query: &str| shown(&record, &printed(&["a", "b"]), &asked("", query));
        assert_eq!(shown("outputs=a"), "references a");
        assert_eq!(shown("outputs=b"), "value b");
        assert_eq!(shown("outputs=a&outputs=b"), "multipart a* b");
        assert_eq!(shown("outputs=b,b&outputs=b"), "value b", "named once or often");
        assert_eq!(Value, TransmissionMode::default());
    }
}
