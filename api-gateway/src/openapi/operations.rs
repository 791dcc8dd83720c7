//! One function an operation of the table of routes: what it is for, what it takes, everything that it answers.

use protocol::ProcessDefinition;
use serde_json::{Value, json};

use super::{Context, answers, callbacks, operation::Operation, parameters::shared, process};
use crate::links::{JSON, OPENAPI, OPENAPI_YAML};

pub(crate) fn landing(_: &Context<'_>) -> Value {
    described("landingPage", "server", "Where everything is", "landingPage").finish()
}

pub(crate) fn conformance(_: &Context<'_>) -> Value {
    described("conformance", "server", "The conformance classes that are met", "confClasses").finish()
}

pub(crate) fn definition(_: &Context<'_>) -> Value {
    let object = json!({"schema": {"type": "object"}});
    let text = json!({"schema": {"type": "string"}});
    let forms = json!({"type": "string", "enum": ["json", "yaml", "html"]});
    let answer = json!({
        "description": "This definition",
        "content": {OPENAPI: object, OPENAPI_YAML: text, JSON: object, "text/html": text},
    });
    Operation::new("definition", "server", "This definition, or a page to try it")
        .parameters(shared(&["lang"]))
        .parameters([json!({
            "name": "f", "in": "query", "required": false, "schema": forms,
            "description": "Form of the answer, instead of the header Accept",
        })])
        .answer(200, answer)
        .answer(304, answers::empty("What the client has is still right"))
        .finish()
}

pub(crate) fn processes(_: &Context<'_>) -> Value {
    described("processes", "processes", "The list of processes", "processList")
        .parameters(shared(&["limit", "offset"]))
        .finish()
}

pub(crate) fn process(_: &Context<'_>) -> Value {
    described("process", "processes", "One process", "process")
        .parameters(shared(&["processID"]))
        .exceptions(&[404])
        .finish()
}

pub(crate) fn execution(context: &Context<'_>, process: Option<&ProcessDefinition>) -> Value {
    let created = answers::with_headers(
        answers::json("The job, to come back for", "statusInfo"),
        &[
            ("Location", "The job"),
            ("Preference-Applied", "What of the header Prefer was followed"),
            ("Idempotent-Replayed", "True where an earlier request with the same Idempotency-Key made the job"),
        ],
    );
    let (operation, body, results) = match process {
        None => {
            let schema = json!({"schema": {"$ref": "#/components/schemas/execute"}});
            let results = json!({"description": "The results, in the form that was asked for", "content": {"*/*": {}}});
            (
                Operation::new("execute", "processes", "Execute a process").parameters(shared(&["processID"])),
                json!({"required": true, "content": {JSON: schema}}),
                answers::with_headers(results, &[("Link", "The job, with relation monitor")]),
            )
        }
        Some(process) => {
            let title = process.description.title.text(context.language);
            let id = format!("execute.{}", process.id.as_str());
            (
                Operation::new(&id, "processes", title)
                    .description(process.description.description.text(context.language)),
                process::body(context, process),
                process::results(process),
            )
        }
    };
    let operation = if context.calls_back { operation.callbacks(callbacks::of_execution()) } else { operation };
    operation
        .parameters(shared(&["Prefer", "Idempotency-Key"]))
        .body(body)
        .answer(200, results)
        .answer(201, created)
        .answer(
            204,
            answers::with_headers(
                answers::empty("The execution ended, and has no value to send: none, or all by reference"),
                &[("Link", "The job, with relation monitor; each output by reference")],
            ),
        )
        .exceptions(&[404, 409, 410, 413, 415, 422])
        .finish()
}

pub(crate) fn jobs(_: &Context<'_>) -> Value {
    let filters = ["type", "processes", "status", "datetime", "minDuration", "maxDuration", "limit"];
    Operation::new("jobs", "jobs", "The list of jobs, the newest first")
        .description("Those that the token lets its bearer see.")
        .parameters(shared(&filters))
        .parameters(shared(&["jobsOffset", "after", "before", "f"]))
        .answer(200, answers::document("The jobs", "jobList"))
        .finish()
}

pub(crate) fn job(_: &Context<'_>) -> Value {
    Operation::new("job", "jobs", "The status of one job")
        .parameters(shared(&["jobID", "f"]))
        .answer(200, answers::document("The status", "statusInfo"))
        .exceptions(&[404])
        .finish()
}

pub(crate) fn dismiss(_: &Context<'_>) -> Value {
    Operation::new("dismiss", "jobs", "Dismiss or remove one job")
        .description(
            "A job that is not done is cancelled. One that is done, or was dismissed before, is removed with everything that is \
             stored of it. Who gets no answer should look at the job before asking again.",
        )
        .parameters(shared(&["jobID", "f"]))
        .answer(200, answers::document("The status: dismissed", "statusInfo"))
        .exceptions(&[404, 405, 409])
        .finish()
}

pub(crate) fn job_logs(_: &Context<'_>) -> Value {
    let value = |description: &str| {
        let headers = [
            ("ETag", "Hash of the log, once it is archived"),
            ("Accept-Ranges", "Ranges that can be asked for: bytes"),
            ("Quayside-Log-Gaps", "How many places are known where something is missing"),
        ];
        let text = json!({"schema": {"type": "string"}});
        answers::with_headers(
            json!({"description": description, "content": {"text/plain": text, "text/html": text}}),
            &headers,
        )
    };
    let parameter = |name: &str, schema: Value, description: &str| json!({"name": name, "in": "query", "required": false, "schema": schema, "description": description});
    let text = || json!({"type": "string"});
    let container = "The log of this container alone, without headings; of several pods' the last one's";
    let since = "Only what was written at this time (RFC 3339) or later, and some lines before it; of a job that is not \
                 archived yet";
    Operation::new("jobLogs", "jobs", "The log of one job")
        .description(
            "What there is of the log while the job runs, then the archived log. The header Range asks for a range of the \
             log of one container, or of the archived log.",
        )
        .parameters(shared(&["jobID", "Range", "If-Range", "If-None-Match"]))
        .parameters([
            parameter("f", json!({"type": "string", "enum": ["txt", "html"]}), "Form of the answer"),
            parameter("follow", json!({"type": "boolean"}), "Go on with what is written, until the log has ended"),
            parameter("since", json!({"type": "string", "format": "date-time"}), since),
            parameter("container", text(), container),
            parameter("pod", text(), "The logs of this pod alone"),
        ])
        .answer(200, value("The log"))
        .answer(206, answers::with_headers(value("A part of the log"), &[("Content-Range", "Which part it is")]))
        .answer(304, answers::empty("What the client has is still right"))
        .exceptions(&[404, 416])
        .finish()
}

pub(crate) fn job_results(_: &Context<'_>) -> Value {
    let results =
        json!({"description": "The results, in the form that was asked for at execution", "content": {"*/*": {}}});
    Operation::new("jobResults", "jobs", "The results of one job")
        .description("A failed job answers with what went wrong.")
        .parameters(shared(&["jobID", "outputs", "f"]))
        .answer(200, results)
        .answer(
            204,
            answers::with_headers(
                answers::empty("The job has no value to send: none, or all by reference"),
                &[("Link", "Each output by reference")],
            ),
        )
        .exceptions(&[404])
        .finish()
}

pub(crate) fn job_output(_: &Context<'_>) -> Value {
    let value = |description: &str| {
        let headers = [("ETag", "Hash of the value"), ("Accept-Ranges", "Ranges that can be asked for: bytes")];
        answers::with_headers(json!({"description": description, "content": {"*/*": {}}}), &headers)
    };
    Operation::new("jobOutput", "jobs", "One output of one job")
        .description("The bytes of the output, or the one range of them that the header Range asks for.")
        .parameters(shared(&["jobID", "outputID", "f", "Range", "If-Range", "If-None-Match"]))
        .answer(200, value("The value"))
        .answer(206, answers::with_headers(value("A part of the value"), &[("Content-Range", "Which part it is")]))
        .answer(304, answers::empty("What the client has is still right"))
        .exceptions(&[404, 416])
        .finish()
}

/// An operation that answers with a document that changes with the configuration only.
fn described(id: &str, tag: &str, summary: &str, schema: &str) -> Operation {
    let answer = answers::with_headers(
        answers::document(summary, schema),
        &[("Content-Language", "Language of the texts"), ("ETag", "Changes with the document")],
    );
    Operation::new(id, tag, summary)
        .parameters(shared(&["f", "lang"]))
        .answer(200, answer)
        .answer(304, answers::empty("What the client has is still right"))
}
