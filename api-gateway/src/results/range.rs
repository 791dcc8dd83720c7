//! Which bytes of an output a request wants (RFC 9110, 13 and 14). Pure.

use actix_web::{
    HttpMessage, HttpRequest,
    http::{
        Method,
        header::{self, EntityTag, IfNoneMatch, IfRange, Range},
    },
};
use platform::object_store::ByteRange;

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Everything: 200.
    Whole,
    /// A part: 206.
    Part(ByteRange),
    /// Nothing, the client has it: 304.
    NotModified,
    /// A part that it does not have: 416.
    Unsatisfiable,
}

/// The tag of a value with this hash.
pub(super) fn tag(sha256: &str) -> Option<EntityTag> {
    if sha256.is_empty() { None } else { format!("\"{sha256}\"").parse().ok() }
}

/// Decides over a request for a value of this tag and size. What can't be read is ignored, and several ranges are
/// answered by the whole value, as RFC 9110 (14.2) allows.
pub(crate) fn wanted(request: &HttpRequest, tag: Option<&EntityTag>, size: u64) -> Wanted {
    let has_it = match request.get_header::<IfNoneMatch>() {
        None => false,
        Some(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Some(IfNoneMatch::Items(tags)) => tag.is_some_and(|tag| tags.iter().any(|it| it.weak_eq(tag))),
    };
    if has_it {
        return Wanted::NotModified;
    }
    // Ranges are defined for GET only.
    if request.method() != Method::GET || !is_same(request, tag) {
        return Wanted::Whole;
    }
    match request.get_header::<Range>() {
        Some(Range::Bytes(ranges)) => match ranges.as_slice() {
            [range] => match range.to_satisfiable_range(size) {
                Some((first, last)) => Wanted::Part(ByteRange { offset: first, length: last - first + 1 }),
                None => Wanted::Unsatisfiable,
            },
            _ => Wanted::Whole,
        },
        _ => Wanted::Whole,
    }
}

/// False when the client has a part of another value. Values have no date.
fn is_same(request: &HttpRequest, tag: Option<&EntityTag>) -> bool {
    if !request.headers().contains_key(header::IF_RANGE) {
        return true;
    }
    match request.get_header::<IfRange>() {
        Some(IfRange::EntityTag(theirs)) => tag.is_some_and(|tag| theirs.strong_eq(tag)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn decided(method: Method, headers: &[(&'static str, &'static str)], size: u64) -> Wanted {
        let mut request = TestRequest::default().method(method);
        for header in headers {
            request = request.insert_header(*header);
        }
        wanted(&request.to_http_request(), tag("abc").as_ref(), size)
    }

    #[test]
    fn one_range_is_a_part_and_anything_else_the_whole() {
        let part = |offset, length| Wanted::Part(ByteRange { offset, length });
        for (range, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=2-5", part(2, 4)),
            ("bytes=8-", part(8, 2)),
            ("bytes=8-100", part(8, 2)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-100", part(0, 10)),
            ("bytes=10-", Wanted::Unsatisfiable),
            ("bytes=-0", Wanted::Unsatisfiable),
            ("bytes=5-2", Wanted::Whole),
            ("bytes=0-1,3-4", Wanted::Whole),
            ("bytes=x", Wanted::Whole),
            ("lines=1-2", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(decided(Method::GET, &[("range", range)], 10), expected, "{range}");
            assert_eq!(decided(Method::HEAD, &[("range", range)], 10), Wanted::Whole, "{range}");
        }
        assert_eq!(decided(Method::GET, &[("range", "bytes=0-")], 0), Wanted::Unsatisfiable);
        assert_eq!(decided(Method::GET, &[], 10), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_value_is_answered_by_the_whole_one() {
        for (if_range, is_part) in [
            ("\"abc\"", true),
            ("\"other\"", false),
            ("W/\"abc\"", false),
            ("Wed, 21 Oct 2015 07:28:00 GMT", false),
            ("nonsense", false),
        ] {
            let decided = decided(Method::GET, &[("range", "bytes=0-0"), ("if-range", if_range)], 10);
            assert_eq!(matches!(decided, Wanted::Part(_)), is_part, "{if_range}");
        }
    }

    #[test]
    fn a_client_that_has_the_value_is_told_so() {
        for (if_none_match, has_it) in
            [("\"abc\"", true), ("W/\"abc\"", true), ("\"x\", \"abc\"", true), ("*", true), ("\"x\"", false)]
        {
            let headers = [("if-none-match", if_none_match), ("range", "bytes=0-0")];
            let decided = decided(Method::GET, &headers, 10);
            assert_eq!(decided == Wanted::NotModified, has_it, "{if_none_match}");
        }
    }
}
