//! The page to try the API: Swagger UI, served from here, so that it needs nobody else.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use utoipa_swagger_ui::Config;

use crate::{app::Gateway, error::GatewayError};

/// Only what this server sends is run and shown. Swagger UI sets styles on elements and has pictures in its style sheet.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Assets change with the program only.
const DAY: &str = "public, max-age=86400";

/// The page.
pub(super) fn page(gateway: &Gateway, language: &str) -> HttpResponse {
    let assets = gateway.urls.definition_page();
    let title = gateway.configuration.metadata.identification.title.text(language);
    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"{assets}/swagger-ui.css\">\n\
         <link rel=\"stylesheet\" href=\"{assets}/index.css\">\n\
         <link rel=\"icon\" type=\"image/png\" href=\"{assets}/favicon-32x32.png\">\n</head>\n<body>\n\
         <div id=\"swagger-ui\"></div>\n<script src=\"{assets}/swagger-ui-bundle.js\"></script>\n\
         <script src=\"{assets}/swagger-ui-standalone-preset.js\"></script>\n\
         <script src=\"{assets}/swagger-initializer.js\"></script>\n\
         <noscript><a href=\"{definition}?f=json\">{definition}?f=json</a></noscript>\n</body>\n</html>\n",
        language = escaped(language),
        title = escaped(title),
        assets = escaped(&assets),
        definition = escaped(&gateway.urls.openapi()),
    );
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(html)
}

/// A file of the page.
pub(crate) async fn file(gateway: web::Data<Gateway>, request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let name = request.match_info().get("file").unwrap_or_default();
    let config = Config::from(format!("{}?f=json", gateway.urls.openapi())).use_base_layout();
    let file =
        utoipa_swagger_ui::serve(name, Arc::new(config)).map_err(|error| GatewayError::internal(error.to_string()))?;
    let file = file.filter(|_| !name.is_empty()).ok_or(GatewayError::NoSuchPath)?;
    Ok(HttpResponse::Ok()
        .content_type(file.content_type)
        .insert_header((header::CACHE_CONTROL, DAY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(file.bytes.into_owned()))
}

/// Text as it stands in HTML, attributes included.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_configuration_are_no_markup() {
        assert_eq!(escaped("<b a=\"x\" b='y'>&"), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
    }
}
