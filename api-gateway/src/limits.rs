//! What may be told of a request by its head alone: how long it may be, and what a path may be made of.

use actix_web::http::{Uri, header::HeaderMap};

use crate::{error::GatewayError, settings::GatewaySettings};

/// Holds a head against the limits. Nothing is ever redirected.
///
/// # Errors
/// The first limit that it breaks.
pub fn check(uri: &Uri, headers: &HeaderMap, settings: &GatewaySettings) -> Result<(), GatewayError> {
    let query = uri.query().unwrap_or("");
    if uri.path().len() + query.len() > settings.max_uri {
        return Err(GatewayError::UriTooLong { limit: settings.max_uri });
    }
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes > settings.max_head {
        return Err(GatewayError::HeadTooLarge { limit: settings.max_head });
    }
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty()).count();
    if parameters > settings.max_query_parameters {
        let most = settings.max_query_parameters;
        return Err(GatewayError::invalid(format!("the query has more than {most} parameters")));
    }
    if !is_readable(uri.path()) {
        return Err(GatewayError::invalid("the path is not percent-encoded UTF-8 without control characters"));
    }
    // A final slash is taken as if it were not there, an empty segment elsewhere names nothing.
    if uri.path().contains("//") { Err(GatewayError::NoSuchPath) } else { Ok(()) }
}

/// Whether each `%` begins a byte, and all bytes together are text.
fn is_readable(path: &str) -> bool {
    let is_encoded = |tail: &str| tail.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    path.split('%').skip(1).all(is_encoded)
        && percent_encoding::percent_decode_str(path).decode_utf8().is_ok_and(|text| !text.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use actix_web::{
        ResponseError,
        http::header::{HeaderName, HeaderValue},
    };

    use super::*;

    fn status(uri: &str, header_bytes: usize) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("x"), HeaderValue::from_str(&"y".repeat(header_bytes)).unwrap());
        let settings =
            GatewaySettings { max_uri: 40, max_head: 11, max_query_parameters: 2, ..GatewaySettings::default() };
        check(&uri.parse().unwrap(), &headers, &settings).map_or_else(|error| error.status_code().as_u16(), |()| 200)
    }

    #[test]
    fn each_limit_has_its_status() {
        assert_eq!(status("/processes/a?b=c&d=e", 10), 200);
        assert_eq!(status(&format!("/{}", "a".repeat(40)), 1), 414);
        assert_eq!(status("/a", 11), 431);
        assert_eq!(status("/a?b&c&d", 1), 400);
        assert_eq!(status("/a?b&c&", 1), 200);
    }

    #[test]
    fn paths_that_are_no_text_are_refused_and_empty_segments_are_nothing() {
        for broken in ["/%", "/%4", "/%zz", "/a%00", "/%ff", "/a%0d%0a", "/%c3", "/%€"] {
            let Ok(uri) = broken.parse::<Uri>() else { continue };
            assert_eq!(status(&uri.to_string(), 1), 400, "{broken}");
        }
        assert_eq!(status("//", 1), 404);
        assert_eq!(status("/a//b", 1), 404);
        assert_eq!(status("/%C3%BC/", 1), 200);
    }
}
