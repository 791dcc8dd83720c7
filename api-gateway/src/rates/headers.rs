//! `RateLimit-Policy` and `RateLimit` as in draft-ietf-httpapi-ratelimit-headers-10: lists of RFC 9651 with one policy each, `q` what
//! a full budget holds, `w` seconds in which it fills, `r` what is left, `t` seconds until it is full, or until there is something
//! left again, which is when `Retry-After` names the same time.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::Standing;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Tells what is left of a budget.
pub(crate) fn insert(headers: &mut HeaderMap, standing: &Standing) {
    for (name, value) in written(standing) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

fn written(standing: &Standing) -> [(HeaderName, String); 2] {
    let Standing { budget, quota, window, remaining, reset } = standing;
    let budget = budget.as_str();
    [(POLICY, format!("\"{budget}\";q={quota};w={window}")), (LIMIT, format!("\"{budget}\";r={remaining};t={reset}"))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rates::Budget;

    #[test]
    fn the_form_is_that_of_the_draft() {
        let standing = Standing { budget: Budget::Executions, quota: 30, window: 60, remaining: 29, reset: 2 };
        let [(_, policy), (_, limit)] = written(&standing);
        assert_eq!((policy.as_str(), limit.as_str()), ("\"executions\";q=30;w=60", "\"executions\";r=29;t=2"));
    }
}
