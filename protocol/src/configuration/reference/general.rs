//! `server`, `logging` and `metadata`.

use super::{
    Default::{Nothing, Required, Said, Value},
    Key, Section,
};

const BY_LANGUAGE: &str = "text, or a mapping of language to text";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        path: "",
        about: "The whole file.",
        keys: &[
            Key::new("server", "mapping", Required, "How the API is served, and how jobs are managed."),
            Key::new("logging", "mapping", Nothing, "What is logged."),
            Key::new("metadata", "mapping", Nothing, "Who offers the service, and under which terms."),
            Key::new("resources", "mapping of id to resource", Required, "The processes, in the order of their lists."),
        ],
    },
    Section {
        path: "server",
        about: "How the API is served.",
        keys: &[
            Key::new("bind", "mapping", Nothing, "Where the gateway listens."),
            Key::new(
                "url",
                "http or https URL, with a path or without",
                Said("`http://localhost:<port>`, with a warning"),
                "What every link begins with, as clients see it. A final slash is dropped.",
            ),
            Key::new(
                "languages",
                "list of language tags",
                Value("[en-US]"),
                "Languages of the answers, the first if none is asked for.",
            ),
            Key::new(
                "language",
                "language tag",
                Nothing,
                "One language, as older files have it; without effect beside `languages`.",
            ),
            Key::new("cors", "true or false", Value("false"), "Whether pages of other sites may ask."),
            Key::new("pretty_print", "true or false", Value("false"), "Whether JSON is laid out."),
            Key::new("gzip", "true or false", Value("false"), "Whether answers are compressed for who takes that."),
            Key::new("limits", "mapping", Nothing, "How long lists are."),
            Key::new("manager", "mapping", Required, "How jobs are managed."),
            Key::new("mimetype", "anything", Nothing, "Read without effect."),
            Key::new("encoding", "anything", Nothing, "Read without effect."),
            Key::new("map", "anything", Nothing, "Read without effect."),
            Key::new("admin", "anything", Nothing, "Read without effect."),
        ],
    },
    Section {
        path: "server.bind",
        about: "Where the gateway listens; `CONTAINER_HOST` and `CONTAINER_PORT` come before it.",
        keys: &[
            Key::new("host", "name or address", Value("0.0.0.0"), "The address."),
            Key::new("port", "whole number from 0 to 65535", Value("5000"), "The port."),
        ],
    },
    Section {
        path: "server.limits",
        about: "How long lists are.",
        keys: &[
            Key::new(
                "default_items",
                "whole number, 1 or more",
                Value("10"),
                "Items of a page where no `limit` is asked for.",
            ),
            Key::new("max_items", "whole number, 1 or more", Value("10"), "The most items of a page."),
            Key::new(
                "on_exceed",
                "`throttle`, `error`",
                Value("throttle"),
                "A higher `limit` is taken down, or answered with 400.",
            ),
        ],
    },
    Section {
        path: "server.manager",
        about: "How jobs are managed.",
        keys: &[
            Key::new(
                "name",
                "dotted name that ends in `KubernetesManager`",
                Required,
                "The manager, as pygeoapi names it.",
            ),
            Key::new(
                "finalizer_controller",
                "true or false",
                Value("false"),
                "Whether logs are archived, and pods held until theirs is.",
            ),
            Key::new("logging", "mapping of library to level", Nothing, "Read and checked, without effect."),
            Key::new(
                "sync_link",
                "true or false",
                Value("true"),
                "Whether a synchronous answer has a `Link` to its job; false for a certification run.",
            ),
            Key::new(
                "protect_jobs",
                "true or false",
                Said("lists and logs need a token; one job its id, which can't be guessed"),
                "Whether all that is shown of jobs needs a token, or nothing does.",
            ),
            Key::new(
                "protect_dismiss",
                "true or false",
                Value("true"),
                "Whether dismissing needs a token; false for a certification run.",
            ),
        ],
    },
    Section {
        path: "logging",
        about: "What is logged.",
        keys: &[
            Key::new(
                "level",
                "`CRITICAL`, `ERROR`, `WARNING`, `INFO`, `DEBUG`, `NOTSET`",
                Said("`info`"),
                "The level of all services, unless `telemetry.filter` is set.",
            ),
            Key::new("logfile", "text", Nothing, "Read without effect."),
            Key::new("logformat", "text", Nothing, "Read without effect."),
            Key::new("dateformat", "text", Nothing, "Read without effect."),
        ],
    },
    Section {
        path: "metadata",
        about: "Who offers the service. Every text may be one, or a mapping of language to text.",
        keys: &[
            Key::new("identification", "mapping", Nothing, "What the service is."),
            Key::new("license", "mapping", Nothing, "Terms of use."),
            Key::new("provider", "mapping", Nothing, "Who offers it."),
            Key::new("contact", "mapping", Nothing, "Whom to ask."),
        ],
    },
    Section {
        path: "metadata.identification",
        about: "What the service is.",
        keys: &[
            Key::new("title", BY_LANGUAGE, Value("Quayside"), "Its name."),
            Key::new("description", BY_LANGUAGE, Value("\"\""), "What it does."),
            Key::new("keywords", "list of texts, or a mapping of language to such a list", Value("[]"), "Keywords."),
            Key::new("keywords_type", "text", Nothing, "Read without effect."),
            Key::new("terms_of_service", BY_LANGUAGE, Nothing, "Under which terms it is offered."),
            Key::new("url", BY_LANGUAGE, Nothing, "A page about it."),
        ],
    },
    Section {
        path: "metadata.license",
        about: "Terms of use.",
        keys: &[
            Key::new("name", BY_LANGUAGE, Nothing, "Name of the licence."),
            Key::new("url", BY_LANGUAGE, Nothing, "Its text."),
        ],
    },
    Section {
        path: "metadata.provider",
        about: "Who offers the service.",
        keys: &[
            Key::new("name", BY_LANGUAGE, Nothing, "Name of the organisation."),
            Key::new("url", BY_LANGUAGE, Nothing, "Its page."),
        ],
    },
    Section {
        path: "metadata.contact",
        about: "Whom to ask.",
        keys: &[
            Key::new("name", BY_LANGUAGE, Nothing, "Name."),
            Key::new("position", BY_LANGUAGE, Nothing, "Position."),
            Key::new("address", BY_LANGUAGE, Nothing, "Street and number."),
            Key::new("city", BY_LANGUAGE, Nothing, "City."),
            Key::new("stateorprovince", BY_LANGUAGE, Nothing, "State or province."),
            Key::new("postalcode", BY_LANGUAGE, Nothing, "Postal code."),
            Key::new("country", BY_LANGUAGE, Nothing, "Country."),
            Key::new("phone", BY_LANGUAGE, Nothing, "Telephone number."),
            Key::new("fax", BY_LANGUAGE, Nothing, "Fax number."),
            Key::new("email", BY_LANGUAGE, Nothing, "Electronic mail."),
            Key::new("url", BY_LANGUAGE, Nothing, "A page."),
            Key::new("hours", BY_LANGUAGE, Nothing, "When somebody is there."),
            Key::new("instructions", BY_LANGUAGE, Nothing, "How to ask."),
            Key::new("role", BY_LANGUAGE, Nothing, "Role, such as `pointOfContact`."),
        ],
    },
];
