//! `/jobs/{id}`: the status of one job (requirement `/req/core/job-success`); its end (requirement
//! `/req/dismiss/job-dismiss-op`).

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{
    app::Gateway,
    callbacks,
    dismiss::{self, Deleted},
    error::GatewayError,
    query::Query,
    status::StatusInfo,
};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let callbacks = callbacks::of(&gateway, &record).await;
    answer::ok(&gateway, &StatusInfo::of_record(&record, &gateway.urls).with_callbacks(callbacks))
}

pub(super) async fn delete(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    Query::parse(request.query_string())?;
    let record = answer::job(&gateway, &request).await?;
    let process = gateway.configuration.processes.get(&record.process_id);
    let status = match dismiss::delete(&gateway, record, process).await? {
        Deleted::Dismissed(record) => StatusInfo::of_record(&record, &gateway.urls),
        Deleted::Removed(record) => StatusInfo::of_removed(&record, &gateway.urls),
    };
    answer::ok(&gateway, &status)
}
