//! From the bytes of a request to an execution that fits its process: every mistake is told at once.
//!
//! bytes → [`Request`] → `inputs`, each [`value`] against its [`schemas`] → [`Checked`] → [`by_reference`] →
//! [`Execution`]
//!
//! Messages name members and ids, never values: a value may be secret.

pub mod by_reference;
mod inputs;
pub mod media_types;
mod outputs;
pub mod parts;
pub mod schemas;
mod subscriber;
pub mod value;
pub mod violation;

use protocol::{
    ProcessDefinition,
    callback::Subscription,
    job_record::{RequestedOutput, ResponseForm},
};
use serde_json::{Map, Value};

pub use self::{
    by_reference::Checked,
    schemas::Schemas,
    violation::{Violation, Violations},
};
use crate::{access, error::GatewayError, guard::Policy};

/// An execution that fits its process.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// The inputs, without the token of a protected process.
    pub inputs: Map<String, Value>,
    /// The outputs that are wanted; empty: all of them, by value.
    pub outputs: Vec<RequestedOutput>,
    /// Form of the answer.
    pub response: ResponseForm,
    /// Who is told about the job.
    pub subscriber: Option<Subscription>,
}

/// The members of an execution request whose inputs are an object; not yet held against a process.
pub struct Request {
    members: Map<String, Value>,
    /// Bytes of the body.
    size: usize,
}

const INPUTS: &str = "inputs";

impl Request {
    /// Reads a body (OGC 18-062r2, schema `execute`). Members that this service does not know are ignored.
    ///
    /// # Errors
    /// When it is no JSON object, or `inputs` is no object.
    pub fn parse(body: &[u8]) -> Result<Self, GatewayError> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            // The error's own text could repeat what was sent.
            GatewayError::invalid(format!("the body is not JSON: line {}, column {}", error.line(), error.column()))
        })?;
        let Value::Object(members) = value else {
            return Err(GatewayError::invalid("the body is not a JSON object"));
        };
        match members.get(INPUTS) {
            None | Some(Value::Object(_)) => Ok(Self { members, size: body.len() }),
            Some(_) => Err(GatewayError::invalid("inputs: expected an object of input id to value")),
        }
    }

    /// Takes the token out, so that nothing after this sees it.
    pub fn take_token(&mut self) -> Option<Value> {
        match self.members.get_mut(INPUTS) {
            Some(Value::Object(inputs)) => access::take_token(inputs),
            _ => None,
        }
    }

    /// All that is asked for, as one text.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn to_text(&self) -> Result<String, GatewayError> {
        // Mostly it is shorter than the body: growing would take more memory.
        let mut text = Vec::with_capacity(self.size);
        serde_json::to_writer(&mut text, &self.members).map_err(GatewayError::internal)?;
        String::from_utf8(text).map_err(GatewayError::internal)
    }

    /// Holds the request against the process, with all that is in it, and who is to be told against `callbacks`: where
    /// there is none, nobody is called back.
    ///
    /// # Errors
    /// All that does not fit.
    pub fn against(
        self,
        process: &ProcessDefinition,
        schemas: &Schemas,
        callbacks: Option<&Policy>,
    ) -> Result<Checked, GatewayError> {
        let mut members = self.members;
        let mut inputs = match members.shift_remove(INPUTS) {
            Some(Value::Object(inputs)) => inputs,
            _ => Map::new(),
        };
        let (outputs, response) = (members.shift_remove("outputs"), members.shift_remove("response"));
        let subscriber = members.shift_remove("subscriber");
        let schemas = schemas.of(process).ok_or(GatewayError::NoSuchProcess)?;
        let mut violations = Violations::default();
        let references = inputs::check(&inputs, process, schemas, &mut violations);
        let mut mistakes = Vec::new();
        let outputs = outputs::check(outputs.as_ref(), process, &mut mistakes);
        let response = match response.as_ref().map(Value::as_str) {
            None | Some(Some("raw")) => ResponseForm::Raw,
            Some(Some("document")) => ResponseForm::Document,
            Some(_) => {
                mistakes.push("response: expected raw or document".to_owned());
                ResponseForm::Raw
            }
        };
        let subscriber = subscriber::check(subscriber.as_ref(), callbacks, &mut mistakes);
        for mistake in mistakes {
            violations.push(mistake);
        }
        violations.into_result()?;
        inputs::add_defaults(&mut inputs, process);
        Ok(Checked::new(Execution { inputs, outputs, response, subscriber }, references))
    }
}

/// Ids that were sent are repeated in answers, but not at any length.
fn shortened(id: &str) -> &str {
    id.char_indices().nth(64).map_or(id, |(end, _)| &id[..end])
}

/// Whether a body of this content type is JSON; one without a content type is taken as JSON.
pub fn is_json(content_type: Option<&str>) -> bool {
    let Some(content_type) = content_type else { return true };
    let essence = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.split_once('/') {
        Some(("application", "json")) => true,
        Some((_, subtype)) => subtype.ends_with("+json"),
        None => essence.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use protocol::configuration::Configuration;
    use serde_json::json;

    use super::*;
    use crate::{
        memory::Memory,
        references::{ReferenceSettings, References},
        testing,
    };

    fn checked(process: &str, body: Value) -> Result<Execution, String> {
        let configuration = testing::configuration();
        let process = configuration.processes.get(process).unwrap();
        let mut request = Request::parse(body.to_string().as_bytes()).map_err(|error| error.to_string())?;
        if process.check_auth {
            request.take_token();
        }
        let schemas = Schemas::compile(&configuration).unwrap().0;
        let checked = request.against(process, &schemas, None).map_err(|error| error.to_string())?;
        assert!(!checked.has_references());
        let memory = Memory::new(1 << 20);
        let references = References::new(&ReferenceSettings::default(), memory.clone()).unwrap();
        let mut portion = memory.take(0).unwrap();
        checked.resolve(&references, &mut portion).now_or_never().unwrap().map_err(|error| error.to_string())
    }

    #[test]
    fn a_request_without_inputs_has_none() {
        let execution = checked("open", json!({})).unwrap();
        assert_eq!(
            execution,
            Execution { inputs: Map::new(), outputs: Vec::new(), response: ResponseForm::Raw, subscriber: None }
        );
    }

    #[test]
    fn all_mistakes_are_named_at_once_and_no_value_is() {
        let body = json!({
            "inputs": {"foo": "SENSITIVE"}, "response": "SENSITIVE",
            "outputs": {"nope": {"transmissionMode": "SENSITIVE", "format": 1}}
        });
        let text = checked("hello-world-k8s", body).unwrap_err();
        for part in [
            "inputs.name: this input is required",
            "inputs.foo: the process has no such input",
            "response: expected raw or document",
            "outputs.nope: the process has no such output",
            "outputs.nope.transmissionMode",
            "outputs.nope.format",
        ] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
        assert!(!text.contains("SENSITIVE"), "{text}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for (body, part) in [
            ("nonsense", "not JSON: line 1"),
            ("", "not JSON"),
            ("[]", "not a JSON object"),
            (r#"{"inputs": []}"#, "inputs: expected an object"),
            (r#"{"inputs": null}"#, "inputs: expected an object"),
        ] {
            let text = Request::parse(body.as_bytes()).err().unwrap().to_string();
            assert!(text.contains(part), "{text}");
        }
        assert!(checked("open", json!({"outputs": []})).unwrap_err().contains("outputs: expected an object"));
    }

    #[test]
    fn the_token_of_a_protected_process_is_no_input_and_that_of_an_open_one_is() {
        let protected = checked("protected", json!({"inputs": {"token": "t", "text": "x"}})).unwrap();
        assert_eq!(Value::Object(protected.inputs), json!({"text": "x"}));
        assert!(checked("protected", json!({"inputs": {"text": "x"}})).is_ok(), "never required by its schema");
        let open = checked("open", json!({"inputs": {"token": "t"}})).unwrap();
        assert_eq!(Value::Object(open.inputs), json!({"token": "t"}));
    }

    #[test]
    fn absent_optional_inputs_get_the_default_of_their_schema() {
        let sent = json!({"text": "x"});
        let defaults = checked("defaults", json!({"inputs": sent})).unwrap();
        assert_eq!(Value::Object(defaults.inputs), json!({"text": "x", "count": 1, "several": [1, 2]}));
        let given = checked("defaults", json!({"inputs": {"text": "x", "count": 5, "several": 3}})).unwrap();
        assert_eq!(Value::Object(given.inputs), json!({"text": "x", "count": 5, "several": 3}));
    }

    #[test]
    fn deep_nesting_is_no_json_and_a_large_body_takes_linear_time() {
        let deep = format!(r#"{{"inputs": {{"text": {}1{}}}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(Request::parse(deep.as_bytes()).is_err());
        let began = std::time::Instant::now();
        let many: Vec<Value> = (0..200_000).map(|_| json!("x")).collect();
        let text = checked("defaults", json!({"inputs": {"text": "x", "several": many}})).unwrap_err();
        assert!(text.contains("inputs.several/0: expected a whole number") && text.contains("more"), "{text}");
        assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    }

    #[test]
    fn an_example_that_would_be_refused_is_warned_of() {
        let text = testing::CONFIGURATION.replace("example: {inputs: {text: x}}", "example: {inputs: {text: 1}}");
        let configuration = Configuration::read(&text, "test", &|_| None).unwrap().0;
        let warnings = Schemas::compile(&configuration).unwrap().1;
        assert!(
            warnings.iter().any(|warning| warning.path == "resources.open.processor.metadata.example"
                && warning.message.contains("inputs.text: expected text")),
            "{warnings:?}"
        );
        let right = Schemas::compile(&testing::configuration()).unwrap().1;
        assert!(right.is_empty(), "{right:?}");
    }

    #[test]
    fn the_response_form_is_taken() {
        assert_eq!(checked("open", json!({"response": "document"})).unwrap().response, ResponseForm::Document);
    }

    #[test]
    fn json_is_told_by_its_media_type() {
        for json in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/geo+json"),
            Some(""),
        ] {
            assert!(is_json(json), "{json:?}");
        }
        for other in ["text/plain", "application/x-www-form-urlencoded", "application/jsonl", "json"] {
            assert!(!is_json(Some(other)), "{other}");
        }
    }
}
