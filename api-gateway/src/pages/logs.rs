//! The end of the log of a job. What a container printed is shown as text, never as markup.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web::Data};
use askama::Template;
use jiff::Timestamp;
use protocol::JobRecord;
use serde_json::json;

use super::{Section, Shown, Site, job::Job, times};
use crate::{
    app::Gateway,
    error::GatewayError,
    links::Link,
    logs::{self, Asked, Tail},
    status::StatusInfo,
};

/// Bytes of a log that a page shows.
const SHOWN: u64 = 64 * 1024;

#[derive(Template)]
#[template(path = "logs.html")]
struct Page<'a> {
    site: Site<'a>,
    job: Job,
    shown: String,
    size: String,
    /// Whether there is more before it.
    is_cut: bool,
    /// Whether more may come.
    is_live: bool,
    gaps: u64,
    /// The text itself.
    text: String,
    /// Names of containers, and where the log of each is.
    containers: Vec<(String, String)>,
    links: Vec<Shown>,
}

/// The page of the log that is asked for.
pub(crate) async fn page(
    gateway: &Data<Gateway>,
    request: &HttpRequest,
    language: &str,
    record: &Arc<JobRecord>,
    asked: &Asked,
) -> Result<HttpResponse, GatewayError> {
    let Tail { bytes, before, is_live, gaps, containers } = logs::tail(gateway, record, asked, SHOWN).await?;
    let url = gateway.urls.logs(&record.job_id);
    let of = |query: &[(&str, &str)]| {
        let mut text = url::form_urlencoded::Serializer::new(String::new());
        text.extend_pairs(query);
        format!("{url}?{}", text.finish())
    };
    let mut query: Vec<(&str, &str)> = Vec::new();
    query.extend(asked.container.as_deref().map(|name| ("container", name)));
    query.extend(asked.pod.as_deref().map(|name| ("pod", name)));
    query.push(("f", "txt"));
    let text = of(&query);
    let links = [
        Link { href: text.clone(), rel: "alternate", media_type: Some("text/plain"), title: "this log, for programs" },
        Link::json(gateway.urls.job(&record.job_id), "up", "the job"),
    ];
    let page = Page {
        site: Site::of(gateway, request, language, Section::Jobs).only_html(),
        job: Job::of(gateway, language, &StatusInfo::of_record(record, &gateway.urls), Timestamp::now()),
        size: times::bytes(before + u64::try_from(bytes.len()).unwrap_or_default()),
        shown: shown(&bytes, before > 0),
        is_cut: before > 0,
        is_live,
        gaps,
        text,
        containers: containers.iter().map(|name| (name.clone(), of(&[("container", name), ("f", "html")]))).collect(),
        links: Shown::all(&json!({"links": links})),
    };
    super::page(gateway, StatusCode::OK, &page)
}

/// Bytes as text; of a log that was cut, without the rest of a line at its beginning, where it has another line.
fn shown(bytes: &[u8], is_cut: bool) -> String {
    let begin = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if is_cut && end + 1 < bytes.len() => end + 1,
        _ => 0,
    };
    let text = String::from_utf8_lossy(&bytes[begin..]);
    // What moves the cursor of a terminal moves nothing here.
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_container_printed_becomes_text_that_begins_with_a_line() {
        assert_eq!(shown(b"rest\nline\n", true), "line\n");
        assert_eq!(shown(b"one line that is long", true), "one line that is long");
        assert_eq!(shown(b"a\nb", false), "a\nb");
        assert_eq!(shown(b"\x1b[31mred\xff\r\n\tx\0", false), "[31mred\u{fffd}\n\tx");
    }
}
