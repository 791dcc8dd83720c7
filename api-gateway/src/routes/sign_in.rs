//! `/signin`: where someone signs in. It is a page only.

use actix_web::{HttpRequest, HttpResponse, web};

use super::answer;
use crate::{app::Gateway, error::GatewayError, pages, query::Query};

pub(super) async fn get(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let query = Query::of_forms(request.query_string(), &["html"])?;
    pages::sign_in::page(&gateway, &request, answer::language(&gateway, &request, &query))
}
