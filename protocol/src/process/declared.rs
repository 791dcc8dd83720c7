//! The outputs of a process as the records of its jobs carry them.

use super::{DEFAULT_RESULT_MEDIA_TYPE, ProcessDefinition};
use crate::job_record::DeclaredOutput;

impl ProcessDefinition {
    /// The declared outputs, in the order of the description.
    pub fn declared_outputs(&self) -> Vec<DeclaredOutput> {
        let outputs = &self.description.outputs;
        let declared = outputs.iter().map(|(id, output)| {
            let media_type = match outputs.len() {
                1 => self.result_media_type().unwrap_or(DEFAULT_RESULT_MEDIA_TYPE),
                _ => output.media_type_or_default(),
            };
            DeclaredOutput { encoding: output.encoding().map(str::to_owned), ..DeclaredOutput::new(id, media_type) }
        });
        declared.collect()
    }
}
