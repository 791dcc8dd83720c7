//! The language that a client wants: `lang`, then `Accept-Language`, then the first of `server.languages`.

/// Picks one of `offered`, which is in the order of the configuration file and not empty.
pub fn pick<'a>(offered: &'a [String], lang: Option<&str>, accept_language: Option<&str>) -> &'a str {
    let wanted = lang.into_iter().map(str::to_owned).chain(accept_language.map(by_weight).unwrap_or_default());
    let found = wanted.into_iter().find_map(|wanted| {
        let same_tag = offered.iter().find(|tag| tag.eq_ignore_ascii_case(&wanted));
        let same_language = || offered.iter().find(|tag| primary(tag).eq_ignore_ascii_case(primary(&wanted)));
        same_tag.or_else(same_language)
    });
    found.or(offered.first()).map_or("en-US", String::as_str)
}

/// The tags of an `Accept-Language` header, the dearest first (RFC 9110, 12.5.4).
fn by_weight(header: &str) -> Vec<String> {
    let mut tags: Vec<(f32, String)> = header
        .split(',')
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let tag = parts.next().filter(|tag| !tag.is_empty() && *tag != "*")?;
            let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok())?;
            (weight > 0.0).then(|| (weight, tag.to_owned()))
        })
        .collect();
    tags.sort_by(|a, b| b.0.total_cmp(&a.0));
    tags.into_iter().map(|(_, tag)| tag).collect()
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
    }
}
