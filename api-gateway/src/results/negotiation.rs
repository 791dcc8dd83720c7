//! The header `Accept` (RFC 9110, 12.5.1), as far as results look at it.

use actix_web::http::header::{self, HeaderMap};
use protocol::media_type::essence;

use crate::links::JSON;

/// What a client accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accept(Vec<Range>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    kind: String,
    subtype: String,
    /// In thousandths.
    quality: u16,
}

impl Accept {
    /// Reads all `Accept` headers of a request; what can't be read is ignored. Without any, everything is accepted.
    pub fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
        Self(values.flat_map(|value| value.split(',')).filter_map(range).collect())
    }

    /// What the parameter `f=json` asks for: several outputs in JSON. One that has another form comes as it is.
    pub fn json() -> Self {
        Self([JSON, "multipart/*;q=0"].into_iter().filter_map(range).collect())
    }

    /// How much a media type is wanted, in thousandths, by the range that fits it best; `None` when none does.
    pub fn quality(&self, media_type: &str) -> Option<u16> {
        if self.0.is_empty() {
            return Some(1000);
        }
        let essence = essence(media_type);
        let (kind, subtype) = essence.split_once('/').unwrap_or((&essence, ""));
        let fit = |range: &&Range| match (range.kind == kind, range.subtype == subtype) {
            (true, true) => Some(2),
            (true, false) if range.subtype == "*" => Some(1),
            _ if range.kind == "*" && range.subtype == "*" => Some(0),
            _ => None,
        };
        let best = self.0.iter().filter_map(|range| Some((fit(&range)?, range.quality)));
        best.max().map(|(_, quality)| quality)
    }

    /// True of a media type that the client says not to want (`q=0`). One that it merely does not name is sent all the
    /// same, as RFC 9110 (15.5.7) allows: the form of a result was chosen when the job was made.
    pub fn excludes(&self, media_type: &str) -> bool {
        self.quality(media_type) == Some(0)
    }
}

fn range(text: &str) -> Option<Range> {
    let mut parts = text.split(';').map(str::trim);
    let (kind, subtype) = parts.next()?.split_once('/')?;
    let quality = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))
    });
    let (kind, subtype) = (kind.to_ascii_lowercase(), subtype.trim().to_ascii_lowercase());
    Some(Range { kind, subtype, quality: quality.unwrap_or(1000) })
}

/// A weight that makes no sense counts as the highest.
fn thousandths(value: &str) -> u16 {
    match value.parse::<f32>() {
        // In bounds: 0 to 1000.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1000.0).round() as u16,
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accept(text: &'static str) -> Accept {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(text));
        Accept::of(&headers)
    }

    #[test]
    fn the_range_that_fits_best_says_how_much_something_is_wanted() {
        for (text, media_type, expected) in [
            ("*/*", "image/png", Some(1000)),
            ("image/*;q=0.5, */*;q=0.1", "image/png", Some(500)),
            ("*/*, image/png; q=0", "image/png", Some(0)),
            ("*/*;q=0, IMAGE/PNG", "image/png; x=y", Some(1000)),
            ("application/json", "image/png", None),
            ("text/plain;charset=utf-8;q=0.25", "text/plain", Some(250)),
            ("text/plain;q=lots", "text/plain", Some(1000)),
            ("nonsense", "text/plain", Some(1000)),
        ] {
            assert_eq!(accept(text).quality(media_type), expected, "{text}");
        }
        assert_eq!(Accept::default().quality("image/png"), Some(1000));
        assert_eq!((Accept::json().quality(JSON), Accept::json().quality("text/csv")), (Some(1000), None));
    }

    #[test]
    fn only_what_is_named_as_unwanted_is_excluded() {
        assert!(accept("*/*, image/png;q=0").excludes("image/png"));
        assert!(accept("application/json, */*;q=0.0").excludes("image/png"));
        assert!(!accept("application/json").excludes("image/png"));
        assert!(!accept("image/*").excludes("image/png"));
    }
}
