//! `resources`: what a process is, and what its pod is made of.

use super::{
    Default::{Nothing, Required, Said, Value},
    Key, Section,
};

const BY_LANGUAGE: &str = "text, or a mapping of language to text";
const OBJECT: &str = "name of an object of Kubernetes";
const KEYWORDS: &str = "list of texts, or a mapping of language to such a list";
const AMOUNTS: &str = "mapping of name to amount, such as `500m`, `2`, `128Mi`, `1.5G`";
const NUMBER_OF: &str = "whole number from 0 to 2147483647";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "resources.<id>",
        about: "One resource. Its key is the id of the process.",
        keys: &[
            Key::new("type", "text", Required, "`process`; other types are skipped with a warning."),
            Key::new("processor", "mapping", Required, "What runs."),
        ],
    },
    Section {
        path: "resources.<id>.processor",
        about: "What runs, and how. Of hello world (below: H) only some keys have an effect; the others are warned of.",
        keys: &[
            Key::new(
                "name",
                "dotted name that ends in `GenericImageProcessor` or `HelloWorldK8sProcessor`",
                Required,
                "The processor (H).",
            ),
            Key::new("metadata", "mapping", Required, "What clients see of the process; hello world has its own."),
            Key::new(
                "default_image",
                "name of an image",
                Required,
                "The image (H, where it is `busybox:1` if absent).",
            ),
            Key::new(
                "check_auth",
                "true or false",
                Value("true"),
                "Whether executing needs a token; hello world never needs one.",
            ),
            Key::new("mimetype", "media type", Nothing, "Media type of a single output whose schema names none (H)."),
            Key::new(
                "command",
                "list of texts",
                Said("the image's own"),
                "Command of the main container, program first. H: lines of shell to run before the greeting, one text or a list.",
            ),
            Key::new("args", "list of texts", Said("the image's own"), "Arguments of the main container."),
            Key::new(
                "working_dir",
                "absolute path",
                Said("the image's own"),
                "Folder that the main container starts in.",
            )
            .or("workingDir"),
            Key::new("image_pull_secrets", "name of a secret", Nothing, "With which images are pulled (H)."),
            Key::new(
                "image_pull_secret",
                "name of a secret",
                Nothing,
                "Read as `image_pull_secrets`, with a warning (H).",
            ),
            Key::new(
                "image_pull_policy",
                "`Always`, `IfNotPresent`, `Never`",
                Said("Kubernetes' own: `Always` for the tag `latest`, else `IfNotPresent`"),
                "When the node pulls the main container's image (H).",
            )
            .or("imagePullPolicy"),
            Key::new(
                "env",
                "list of mappings",
                Value("[]"),
                "Environment of the main container, beside what Quayside sets.",
            ),
            Key::new(
                "resources",
                "mapping",
                Value("{}"),
                "What the main container may use, and what is reserved for it.",
            ),
            Key::new("storage", "list of mappings", Value("[]"), "Volumes, and where the main container sees them."),
            Key::new(
                "init_containers",
                "list of mappings",
                Value("[]"),
                "Containers that run to their end before, one after the other.",
            ),
            Key::new("tolerations", "list of mappings", Value("[]"), "Taints of nodes that pods may run on (H)."),
            Key::new("node_selector", "mapping of label to value", Value("{}"), "Labels that a node must have (H).")
                .or("nodeSelector"),
            Key::new(
                "affinity",
                "an `Affinity` object of Kubernetes",
                Nothing,
                "On which nodes, and beside which pods, pods run (H).",
            ),
            Key::new("priority_class_name", OBJECT, Nothing, "Priority of the pods (H).").or("priorityClassName"),
            Key::new("runtime_class_name", OBJECT, Nothing, "The runtime of the pods' containers (H).")
                .or("runtimeClassName"),
            Key::new(
                "service_account_name",
                OBJECT,
                Said("`default`, whose token is not mounted"),
                "The service account of the pods; the token of one that is named is mounted as that account says (H).",
            )
            .or("serviceAccountName"),
            Key::new(
                "pod_security",
                "`compatible`, `baseline`, `restricted`",
                Value("compatible"),
                "What containers may do (H): see [the levels](#levels-of-pod-security).",
            ),
            Key::new(
                "run_as_user",
                NUMBER_OF,
                Said("the image's own"),
                "Number of the user that containers run as; not 0 where `pod_security` is `restricted` (H).",
            )
            .or("runAsUser"),
            Key::new(
                "run_as_group",
                NUMBER_OF,
                Said("the image's own"),
                "Number of the group that containers run as (H).",
            )
            .or("runAsGroup"),
            Key::new("fs_group", NUMBER_OF, Nothing, "Number of the group that volumes are given to (H).")
                .or("fsGroup"),
            Key::new(
                "active_deadline_seconds",
                "whole number from 1 to 2147483647",
                Nothing,
                "How long a Job may be active from its start on; then it is ended, and fails with `Deadline` (H).",
            )
            .or("activeDeadlineSeconds"),
            Key::new(
                "retries",
                "whole number from 0 to 20",
                Value("0"),
                "How many further pods follow one that failed; see [Retries](reasons.md#retries) (H).",
            ),
            Key::new(
                "fail_on_exit_codes",
                "list of whole numbers from 1 to 255",
                Nothing,
                "Exit codes of the main container after which no further pod follows (H).",
            )
            .or("failOnExitCodes"),
            Key::new(
                "max_live",
                "whole number, 1 or more",
                Said("`dispatcher.max_live_per_process`"),
                "How many of its jobs may be live together, over all replicas; the others wait, in their order (H).",
            ),
            Key::new(
                "inputs_as",
                "`auto`, `environment`, `file`",
                Value("auto"),
                "How inputs reach the container: in `PYGEOAPI_K8S_MANAGER_INPUTS`, or in the file that `PYGEOAPI_K8S_MANAGER_INPUTS_FILE` names. `auto` takes \
                 the file where they do not fit into one environment variable (128 KiB); with `environment` such an execution fails with `ConfigError`.",
            ),
            Key::new(
                "results",
                "`markers`, `files`, `upload`",
                Value("markers"),
                "How outputs come out of the container: printed after the log marker; as a file of each output's name in the folder \
                 `QUAYSIDE_RESULTS`; or sent with PUT to the URL `QUAYSIDE_OUTPUT_<ID>_URL` of each. `<ID>` is the output's id in capitals, all \
                 but ASCII letters and digits written `_`; with `files` and `upload`, ids that become the same are a mistake at start.",
            ),
            Key::new(
                "results_limit",
                "an amount such as `2Gi`",
                Nothing,
                "With `results: files`: what all files together may take on the node; a pod that takes more is evicted.",
            ),
            Key::new(
                "collect_seconds",
                "1 to 86400",
                Value("120"),
                "With `results: files`: how long storing the files may take after the container has ended. So long may a dismissed job's container \
                 go on that does not end when asked to.",
            ),
            Key::new(
                "queue_name",
                "name of a `LocalQueue` of Kueue",
                Nothing,
                "Jobs are created suspended and wait in that queue, for as long as it takes; the status says so (H).",
            )
            .or("queueName"),
            Key::new(
                "namespace",
                "name of a namespace",
                Said("the dispatcher's"),
                "Where Jobs are (H). Dispatcher and finalizer need their Roles there, and `finalizer.namespaces` has to name it.",
            ),
            Key::new(
                "labels",
                "mapping of text to text",
                Value("{}"),
                "Labels of Job and pod; those of Quayside and of Kubernetes' Job controller are refused (H).",
            ),
            Key::new(
                "annotations",
                "mapping of text to text, at most 128 KiB together",
                Value("{}"),
                "Annotations of Job and pod; the same are refused (H).",
            ),
        ],
    },
    Section {
        path: "resources.<id>.processor.env[]",
        about: "A variable: `name` and `value`, or `name`, `secret_name` and `secret_key`.",
        keys: &[
            Key::new("name", "ASCII without `=`", Required, "Its name."),
            Key::new(
                "value",
                "text, number, true or false",
                Nothing,
                "Its value, turned to text as Python does it: `True`, `1024`, `1.5`. `$(NAME)` is replaced by Kubernetes.",
            ),
            Key::new("secret_name", "name of a secret", Nothing, "The secret that has the value."),
            Key::new("secret_key", "text", Nothing, "The key in it."),
        ],
    },
    Section {
        path: "resources.<id>.processor.resources",
        about: "With neither: requests 100m CPU and 128Mi memory, limits 1 CPU and 512Mi memory. With one of them the other stays empty.",
        keys: &[
            Key::new("limits", AMOUNTS, Value("{}"), "The most that the main container may use."),
            Key::new("requests", AMOUNTS, Value("{}"), "What is reserved for it."),
        ],
    },
    Section {
        path: "resources.<id>.processor.storage[]",
        about: "A volume, with exactly one of `persistent_volume_claim_name`, `empty_dir`, `secret_name` and `config_map_name`.",
        keys: &[
            Key::new(
                "name",
                "at most 63 lower-case letters, digits and inner hyphens, not beginning with `quayside-`",
                Required,
                "By which init containers mount it.",
            ),
            Key::new(
                "mount_path",
                "absolute path without colon, not `/quayside` nor below it",
                Required,
                "Where the main container sees it.",
            ),
            Key::new("read_only", "true or false", Value("false"), "Whether the main container may only read it.")
                .or("readOnly"),
            Key::new("persistent_volume_claim_name", "name of a claim", Nothing, "An existing claim."),
            Key::new("empty_dir", "mapping, or nothing", Nothing, "A folder that lives as long as the pod."),
            Key::new("secret_name", "name of a secret", Nothing, "The keys of a secret, as files."),
            Key::new("config_map_name", "name of a ConfigMap", Nothing, "The keys of a ConfigMap, as files."),
            Key::new(
                "items",
                "list of `KeyToPath` objects of Kubernetes: `key`, `path`, `mode`",
                Said("all keys, under their names"),
                "Those keys of a secret or ConfigMap that become files.",
            ),
        ],
    },
    Section {
        path: "resources.<id>.processor.storage[].empty_dir",
        about: "A folder that lives as long as the pod.",
        keys: &[
            Key::new("size_limit", "amount, such as `16Mi`", Nothing, "The most it may hold."),
            Key::new(
                "medium",
                "empty, `Memory`, `HugePages` or `HugePages-<size>`",
                Value("\"\""),
                "Where it is kept; empty: on the node's disk.",
            ),
        ],
    },
    Section {
        path: "resources.<id>.processor.init_containers[]",
        about: "A container that runs to its end before the main one. It gets the process's `pod_security`, `PYGEOAPI_JOB_ID` and `PYGEOAPI_PROCESS_ID`.",
        keys: &[
            Key::new(
                "name",
                "at most 63 lower-case letters, digits and inner hyphens, not beginning with `quayside-`",
                Required,
                "Its name, once in the pod.",
            ),
            Key::new("image", "name of an image", Required, "Its image."),
            Key::new(
                "imagePullPolicy",
                "`Always`, `IfNotPresent`, `Never`",
                Said("Kubernetes' own"),
                "When the node pulls its image.",
            ),
            Key::new("command", "list of texts", Said("the image's own"), "Its command."),
            Key::new("args", "list of texts", Said("the image's own"), "Its arguments."),
            Key::new("env", "list of `EnvVar` objects of Kubernetes", Value("[]"), "Its environment."),
            Key::new(
                "volumeMounts",
                "list of `VolumeMount` objects of Kubernetes",
                Value("[]"),
                "Where it sees volumes of `storage`.",
            ),
            Key::new("resources", "a `ResourceRequirements` object of Kubernetes", Nothing, "What it may use."),
        ],
    },
    Section {
        path: "resources.<id>.processor.tolerations[]",
        about: "A taint that pods may run beside, with Kubernetes' meaning.",
        keys: &[
            Key::new("key", "text", Said("every taint, with the operator `Exists`"), "The taint's key."),
            Key::new("operator", "`Equal`, `Exists`", Said("`Equal`"), "Whether its value counts."),
            Key::new("value", "text", Nothing, "Its value; not with `Exists`."),
            Key::new("effect", "`NoSchedule`, `PreferNoSchedule`, `NoExecute`", Said("every effect"), "Its effect."),
            Key::new(
                "toleration_seconds",
                "whole number",
                Said("without end"),
                "How long a taint `NoExecute` is borne.",
            )
            .or("tolerationSeconds"),
        ],
    },
    Section {
        path: "resources.<id>.processor.metadata",
        about: "What clients see of the process.",
        keys: &[
            Key::new("id", "text", Nothing, "One that differs from the key in `resources` is warned of."),
            Key::new("version", "text", Required, "Version of the process."),
            Key::new("title", BY_LANGUAGE, Required, "Its title."),
            Key::new("description", BY_LANGUAGE, Required, "What it does."),
            Key::new("keywords", KEYWORDS, Value("[]"), "Keywords."),
            Key::new("links", "list of mappings", Value("[]"), "Further pages."),
            Key::new("inputs", "mapping of id to description", Value("{}"), "What it takes."),
            Key::new("outputs", "mapping of id to description", Value("{}"), "What it gives."),
            Key::new("example", "anything", Nothing, "An execution request that works."),
            Key::new(
                "jobControlOptions",
                "list of `sync-execute`, `async-execute`, `dismiss`",
                Value("[sync-execute, async-execute, dismiss]"),
                "How it may be executed.",
            ),
            Key::new("metadata", "anything", Nothing, "Passed on as it is."),
            Key::new("additionalParameters", "anything", Nothing, "Passed on as it is."),
            Key::new("outputTransmission", "anything", Nothing, "Read without effect."),
        ],
    },
    Section {
        path: "resources.<id>.processor.metadata.inputs.<id>",
        about: "One input.",
        keys: &[
            Key::new("title", BY_LANGUAGE, Said("its id"), "Its title."),
            Key::new("description", BY_LANGUAGE, Nothing, "What it is."),
            Key::new("schema", "JSON schema, as in OpenAPI 3.0", Value("{}"), "What is allowed."),
            Key::new("minOccurs", "whole number", Value("1"), "How many values at least; 0: optional."),
            Key::new(
                "maxOccurs",
                "whole number from 1, or `unbounded`",
                Said("`minOccurs`, or 1"),
                "How many at most.",
            ),
            Key::new("keywords", KEYWORDS, Nothing, "Keywords."),
            Key::new("metadata", "anything", Nothing, "Passed on as it is."),
            Key::new("additionalParameters", "anything", Nothing, "Passed on as it is."),
        ],
    },
    Section {
        path: "resources.<id>.processor.metadata.outputs.<id>",
        about: "One output.",
        keys: &[
            Key::new("title", BY_LANGUAGE, Said("its id"), "Its title."),
            Key::new("description", BY_LANGUAGE, Nothing, "What it is."),
            Key::new(
                "schema",
                "JSON schema, as in OpenAPI 3.0",
                Value("{}"),
                "What comes out; its `contentMediaType` is the media type.",
            ),
            Key::new("keywords", KEYWORDS, Nothing, "Keywords."),
            Key::new("metadata", "anything", Nothing, "Passed on as it is."),
            Key::new("additionalParameters", "anything", Nothing, "Passed on as it is."),
        ],
    },
    Section {
        path: "resources.<id>.processor.metadata.links[]",
        about: "A page about the process.",
        keys: &[
            Key::new("href", "URL", Required, "Where it is."),
            Key::new("rel", "text", Nothing, "What it is to the process."),
            Key::new("type", "media type", Nothing, "Its media type."),
            Key::new("title", BY_LANGUAGE, Nothing, "Its title."),
            Key::new("hreflang", "language tag", Nothing, "Its language."),
        ],
    },
];
