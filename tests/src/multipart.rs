//! A strict reader of `multipart/related` (RFC 2387, RFC 2046), written without a look at the writer.

use anyhow::{Context, Result, bail, ensure};

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Headers: names in lower case.
    pub headers: Vec<(String, String)>,
    /// Bytes.
    pub body: Vec<u8>,
}

impl Part {
    /// The value of a header that comes once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// Reads a whole body of this content type.
pub fn parts(content_type: &str, body: &[u8]) -> Result<Vec<Part>> {
    let mut parameters = content_type.split(';').map(str::trim);
    ensure!(parameters.next() == Some("multipart/related"), "{content_type}");
    let (mut root, mut boundary) = (None, None);
    for parameter in parameters {
        let (name, value) = parameter.split_once('=').with_context(|| format!("no parameter: {parameter}"))?;
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value).to_owned();
        match name {
            "type" => root = Some(value),
            "boundary" => boundary = Some(value),
            other => bail!("{other} is unexpected"),
        }
    }
    let (root, boundary) = (root.context("RFC 2387, 3.1: type is required")?, boundary.context("no boundary")?);
    ensure!((1..=70).contains(&boundary.len()), "RFC 2046, 5.1.1: 1 to 70 characters");
    let delimiter = format!("--{boundary}");
    let mut rest = body.strip_prefix(delimiter.as_bytes()).context("the body does not begin with the boundary")?;
    let mut parts = Vec::new();
    while let Some(after) = rest.strip_prefix(b"\r\n") {
        let next = find(after, format!("\r\n{delimiter}").as_bytes()).context("a part does not end")?;
        parts.push(part(&after[..next])?);
        rest = &after[next + 2 + delimiter.len()..];
    }
    ensure!(rest == b"--\r\n", "the last boundary, and nothing after it");
    let first = parts.first().context("no parts")?.header("content-type").context("a root without type")?;
    ensure!(first.split(';').next() == Some(&root), "the root is {first}, and {root} was announced");
    Ok(parts)
}

fn part(bytes: &[u8]) -> Result<Part> {
    let end = find(bytes, b"\r\n\r\n").context("the headers of a part do not end")?;
    let mut headers = Vec::new();
    for line in std::str::from_utf8(&bytes[..end])?.split("\r\n") {
        let (name, value) = line.split_once(": ").with_context(|| format!("no header: {line}"))?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let part = Part { headers, body: bytes[end + 4..].to_vec() };
    let length: usize = part.header("content-length").context("no length")?.parse()?;
    ensure!(length == part.body.len(), "{length} bytes were announced, {} came", part.body.len());
    Ok(part)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
