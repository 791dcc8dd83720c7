use serde_json::{Map, Value, json};

use super::answers;

/// An Operation Object in the making.
pub(super) struct Operation {
    members: Map<String, Value>,
    parameters: Vec<Value>,
    answers: Map<String, Value>,
}

impl Operation {
    /// An operation that every failure of the server itself is documented of.
    pub(super) fn new(id: &str, tag: &str, summary: &str) -> Self {
        let mut members = Map::new();
        members.insert("operationId".into(), id.into());
        members.insert("tags".into(), json!([tag]));
        members.insert("summary".into(), summary.into());
        Self { members, parameters: Vec::new(), answers: Map::new() }.exceptions(answers::OF_ANY)
    }

    pub(super) fn description(mut self, text: &str) -> Self {
        self.members.insert("description".into(), text.into());
        self
    }

    pub(super) fn parameters(mut self, parameters: impl IntoIterator<Item = Value>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.members.insert("requestBody".into(), body);
        self
    }

    /// What it makes the server send.
    pub(super) fn callbacks(mut self, callbacks: Value) -> Self {
        self.members.insert("callbacks".into(), callbacks);
        self
    }

    /// Documents an answer.
    pub(super) fn answer(mut self, status: u16, answer: Value) -> Self {
        self.answers.insert(status.to_string(), answer);
        self
    }

    /// Documents exceptions by their status.
    pub(super) fn exceptions(mut self, statuses: &[u16]) -> Self {
        for status in statuses {
            self.answers.insert(status.to_string(), answers::exception(*status));
        }
        self
    }

    pub(super) fn finish(self) -> Value {
        let Self { mut members, parameters, mut answers } = self;
        answers.sort_keys();
        if !parameters.is_empty() {
            members.insert("parameters".into(), parameters.into());
        }
        members.insert("responses".into(), answers.into());
        Value::Object(members)
    }
}
