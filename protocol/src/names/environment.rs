//! Environment variables: those of the contract, read by the services or set in every container.

/// The API token.
pub const API_TOKEN: &str = "PYGEOAPI_K8S_MANAGER_API_TOKEN";
/// Path of the configuration file.
pub const CONFIG: &str = "PYGEOAPI_CONFIG";
/// Where the configuration file is unless [`CONFIG`] says otherwise.
pub const CONFIG_DEFAULT: &str = "/pygeoapi/local.config.yml";
/// Namespace of the Jobs, when not running in a cluster.
pub const NAMESPACE: &str = "PYGEOAPI_K8S_MANAGER_NAMESPACE";
/// Prefix of the Jobs' names.
pub const JOB_NAME_PREFIX: &str = "PYGEOAPI_K8S_MANAGER_JOB_NAME_PREFIX";
/// The prefix unless [`JOB_NAME_PREFIX`] says otherwise.
pub const JOB_NAME_PREFIX_DEFAULT: &str = "pygeoapi-job-";
/// Endpoint of the S3 service, a URL.
pub const BUCKET_ENDPOINT: &str = "PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_ENDPOINT";
/// Access key.
pub const BUCKET_KEY: &str = "PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_KEY";
/// Secret of the access key.
pub const BUCKET_SECRET: &str = "PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_SECRET";
/// Name of the bucket.
pub const BUCKET_NAME: &str = "PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_NAME";
/// Prefix of every key in the bucket.
pub const BUCKET_PATH_PREFIX: &str = "PYGEOAPI_K8S_MANAGER_FINALIZER_BUCKET_PATH_PREFIX";

/// In every container: the job's id.
pub const JOB_ID: &str = "PYGEOAPI_JOB_ID";
/// In every container: the process's id.
pub const PROCESS_ID: &str = "PYGEOAPI_PROCESS_ID";
/// In the generic main container: the inputs, as one JSON object; absent when there are none.
pub const INPUTS: &str = "PYGEOAPI_K8S_MANAGER_INPUTS";
/// In the generic main container: path of the file with the inputs as one JSON object, where they are not in [`INPUTS`].
pub const INPUTS_FILE: &str = "PYGEOAPI_K8S_MANAGER_INPUTS_FILE";
/// In the main container of a process with `results: files`: the folder for a file of each output.
pub const RESULTS: &str = crate::companion::RESULTS;
/// What the name of an output's variable begins with (see [`output_url`]).
pub const OUTPUT_PREFIX: &str = "QUAYSIDE_OUTPUT_";
/// In the hello-world container: the finished result document, so that no input is ever part of a shell text.
pub const HELLO_WORLD_RESULT: &str = "QUAYSIDE_HELLO_WORLD_RESULT";

/// In the main container of a process with `results: upload`: the presigned URL to which the output is sent with PUT. All but ASCII
/// letters and digits of its id is written `_`, letters as capitals.
pub fn output_url(output: &str) -> String {
    let plain = output.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' });
    format!("{OUTPUT_PREFIX}{}_URL", plain.collect::<String>())
}
