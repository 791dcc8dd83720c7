//! Every URL that the gateway gives out: absolute, below `server.url`.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::{JobId, ProcessId, configuration::PublicUrl};
use serde::Serialize;

/// Media type of nearly everything.
pub const JSON: &str = "application/json";
/// Media type of the API's definition.
pub const OPENAPI: &str = "application/vnd.oai.openapi+json;version=3.0";
/// Media type of the API's definition as YAML.
pub const OPENAPI_YAML: &str = "application/vnd.oai.openapi;version=3.0";
/// Media type of pages.
pub const HTML: &str = "text/html";

/// Relation types of the standard.
pub mod rel {
    /// List of conformance classes.
    pub const CONFORMANCE: &str = "http://www.opengis.net/def/rel/ogc/1.0/conformance";
    /// List of processes.
    pub const PROCESSES: &str = "http://www.opengis.net/def/rel/ogc/1.0/processes";
    /// List of jobs.
    pub const JOB_LIST: &str = "http://www.opengis.net/def/rel/ogc/1.0/job-list";
    /// Where a process is executed.
    pub const EXECUTE: &str = "http://www.opengis.net/def/rel/ogc/1.0/execute";
    /// Results of a job.
    pub const RESULTS: &str = "http://www.opengis.net/def/rel/ogc/1.0/results";
    /// The archived log of a job: a type of our own.
    pub const LOG: &str = "urn:quayside:rel:log";
    /// Status of a job, to be looked at again.
    pub const MONITOR: &str = "monitor";
}

/// A link (OGC API - Common).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Target, absolute.
    pub href: String,
    /// Relation type.
    pub rel: &'static str,
    /// Media type of the target; absent where it depends.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub media_type: Option<&'static str>,
    /// For people.
    pub title: &'static str,
}

impl Link {
    /// A link to JSON.
    pub fn json(href: String, rel: &'static str, title: &'static str) -> Self {
        Self { href, rel, media_type: Some(JSON), title }
    }
}

/// Makes URLs.
#[derive(Debug, Clone)]
pub struct Urls {
    base: String,
}

/// RFC 3986, `pchar`, without what HTML or shells could trip over.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Urls {
    /// URLs below the public one.
    pub fn new(url: &PublicUrl) -> Self {
        Self { base: url.as_str().to_owned() }
    }

    /// The landing page.
    pub fn landing(&self) -> String {
        format!("{}/", self.base)
    }

    /// The public URL itself, without final slash.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The conformance classes.
    pub fn conformance(&self) -> String {
        format!("{}/conformance", self.base)
    }

    /// The API's definition.
    pub fn openapi(&self) -> String {
        format!("{}/openapi", self.base)
    }

    /// The API's definition as a page.
    pub fn openapi_page(&self) -> String {
        format!("{}?f=html", self.openapi())
    }

    /// Where the files of that page are.
    pub fn definition_page(&self) -> String {
        format!("{}/page", self.openapi())
    }

    /// A file that pages load.
    pub fn page_file(&self, name: &str) -> String {
        format!("{}/pages/{name}", self.base)
    }

    /// Where someone signs in.
    pub fn sign_in(&self) -> String {
        format!("{}/signin", self.base)
    }

    /// Scheme, host and port.
    pub fn origin(&self) -> &str {
        let host = self.base.find("://").map_or(0, |end| end + 3);
        let end = self.base[host..].find('/').map_or(self.base.len(), |end| host + end);
        &self.base[..end]
    }

    /// One segment of a path.
    pub fn segment(text: &str) -> String {
        utf8_percent_encode(text, SEGMENT).to_string()
    }

    /// The list of processes.
    pub fn processes(&self) -> String {
        format!("{}/processes", self.base)
    }

    /// One process.
    pub fn process(&self, id: &ProcessId) -> String {
        format!("{}/processes/{}", self.base, Self::segment(id.as_str()))
    }

    /// Where one process is executed.
    pub fn execution(&self, id: &ProcessId) -> String {
        format!("{}/execution", self.process(id))
    }

    /// The list of jobs.
    pub fn jobs(&self) -> String {
        format!("{}/jobs", self.base)
    }

    /// Where one job is dismissed by a form.
    pub fn dismissal(&self, id: &JobId) -> String {
        format!("{}/jobs/{id}/dismiss", self.base)
    }

    /// The jobs of one process.
    pub fn jobs_of(&self, id: &ProcessId) -> String {
        let id: String = url::form_urlencoded::byte_serialize(id.as_str().as_bytes()).collect();
        format!("{}?processID={id}", self.jobs())
    }

    /// One job.
    pub fn job(&self, id: &JobId) -> String {
        format!("{}/jobs/{id}", self.base)
    }

    /// The log of a job.
    pub fn logs(&self, job: &JobId) -> String {
        format!("{}/logs", self.job(job))
    }

    /// The results of one job.
    pub fn results(&self, id: &JobId) -> String {
        format!("{}/jobs/{id}/results", self.base)
    }

    /// One output of one job.
    pub fn output(&self, id: &JobId, output: &str) -> String {
        format!("{}/{}", self.results(id), utf8_percent_encode(output, SEGMENT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_and_ids_are_encoded() {
        let urls = Urls::new(&PublicUrl::parse("https://example.org/ogc/").unwrap());
        assert_eq!(urls.landing(), "https://example.org/ogc/");
        assert_eq!(urls.origin(), "https://example.org");
        assert_eq!(Urls::new(&PublicUrl::parse("http://h:1").unwrap()).origin(), "http://h:1");
        let id: ProcessId = "a b?ü".parse().unwrap();
        assert_eq!(urls.execution(&id), "https://example.org/ogc/processes/a%20b%3F%C3%BC/execution");
        let job = JobId::generate(1);
        assert_eq!(urls.output(&job, "a/b"), format!("https://example.org/ogc/jobs/{job}/results/a%2Fb"));
    }
}
