//! `/conformance`: the classes that are met (requirement `/req/core/conformance-success`).

use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::answer;
use crate::{
    app::Gateway,
    error::GatewayError,
    pages::{self, Form},
    query::Query,
};

/// A class is named once every requirement of it is met and tested: `tests/conformance/requirements.yaml` says by which
/// tests.
const CLASSES: [&str; 7] = [
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/ogc-process-description",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/json",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/html",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/oas30",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/job-list",
    "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/dismiss",
];
/// Met unless calling back is switched off.
const CALLBACK: &str = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/callback";

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::parse(request.query_string())?;
    let callback = gateway.callbacks.policy().map(|_| CALLBACK);
    let classes: Vec<&str> = CLASSES.into_iter().chain(callback).collect();
    match pages::form_of(&request, &query) {
        Form::Json => answer::ok(&gateway, &json!({"conformsTo": classes})),
        Form::Html => {
            let language = answer::language(&gateway, &request, &query);
            pages::conformance::page(&gateway, &request, language, &classes)
        }
    }
}
