//! Several raw outputs in one answer (RFC 2387), part after part, with a length that is known before.

use std::fmt::Write as _;

use bytes::Bytes;
use futures::{StreamExt, stream};

use super::{printed::Output, reference::header_text, values::Bytestream};
use crate::media_type;

/// A part on its way.
pub(super) struct Part {
    /// Headers of the part, with the boundary before them and the empty line after them.
    pub head: String,
    /// Bytes of the value.
    pub size: u64,
    /// The value.
    pub value: Bytestream,
}

/// A boundary that no value contains: 192 random bits are not met by chance.
pub(super) fn boundary() -> String {
    let random: [u8; 24] = rand::random();
    random.iter().fold("quayside-".to_owned(), |mut text, byte| {
        // Writing to a text can't fail.
        write!(text, "{byte:02x}").ok();
        text
    })
}

/// The media type of the whole: `type` is that of the root, the first part.
pub(super) fn content_type(boundary: &str, root: &Output) -> String {
    let root = media_type::header_value(&root.media_type);
    let root = protocol::media_type::essence(root.to_str().unwrap_or_default());
    format!("multipart/related; type=\"{root}\"; boundary=\"{boundary}\"")
}

/// The head of a part with a value, or, with the URL of one, of an empty part.
pub(super) fn head(boundary: &str, output: &Output, location: Option<&str>) -> String {
    let media_type = media_type::header_value(&output.media_type);
    let (media_type, id) = (media_type.to_str().unwrap_or_default(), header_text(&output.id));
    let mut head = format!("--{boundary}\r\nContent-Type: {media_type}\r\nContent-ID: {id}\r\n");
    let length = match location {
        Some(url) => {
            head.push_str(&format!("Content-Location: {url}\r\n"));
            0
        }
        None => output.size,
    };
    head.push_str(&format!("Content-Length: {length}\r\n\r\n"));
    head
}

/// Bytes of the whole.
pub(super) fn length(boundary: &str, parts: &[Part]) -> u64 {
    let of = |text: &str| u64::try_from(text.len()).unwrap_or(u64::MAX);
    let parts = parts.iter().map(|part| of(&part.head).saturating_add(part.size).saturating_add(2));
    parts.fold(of(&end(boundary)), u64::saturating_add)
}

/// The whole. A value is opened when its turn comes.
pub(super) fn body(boundary: &str, parts: Vec<Part>) -> Bytestream {
    let text = |text: String| stream::once(async move { Ok(Bytes::from(text)) });
    let end = text(end(boundary));
    let parts = stream::iter(parts)
        .flat_map(move |part| text(part.head).chain(part.value).chain(text("\r\n".to_owned())).boxed());
    parts.chain(end).boxed()
}

fn end(boundary: &str) -> String {
    format!("--{boundary}--\r\n")
}

#[cfg(test)]
mod tests {
    use futures::TryStreamExt;

    use super::{super::printed::Content, *};

    fn output(id: &str, media_type: &str, bytes: &'static [u8]) -> Output {
        Output {
            id: id.into(),
            media_type: media_type.into(),
            size: bytes.len() as u64,
            sha256: String::new(),
            content: Content::Held(Bytes::from_static(bytes)),
        }
    }

    #[tokio::test]
    async fn parts_are_framed_and_their_length_is_known_before() {
        let (a, b) = (output("a", "text/csv", b"x,y\n"), output("b\r\n", "no type", b"\xff"));
        let part = |head, size, bytes: &'static [u8]| Part {
            head,
            size,
            value: stream::once(async move { Ok(Bytes::from_static(bytes)) }).boxed(),
        };
        let parts = || vec![part(head("B", &a, None), 4, b"x,y\n"), part(head("B", &b, Some("http://x/b")), 0, b"")];
        let expected = "--B\r\nContent-Type: text/csv\r\nContent-ID: a\r\nContent-Length: 4\r\n\r\nx,y\n\r\n\
            --B\r\nContent-Type: application/octet-stream\r\nContent-ID: b%0D%0A\r\nContent-Location: http://x/b\r\n\
            Content-Length: 0\r\n\r\n\r\n--B--\r\n";
        assert_eq!(length("B", &parts()), expected.len() as u64);
        let chunks: Vec<Bytes> = body("B", parts()).try_collect().await.unwrap();
        assert_eq!(String::from_utf8(chunks.concat()).unwrap(), expected);
    }

    #[test]
    fn the_root_is_the_first_part_and_no_boundary_comes_twice() {
        let root = output("a", "text/csv; header=present", b"");
        assert_eq!(content_type("B", &root), "multipart/related; type=\"text/csv\"; boundary=\"B\"");
        let (one, other) = (boundary(), boundary());
        assert!(one != other && one.len() <= 70, "RFC 2046 allows 70 characters");
    }
}
