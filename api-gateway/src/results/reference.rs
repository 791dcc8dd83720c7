//! URLs and links that stand for outputs.

use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use platform::telemetry::chain;
use protocol::{JobRecord, job_record::Place};
use tracing::warn;

use super::{
    disposition,
    printed::{Content, Output},
    values::Values,
};
use crate::media_type;

/// What can't stand in a quoted string of a header as it is.
const UNQUOTED: &AsciiSet = &CONTROLS.add(b'"').add(b'\\').add(b'%');

impl Values {
    /// A URL of one output: presigned where that is configured and it is an object, else the gateway's own.
    pub(super) async fn url(&self, record: &JobRecord, output: &Output) -> String {
        if let (Some(valid_for), Content::Stored(Place::Object(key))) = (self.presigned, &output.content)
            && let Some(url) = self.presigned_url(key, output, valid_for).await
        {
            return url;
        }
        self.urls.output(&record.job_id, &output.id)
    }

    async fn presigned_url(&self, key: &str, output: &Output, valid_for: Duration) -> Option<String> {
        let objects = self.store.objects()?.clone();
        let media_type = media_type::header_value(&output.media_type).to_str().unwrap_or_default().to_owned();
        let disposition = disposition::of(&output.id, &output.media_type);
        let key = key.to_owned();
        let presigning = self.runtime.spawn(async move {
            let url = objects.presign_get(&key, valid_for, &media_type, &disposition).await;
            url.inspect_err(
                |error| warn!(error = %chain(error), "the gateway's own URL is given in place of a presigned one"),
            )
        });
        presigning.await.ok()?.ok()
    }
}

/// The value of a header `Link` to an output (RFC 8288). An id is no relation type: it is the title.
pub(super) fn link(url: &str, output: &Output) -> String {
    let media_type = media_type::header_value(&output.media_type);
    let media_type = media_type.to_str().unwrap_or_default().replace('"', "\\\"");
    format!("<{url}>; rel=\"related\"; title=\"{}\"; type=\"{media_type}\"", header_text(&output.id))
}

/// An id as it can stand in a header: itself, or percent-encoded where it holds what can't.
pub(super) fn header_text(id: &str) -> String {
    utf8_percent_encode(id, UNQUOTED).to_string()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_link_names_the_output_and_its_media_type() {
        let output = |id: &str, media_type: &str| Output {
            id: id.into(),
            media_type: media_type.into(),
            size: 0,
            sha256: String::new(),
            content: Content::Held(Bytes::new()),
        };
        let expected = "<http://x/a>; rel=\"related\"; title=\"a b\"; type=\"text/csv\"";
        assert_eq!(link("http://x/a", &output("a b", "text/csv")), expected);
        let strange = link("u", &output("a\"\r\nü", "text/csv; header=\"present\""));
        let expected = "<u>; rel=\"related\"; title=\"a%22%0D%0A%C3%BC\"; type=\"text/csv; header=\\\"present\\\"\"";
        assert_eq!(strange, expected);
    }
}
