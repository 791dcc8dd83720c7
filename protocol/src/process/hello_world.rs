//! The built-in description of `HelloWorldK8sProcessor`.

use indexmap::IndexMap;
use serde_json::json;

use super::{InputDescription, JobControlOptions, Localized, MaxOccurs, OutputDescription, ProcessDescription};

/// Image where `processor.default_image` is absent.
pub const DEFAULT_IMAGE: &str = "busybox:1";
/// Required input: whom to greet.
pub const NAME_INPUT: &str = "name";
/// Optional input: what to say.
pub const MESSAGE_INPUT: &str = "message";
/// The single output, an object with `id` ([`ECHO_OUTPUT`]) and `value` (the greeting).
pub const ECHO_OUTPUT: &str = "echo";

/// What clients see of a hello world process.
pub fn description() -> ProcessDescription {
    ProcessDescription {
        version: "1.0.0".to_owned(),
        title: Localized::ByLanguage(IndexMap::from([
            ("en".to_owned(), "Hello World on Kubernetes".to_owned()),
            ("de".to_owned(), "Hallo Welt auf Kubernetes".to_owned()),
        ])),
        description: Localized::ByLanguage(IndexMap::from([
            (
                "en".to_owned(),
                "Takes a name and, if there is one, a message, and answers with a greeting printed in a container."
                    .to_owned(),
            ),
            (
                "de".to_owned(),
                "Nimmt einen Namen und gegebenenfalls eine Nachricht und antwortet mit einem Gruß aus einem Container."
                    .to_owned(),
            ),
        ])),
        keywords: Localized::Same(vec!["hello world".to_owned(), "example".to_owned(), "kubernetes".to_owned()]),
        links: Vec::new(),
        inputs: IndexMap::from([
            (NAME_INPUT.to_owned(), text_input("Name", "Whom to greet.", 1)),
            (MESSAGE_INPUT.to_owned(), text_input("Message", "What to say to them.", 0)),
        ]),
        outputs: IndexMap::from([(ECHO_OUTPUT.to_owned(), echo_output())]),
        example: Some(json!({"inputs": {"message": "Am I in TV, now?", "name": "John Doe"}})),
        job_control_options: JobControlOptions::ALL,
        metadata: None,
        additional_parameters: None,
    }
}

fn text_input(title: &str, description: &str, min_occurs: u32) -> InputDescription {
    InputDescription {
        title: title.into(),
        description: Some(description.into()),
        schema: json!({"type": "string"}),
        min_occurs,
        max_occurs: MaxOccurs::Count(1),
        keywords: None,
        metadata: None,
        additional_parameters: None,
    }
}

fn echo_output() -> OutputDescription {
    OutputDescription {
        title: "Greeting".into(),
        description: Some("The greeting, with the message if there was one.".into()),
        schema: json!({
            "type": "object",
            "contentMediaType": "application/json",
            "properties": {
                "id": {"type": "string", "enum": [ECHO_OUTPUT]},
                "value": {"type": "string"}
            },
            "required": ["id", "value"]
        }),
        keywords: None,
        metadata: None,
        additional_parameters: None,
    }
}
