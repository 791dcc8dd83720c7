//! `Accept`, `Accept-Encoding` and `If-None-Match` (RFC 9110): what a client takes, and what it has.

/// Whether a list of media ranges takes a media type. An empty list takes everything.
pub fn accepts_media<'a>(headers: impl IntoIterator<Item = &'a str>, media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let main = essence.split('/').next().unwrap_or("");
    let mut best: Option<(u8, f32)> = None;
    let mut is_empty = true;
    for (range, weight) in headers.into_iter().flat_map(weighted) {
        is_empty = false;
        // The closest range counts, whatever else is said.
        let closeness = match range.split_once('/') {
            _ if range == essence => 3,
            Some((kind, "*")) if kind == main => 2,
            Some(("*", "*")) => 1,
            _ => continue,
        };
        if best.is_none_or(|(known, _)| closeness > known) {
            best = Some((closeness, weight));
        }
    }
    is_empty || best.is_some_and(|(_, weight)| weight > 0.0)
}

/// Whether a client would rather have a page than JSON: it names pages, and nothing that is JSON before them. Who takes
/// anything gets JSON.
pub fn prefers_html<'a>(headers: impl IntoIterator<Item = &'a str>) -> bool {
    let mut ranges: Vec<(String, f32)> = headers.into_iter().flat_map(weighted).filter(|(_, it)| *it > 0.0).collect();
    ranges.sort_by(|a, b| b.1.total_cmp(&a.1));
    let is_page = |range: &str| matches!(range, "text/html" | "application/xhtml+xml");
    let is_json = |range: &str| range == "application/json" || range.ends_with("+json");
    let Some(page) = ranges.iter().position(|(range, _)| is_page(range)) else { return false };
    let weight = ranges[page].1;
    // A range of everything stands back behind what is named, unless it weighs more.
    !ranges.iter().enumerate().any(|(place, (range, other))| {
        (is_json(range) && place < page) || (matches!(range.as_str(), "*/*" | "application/*") && *other > weight)
    })
}

/// Whether a client would rather have gzip than the plain bytes.
pub fn prefers_gzip<'a>(headers: impl IntoIterator<Item = &'a str>) -> bool {
    let (mut gzip, mut any, mut identity) = (None, None, None);
    for (coding, weight) in headers.into_iter().flat_map(weighted) {
        match coding.as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "*" => any = Some(weight),
            "identity" => identity = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(any).unwrap_or(0.0);
    gzip > 0.0 && gzip >= identity.unwrap_or(0.0)
}

/// Whether a client has one of these entity tags, compared weakly as `If-None-Match` wants it.
pub fn has_tag<'a>(headers: impl IntoIterator<Item = &'a str>, tags: &[&str]) -> bool {
    let mut held = headers.into_iter().flat_map(|header| header.split(',')).map(str::trim);
    held.any(|tag| tag == "*" || tags.contains(&tag.strip_prefix("W/").unwrap_or(tag)))
}

/// The items of a list in lower case without their parameters, and their weights.
fn weighted(header: &str) -> impl Iterator<Item = (String, f32)> {
    header.split(',').filter_map(|item| {
        let mut parts = item.split(';').map(|part| part.trim().to_ascii_lowercase());
        let value = parts.next().filter(|value| !value.is_empty())?;
        let weight = parts.find_map(|part| part.strip_prefix("q=").map(str::to_owned));
        Some((value, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_media_range_counts() {
        let json = |accept: &str| accepts_media([accept], "application/json;version=3.0");
        for accepted in [
            "",
            "*/*",
            "application/*",
            "Application/JSON;q=0.1",
            "text/html, */*;q=0.8",
            "image/png, application/json",
        ] {
            assert!(json(accepted), "{accepted}");
        }
        for refused in ["image/png", "text/html, image/*", "application/json;q=0, */*", "application/*;q=0, */*;q=1"] {
            assert!(!json(refused), "{refused}");
        }
        assert!(accepts_media([], "application/json"));
    }

    #[test]
    fn pages_are_for_those_who_name_them_first() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
        for yes in [browser, "text/html", "TEXT/HTML;q=0.1", "*/*, text/html", "text/html, application/json"] {
            assert!(prefers_html([yes]), "{yes}");
        }
        for no in [
            "",
            "*/*",
            "text/*",
            "application/json, text/html",
            "text/html;q=0.5, application/geo+json",
            "text/html;q=0",
            "text/html;q=0.5, */*",
        ] {
            assert!(!prefers_html([no]), "{no}");
        }
        assert!(!prefers_html([]));
    }

    #[test]
    fn gzip_is_for_those_who_take_it_and_like_nothing_better() {
        let gzip = |accept: &str| prefers_gzip([accept]);
        for yes in ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "*", "GZIP", "gzip;q=0.5, identity;q=0.5"] {
            assert!(gzip(yes), "{yes}");
        }
        for no in ["", "identity", "br", "gzip;q=0", "*;q=0", "identity, gzip;q=0.5", "gzip;q=0, *"] {
            assert!(!gzip(no), "{no}");
        }
        assert!(!prefers_gzip([]));
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        assert!(has_tag(["\"b\", W/\"a\""], &["\"a\""]));
        assert!(has_tag(["*"], &["\"a\""]));
        assert!(!has_tag(["\"b\"", "a"], &["\"a\""]));
    }
}
