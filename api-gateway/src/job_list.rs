//! What is asked of the list of jobs: from the parameters of a query to filter and page (requirements class `job-list`).

use jiff::Timestamp;
use protocol::{
    JobId,
    configuration::{Limits, OnExceed},
    job_record::Status,
};

use crate::{
    datetime::Interval,
    error::GatewayError,
    index::{Filter, Listed, Start, Wanted},
    query::Query,
};

/// The largest `offset`: each job that is left out costs a step, and links lead further at no cost.
pub const OFFSET_LIMIT: usize = 10_000;

/// The list that a query asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobList {
    /// Which jobs.
    pub filter: Filter,
    /// Which of them.
    pub wanted: Wanted,
}

impl JobList {
    /// Reads the parameters. Those that no list of jobs has are passed over, as the standard allows.
    ///
    /// # Errors
    /// All values that are not allowed, at once.
    pub fn read(query: &Query, limits: &Limits, now: Timestamp) -> Result<Self, GatewayError> {
        let mut read = Reader { query, mistakes: Vec::new() };
        if query.words("type").iter().any(|word| *word != "process") {
            read.mistakes.push("type: expected process".to_owned());
        }
        let interval = read.one("datetime", |text| text.parse::<Interval>().map_err(|why| why.to_string()));
        let (min_duration, max_duration) = (read.seconds("minDuration"), read.seconds("maxDuration"));
        if let (Some(least), Some(most)) = (min_duration, max_duration)
            && least > most
        {
            read.mistakes.push("maxDuration: expected no less than minDuration".to_owned());
        }
        let filter = Filter {
            owner: None,
            processes: query.list("processID").into_iter().map(str::to_owned).collect(),
            statuses: read.statuses(),
            from: interval.and_then(|interval| interval.from),
            to: interval.and_then(|interval| interval.to),
            min_duration,
            max_duration,
        };
        let wanted = Wanted { start: read.start(), offset: read.offset(), limit: read.limit(limits), now };
        if read.mistakes.is_empty() {
            Ok(Self { filter, wanted })
        } else {
            Err(GatewayError::InvalidParameters(read.mistakes.into_iter().map(Into::into).collect()))
        }
    }

    /// The query strings of the pages after and before this one. Where they begin is in `after` or `before`: the id of a
    /// job, which need not be there any more.
    pub fn neighbours(&self, query: &Query, listed: &Listed) -> (Option<String>, Option<String>) {
        let page = |cursor: &str, job: JobId, offset: usize| {
            let mut text = url::form_urlencoded::Serializer::new(String::new());
            for (name, value) in query.pairs().filter(|(name, _)| !PAGING.contains(name)) {
                text.append_pair(name, value);
            }
            text.append_pair("limit", &self.wanted.limit.to_string()).append_pair(cursor, &job.to_string());
            if offset > 0 {
                text.append_pair("offset", &offset.to_string());
            }
            text.finish()
        };
        let next = listed.next.map(|(job, offset)| page("after", job, offset));
        (next, listed.prev.map(|job| page("before", job, 0)))
    }
}

/// The parameters that say which page.
const PAGING: [&str; 4] = ["limit", "offset", "after", "before"];

struct Reader<'a> {
    query: &'a Query,
    mistakes: Vec<String>,
}

impl Reader<'_> {
    /// A parameter that is no list, as `read` takes it.
    fn one<T>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let value = match self.query.only(name) {
            Ok(None) => return None,
            // The definition says that these are texts.
            Ok(Some("")) if ["datetime", "after", "before"].contains(&name) => return None,
            Ok(Some(text)) => read(text),
            Err(repeated) => Err(repeated.to_string()),
        };
        value.map_err(|expected| self.mistakes.push(format!("{name}: {expected}"))).ok()
    }

    fn statuses(&mut self) -> Vec<Status> {
        let status = |word: &str| match word {
            "accepted" => Some(Status::Accepted),
            "running" => Some(Status::Running),
            "successful" => Some(Status::Successful),
            "failed" => Some(Status::Failed),
            "dismissed" => Some(Status::Dismissed),
            _ => None,
        };
        let read: Option<Vec<Status>> = self.query.words("status").into_iter().map(status).collect();
        read.unwrap_or_else(|| {
            self.mistakes.push("status: expected accepted, running, successful, failed or dismissed".to_owned());
            Vec::new()
        })
    }

    /// The standard's version 1.0 declares these as arrays, and says what one value means: more are refused.
    fn seconds(&mut self, name: &str) -> Option<u64> {
        self.one(name, |text| number(text).ok_or_else(|| "expected one whole number of seconds from 0 on".to_owned()))
    }

    fn start(&mut self) -> Start {
        let job =
            |text: &str| text.parse::<JobId>().map_err(|_| "expected what the links next and prev have".to_owned());
        match (self.one("after", job), self.one("before", job)) {
            (Some(_), Some(_)) => {
                self.mistakes.push("before: expected only where there is no after".to_owned());
                Start::Newest
            }
            (Some(job), None) => Start::After(job),
            (None, Some(job)) => Start::Before(job),
            (None, None) => Start::Newest,
        }
    }

    fn offset(&mut self) -> usize {
        let offset = |text: &str| match number(text).and_then(|offset| usize::try_from(offset).ok()) {
            Some(offset) if offset <= OFFSET_LIMIT => Ok(offset),
            _ => Err(format!("expected a whole number from 0 to {OFFSET_LIMIT}; the link next leads further")),
        };
        self.one("offset", offset).unwrap_or(0)
    }

    fn limit(&mut self, limits: &Limits) -> usize {
        let (default, most) = (u64::from(limits.default_items), u64::from(limits.max_items));
        let is_error = limits.on_exceed == OnExceed::Error;
        let limit = self.one("limit", |text| match number(text) {
            Some(limit) if limit > most && is_error => Err(format!("expected at most {most}")),
            Some(limit) if limit > 0 => Ok(limit),
            _ => Err("expected a whole number from 1 on".to_owned()),
        });
        usize::try_from(limit.unwrap_or(default).min(most)).unwrap_or(usize::MAX)
    }
}

/// A whole number, however long: one that is too large for any counter is the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    fn read_with(query: &str, on_exceed: OnExceed) -> Result<JobList, String> {
        let limits = Limits { default_items: 5, max_items: 10, on_exceed };
        let query = Query::parse(query).unwrap();
        JobList::read(&query, &limits, Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())
    }

    fn read(query: &str) -> Result<JobList, String> {
        read_with(query, OnExceed::Throttle)
    }

    #[test]
    fn every_parameter_of_the_standard_is_understood() {
        let query = "type=process&processID=a,b&processID=c&status=running&status=failed,successful&minDuration=2\
             &maxDuration=60&datetime=2026-01-31T12:00:00Z/..&limit=7&offset=3";
        let JobList { filter, wanted } = read(query).unwrap();
        assert_eq!(filter.processes, ["a", "b", "c"]);
        assert_eq!(filter.statuses, [Status::Running, Status::Failed, Status::Successful]);
        assert_eq!((filter.min_duration, filter.max_duration), (Some(2), Some(60)));
        assert_eq!((filter.from, filter.to), (Some("2026-01-31T12:00:00Z".parse().unwrap()), None));
        assert_eq!((wanted.limit, wanted.offset, wanted.start), (7, 3, Start::Newest));
        assert_eq!(read("x=1&x=2&processID=&datetime=&after=").unwrap().filter, Filter::default(), "nothing of ours");
    }

    #[test]
    fn each_value_that_is_not_allowed_is_named_with_what_is() {
        for (query, named) in [
            ("type=job", "type: expected process"),
            ("type=", "type: expected process"),
            ("status=finished", "status: expected accepted"),
            ("status=", "status: expected accepted"),
            ("status=running,", "status: expected accepted"),
            ("limit=", "limit: expected a whole number from 1"),
            ("offset=", "offset: expected a whole number from 0"),
            ("minDuration=", "minDuration: expected one whole number"),
            ("datetime=yesterday", "datetime: expected a time"),
            ("minDuration=1.5", "minDuration: expected one whole number"),
            ("minDuration=1,2", "minDuration: expected one whole number"),
            ("maxDuration=-1", "maxDuration: expected one"),
            ("minDuration=3&maxDuration=2", "maxDuration: expected no less"),
            ("maxDuration=2&maxDuration=3", "maxDuration: expected once"),
            ("limit=0", "limit: expected a whole number from 1"),
            ("limit=2&limit=2", "limit: expected once"),
            ("offset=10001", "offset: expected a whole number from 0 to 10000"),
            ("after=x", "after: expected"),
        ] {
            let error = read(query).unwrap_err();
            assert!(error.contains(named), "{query}: {error}");
        }
        let both = read(&format!("after={JOB}&before={JOB}")).unwrap_err();
        assert!(both.contains("before: "), "{both}");
        let all = read("type=x&status=y&offset=z&limit=w").unwrap_err();
        assert_eq!(all.matches("expected").count(), 4, "{all}");
    }

    #[test]
    fn a_limit_above_the_maximum_is_clamped_or_refused_as_configured() {
        assert_eq!(read("").unwrap().wanted.limit, 5);
        assert_eq!(read("limit=99999999999999999999999").unwrap().wanted.limit, 10);
        assert!(read_with("limit=11", OnExceed::Error).unwrap_err().contains("limit: expected at most 10"));
        assert!(read_with("limit=10", OnExceed::Error).is_ok());
    }

    #[test]
    fn other_pages_keep_the_other_parameters() {
        let query = Query::parse("status=failed,running&limit=2&offset=2&processID=a%26b&x=y").unwrap();
        let limits = Limits { default_items: 5, max_items: 10, on_exceed: OnExceed::Throttle };
        let list = JobList::read(&query, &limits, Timestamp::UNIX_EPOCH).unwrap();
        let job: JobId = JOB.parse().unwrap();
        let listed = Listed { jobs: Vec::new(), next: Some((job, 3)), prev: Some(job) };
        let (next, prev) = list.neighbours(&query, &listed);
        let kept = "status=failed%2Crunning&processID=a%26b&x=y&limit=2";
        assert_eq!(next.unwrap(), format!("{kept}&after={JOB}&offset=3"));
        assert_eq!(prev.unwrap(), format!("{kept}&before={JOB}"));
        assert_eq!(list.neighbours(&query, &Listed::default()), (None, None));
    }
}
