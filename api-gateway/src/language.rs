//! The language that a client wants: `lang`, then `Accept-Language`, then the first of `server.languages`.

use actix_web::{HttpRequest, http::header};

/// The language that a request wants, whatever else is in it.
pub fn of<'a>(request: &HttpRequest, offered: &'a [String]) -> &'a str {
    let header = request.headers().get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok());
    let mut query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let lang = query.find(|(name, _)| name == "lang").map(|(_, lang)| lang);
    pick(offered, lang.as_deref(), header)
}

/// Picks one of `offered`, which is in the order of the configuration file and not empty.
pub fn pick<'a>(offered: &'a [String], lang: Option<&str>, accept_language: Option<&str>) -> &'a str {
    let ranges = accept_language.map(by_weight).unwrap_or_default();
    let refused = |tag: &str| ranges.iter().any(|(weight, range)| *weight <= 0.0 && range.eq_ignore_ascii_case(tag));
    let wanted = ranges.iter().filter(|(weight, _)| *weight > 0.0).map(|(_, range)| range.as_str());
    let found = lang.into_iter().chain(wanted).find_map(|wanted| {
        let same_tag = offered.iter().find(|tag| tag.eq_ignore_ascii_case(wanted));
        let same_language = || offered.iter().find(|tag| primary(tag).eq_ignore_ascii_case(primary(wanted)));
        let any = || offered.iter().find(|tag| wanted == "*" && !refused(tag) && !refused(primary(tag)));
        same_tag.or_else(same_language).or_else(any)
    });
    found.or(offered.first()).map_or("en-US", String::as_str)
}

/// The ranges of an `Accept-Language` header with their weights, the dearest first (RFC 9110, 12.5.4).
fn by_weight(header: &str) -> Vec<(f32, String)> {
    let mut ranges: Vec<(f32, String)> = header
        .split(',')
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().filter(|tag| !tag.is_empty())?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
            Some((weight, tag.to_owned()))
        })
        .collect();
    ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranges
}

fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameter_wins_over_the_header_and_that_over_the_order() {
        let offered = ["en-US".to_owned(), "de".to_owned()];
        assert_eq!(pick(&offered, None, None), "en-US");
        assert_eq!(pick(&offered, Some("de-AT"), Some("en")), "de");
        assert_eq!(pick(&offered, Some("fr"), Some("fr, en;q=0.5, de;q=0.9")), "de");
        assert_eq!(pick(&offered, None, Some("de;q=0, *")), "en-US");
        assert_eq!(pick(&offered, None, Some("en;q=0, *;q=0.1")), "de");
        assert_eq!(pick(&offered, None, Some("*")), "en-US");
        assert_eq!(pick(&offered, Some("nonsense"), None), "en-US");
    }
}
