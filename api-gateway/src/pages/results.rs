//! The results of a job. What a container printed is shown as text or as a picture, never as markup.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode};
use askama::Template;
use jiff::Timestamp;
use protocol::JobRecord;
use serde_json::json;

use super::{Section, Shown, Site, job::Job, times};
use crate::{
    app::Gateway,
    error::GatewayError,
    links::Link,
    results::{Preview, lend},
    status::StatusInfo,
};

#[derive(Template)]
#[template(path = "results.html")]
struct Results<'a> {
    site: Site<'a>,
    job: Job,
    outputs: Vec<Output>,
    links: Vec<Shown>,
}

struct Output {
    id: String,
    title: String,
    media_type: String,
    size: String,
    url: String,
    shown: Preview,
}

/// The page of the outputs that are asked for, or of all.
pub(crate) async fn page(
    gateway: &Gateway,
    request: &HttpRequest,
    language: &str,
    record: &JobRecord,
    outputs: Option<&[String]>,
) -> Result<HttpResponse, GatewayError> {
    let (previews, portion) = gateway.values.previews(record, outputs).await?;
    let process = gateway.configuration.processes.get(&record.process_id);
    let outputs = previews.into_iter().map(|it| {
        let declared = process.and_then(|process| process.description.outputs.get(&it.id));
        let shown = match it.shown {
            Preview::Text { text, is_cut: false } if protocol::media_type::is_json(&it.media_type) => {
                Preview::Text { text: super::laid_out(text), is_cut: false }
            }
            shown => shown,
        };
        Output {
            title: declared.map_or(it.id.as_str(), |it| it.title.text(language)).to_owned(),
            size: times::bytes(it.size),
            url: gateway.urls.output(&record.job_id, &it.id),
            media_type: it.media_type,
            id: it.id,
            shown,
        }
    });
    let outputs: Vec<Output> = outputs.collect();
    let links = [
        Link {
            href: super::with_form(&gateway.urls.results(&record.job_id), "json"),
            rel: "alternate",
            media_type: None,
            title: "these results, for programs",
        },
        Link::json(gateway.urls.job(&record.job_id), "up", "the job"),
    ];
    let page = Results {
        site: Site::of(gateway, request, language, Section::Jobs),
        job: Job::of(gateway, language, &StatusInfo::of_record(record, &gateway.urls), Timestamp::now()),
        links: Shown::all(&json!({"links": links})),
        outputs,
    };
    let answer = super::page(gateway, StatusCode::OK, &page)?;
    lend(answer, portion, gateway.settings.send_timeout).ok_or(GatewayError::ResultsBusy)
}
