//! A process as the configuration file defines it: what clients see of it, and what its pod is made of.
//!
//! Definitions are read by [`crate::configuration`] only, so that a value of these types has passed every check.
//! All of them serialise with a stable order, so that a definition can be hashed into its version.

pub mod container;
mod declared;
pub mod description;
pub mod exchange;
pub mod hello_world;
mod id;
mod localized;
pub mod pod;
mod retries;

use serde::Serialize;

pub use self::{
    container::{
        EmptyDir, EnvValue, EnvVar, ImagePullPolicy, InitContainer, Medium, Quantity, Resources, Toleration, Volume,
        VolumeSource,
    },
    description::{InputDescription, JobControlOptions, Link, MaxOccurs, OutputDescription, ProcessDescription},
    exchange::{Exchange, InputsAs},
    id::{InvalidProcessId, ProcessId},
    localized::Localized,
    pod::{PodOptions, PodSecurity, SecurityLevel},
    retries::Retries,
};

/// Media type of a result whose output names none, and of several outputs together.
pub const DEFAULT_RESULT_MEDIA_TYPE: &str = "application/json";

/// One entry of `resources` with `type: process`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProcessDefinition {
    /// The key in `resources`; the process is known by it everywhere.
    pub id: ProcessId,
    /// What clients see: `processor.metadata`, or the built-in one of hello world.
    pub description: ProcessDescription,
    /// What is done with the image.
    pub kind: Processor,
    /// Whether an execution needs the token as its input `token`. Always false for hello world.
    pub check_auth: bool,
    /// `processor.mimetype`: the media type of a single output whose schema names none.
    pub mimetype: Option<String>,
    /// `processor.default_image`.
    pub image: String,
    /// `processor.command`. Of a generic image: the container's command, program first; empty: the image's own. Of hello
    /// world: lines of shell to run before the greeting; what they print is in the log only.
    pub command: Vec<String>,
    /// Name of the secret to pull the image with.
    pub image_pull_secret: Option<String>,
    /// Environment of the main container, beside what Quayside sets.
    pub env: Vec<EnvVar>,
    /// What the main container may use.
    pub resources: Resources,
    /// Volumes, mounted into the main container. Init containers mount them by name.
    pub storage: Vec<Volume>,
    /// Containers run to their end, one after the other, before the main one.
    pub init_containers: Vec<InitContainer>,
    /// Taints of nodes that the pod may run on.
    pub tolerations: Vec<Toleration>,
    /// Where its pods run, as whom, for how long, and what stands on them.
    pub pod: PodOptions,
    /// `max_live`: cap on its live jobs; none: the dispatcher's.
    pub max_live: Option<u32>,
    /// How inputs and results go between Quayside and the container.
    pub exchange: Exchange,
}

/// Which of the two processors runs the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Processor {
    /// `GenericImageProcessor`: any image, which takes its inputs from the environment.
    GenericImage,
    /// `HelloWorldK8sProcessor`: a greeting printed by a shell.
    HelloWorld,
}

impl ProcessDefinition {
    /// The media types that an output offers; `None`: there is no such output.
    pub fn offered_media_types(&self, id: &str) -> Option<Vec<&str>> {
        let output = self.description.outputs.get(id)?;
        let fallback = match self.description.outputs.len() {
            1 => self.result_media_type().unwrap_or(DEFAULT_RESULT_MEDIA_TYPE),
            _ => output.media_type_or_default(),
        };
        Some(output.media_types(fallback))
    }

    /// The media type that a result has as far as the definition tells: none without outputs; with one output its
    /// schema's `contentMediaType`, else `processor.mimetype`, else JSON; with several JSON.
    pub fn result_media_type(&self) -> Option<&str> {
        let mut outputs = self.description.outputs.values();
        match (outputs.next(), outputs.next()) {
            (None, _) => None,
            (Some(only), None) => {
                Some(only.media_type().or(self.mimetype.as_deref()).unwrap_or(DEFAULT_RESULT_MEDIA_TYPE))
            }
            (Some(_), Some(_)) => Some(DEFAULT_RESULT_MEDIA_TYPE),
        }
    }
}
