//! The resources of the API, one file each, and the one table of them: what serves is what `/openapi` documents.

mod answer;
mod conformance;
mod dismissal;
mod execution;
mod job;
mod job_logs;
mod job_output;
mod job_results;
mod jobs;
mod landing;
mod openapi;
mod process;
mod processes;
mod sign_in;
#[cfg(test)]
mod tests;

pub(crate) use self::execution::body::discard;

use actix_web::{
    HttpResponse, Route, guard,
    http::Method,
    middleware::from_fn,
    web::{self, ServiceConfig},
};

use crate::{
    access::{self, Rule},
    error::GatewayError,
    openapi::{Describe, Document, operations},
    pages,
    rates::Cost,
};

/// A path and what can be done there.
pub(crate) struct Resource {
    /// Path below the base, with its parameters in braces.
    pub(crate) path: &'static str,
    /// One for each method.
    pub(crate) operations: &'static [Operation],
}

/// A method of a resource.
pub(crate) struct Operation {
    /// The method; `GET` stands for `HEAD`, too.
    pub(crate) verb: Verb,
    /// A route to the handler, for any method.
    serve: fn() -> Route,
    /// What it wants of who asks.
    pub(crate) rule: Rule,
    /// What a request is counted as.
    pub(crate) cost: Cost,
    /// How the definition describes it; `None` for what is no part of the API.
    pub(crate) document: Option<Document>,
}

/// The methods that the API has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    /// The methods that it stands for.
    pub(crate) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Get => &["GET", "HEAD"],
            Self::Post => &["POST"],
            Self::Delete => &["DELETE"],
        }
    }

    fn takes(self, method: &Method) -> bool {
        self.words().contains(&method.as_str())
    }
}

/// Everything that is served.
pub(crate) const RESOURCES: &[Resource] = &[
    Resource { path: "/", operations: &[get(Rule::Open, || web::to(landing::get), operations::landing)] },
    Resource {
        path: "/conformance",
        operations: &[get(Rule::Open, || web::to(conformance::get), operations::conformance)],
    },
    Resource { path: "/openapi", operations: &[get(Rule::Open, || web::to(openapi::get), operations::definition)] },
    Resource { path: "/openapi/page/{file}", operations: &[part(|| web::to(openapi::page::file))] },
    Resource { path: "/pages/{file}", operations: &[part(|| web::to(pages::assets::file))] },
    Resource { path: "/signin", operations: &[hidden(Rule::Open, || web::to(sign_in::get))] },
    Resource { path: "/processes", operations: &[get(Rule::Open, || web::to(processes::get), operations::processes)] },
    Resource {
        path: "/processes/{processID}",
        operations: &[get(Rule::Open, || web::to(process::get), operations::process)],
    },
    Resource {
        path: "/processes/{processID}/execution",
        operations: &[Operation {
            verb: Verb::Post,
            serve: || web::to(execution::post),
            rule: Rule::Execute,
            cost: Cost::Execution,
            document: Some(Document::OfEachProcess(operations::execution)),
        }],
    },
    Resource { path: "/jobs", operations: &[get(Rule::List, || web::to(jobs::get), operations::jobs)] },
    Resource {
        path: "/jobs/{jobID}",
        operations: &[
            get(Rule::Job, || web::to(job::get), operations::job),
            Operation {
                verb: Verb::Delete,
                serve: || web::to(job::delete),
                rule: Rule::Dismiss,
                cost: Cost::Execution,
                document: Some(Document::Once(operations::dismiss)),
            },
        ],
    },
    Resource {
        path: "/jobs/{jobID}/dismiss",
        operations: &[
            hidden(Rule::Job, || web::to(dismissal::get)),
            Operation {
                verb: Verb::Post,
                serve: || web::to(dismissal::post),
                rule: Rule::DismissForm,
                cost: Cost::Execution,
                document: None,
            },
        ],
    },
    Resource {
        path: "/jobs/{jobID}/logs",
        operations: &[get(Rule::Logs, || web::to(job_logs::get), operations::job_logs)],
    },
    Resource {
        path: "/jobs/{jobID}/results",
        operations: &[get(Rule::Job, || web::to(job_results::get), operations::job_results)],
    },
    Resource {
        path: "/jobs/{jobID}/results/{outputID}",
        operations: &[get(Rule::Job, || web::to(job_output::get), operations::job_output)],
    },
];

const fn get(rule: Rule, serve: fn() -> Route, document: Describe) -> Operation {
    Operation { verb: Verb::Get, serve, rule, cost: Cost::Read, document: Some(Document::Once(document)) }
}

const fn hidden(rule: Rule, serve: fn() -> Route) -> Operation {
    Operation { verb: Verb::Get, serve, rule, cost: Cost::Read, document: None }
}

/// What pages are made of.
const fn part(serve: fn() -> Route) -> Operation {
    Operation { verb: Verb::Get, serve, rule: Rule::Open, cost: Cost::Nothing, document: None }
}

/// An operation, for who checks that all of them keep their rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Path below the base, with its parameters in braces.
    pub path: &'static str,
    /// A method.
    pub method: &'static str,
    /// What is asked of who comes.
    pub rule: Rule,
}

/// Every operation that is served, each of its methods alone.
pub fn table() -> impl Iterator<Item = Served> {
    RESOURCES.iter().flat_map(|resource| {
        let of_operation = |operation: &'static Operation| {
            let methods = operation.verb.words().iter();
            methods.map(|method| Served { path: resource.path, method, rule: operation.rule })
        };
        resource.operations.iter().flat_map(of_operation)
    })
}

/// Puts every resource below `base`, which is empty or begins with a slash and does not end with one.
pub fn configure(app: &mut ServiceConfig, base: &str) {
    for resource in RESOURCES {
        let path = match resource.path {
            "/" if !base.is_empty() => base.to_owned(),
            path => format!("{base}{path}"),
        };
        let served = resource.operations.iter().fold(web::resource(path), |served, operation| {
            let (verb, rule, cost) = (operation.verb, operation.rule, operation.cost);
            let admitted =
                (operation.serve)().wrap(from_fn(move |request, next| access::admit(rule, cost, request, next)));
            served.route(admitted.guard(guard::fn_guard(move |context| verb.takes(&context.head().method))))
        });
        app.service(served.default_service(web::to(|| method_not_allowed(resource))));
    }
    app.default_service(web::to(no_such_path));
}

impl Resource {
    /// The value of `Allow`.
    pub(crate) fn allowed(&self) -> String {
        let words: Vec<&str> = self.operations.iter().flat_map(|operation| operation.verb.words()).copied().collect();
        words.join(", ")
    }
}

async fn method_not_allowed(resource: &'static Resource) -> Result<HttpResponse, GatewayError> {
    Err(GatewayError::MethodNotAllowed(resource.allowed()))
}

async fn no_such_path() -> Result<HttpResponse, GatewayError> {
    Err(GatewayError::NoSuchPath)
}
