//! What of an output is shown on a page: the beginning of a text, or a picture that browsers show.

use futures::TryStreamExt;
use platform::object_store::ByteRange;
use protocol::{JobRecord, media_type};

use super::{
    printed::{Output, Printed},
    successful,
    values::Values,
};
use crate::{error::GatewayError, memory::Portion};

/// Bytes of a text that are shown.
const SHOWN: u64 = 64 * 1024;
/// Texts that are shown on one page; of further outputs only the links are.
const TEXTS: usize = 16;
/// Times its bytes that a text takes of memory at most: the text, laid out, then escaped, while the page grows.
const TIMES: u64 = 24;
/// Pictures that nothing can run in.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
/// Larger pictures are only linked to.
const LARGEST_PICTURE: u64 = 16 * 1024 * 1024;

/// An output on a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Previewed {
    pub(crate) id: String,
    pub(crate) media_type: String,
    pub(crate) size: u64,
    pub(crate) shown: Preview,
}

/// What is shown of it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Preview {
    /// A text.
    Text {
        text: String,
        /// Whether this is only its beginning.
        is_cut: bool,
    },
    /// The whole as a picture.
    Image,
    /// Nothing.
    Nothing,
}

impl Values {
    /// The outputs of a job, or those that are selected, as far as a page shows them; and the memory that the page takes.
    ///
    /// # Errors
    /// When the job has no results, or not these, or they can't be read.
    pub(crate) async fn previews(
        &self,
        record: &JobRecord,
        selected: Option<&[String]>,
    ) -> Result<(Vec<Previewed>, Portion), GatewayError> {
        successful(record, &self.urls.job(&record.job_id))?;
        let (printed, _held) = Printed::of(record, self).await?;
        if let Some(selected) = selected
            && !selected.iter().all(|id| printed.find(id).is_some())
        {
            return Err(printed.has_none());
        }
        let is_wanted = |output: &&Output| selected.is_none_or(|selected| selected.contains(&output.id));
        let texts = printed.outputs.iter().filter(is_wanted).filter(|output| kind(output) == Kind::Text).take(TEXTS);
        let portion =
            self.memory(texts.map(|output| output.size.min(SHOWN)).sum::<u64>().saturating_mul(TIMES)).await?;
        let mut previews = Vec::new();
        let mut texts = 0;
        for output in printed.outputs.iter().filter(is_wanted) {
            let shown = match kind(output) {
                Kind::Text if texts < TEXTS => {
                    texts += 1;
                    self.beginning(output).await?
                }
                Kind::Picture => Preview::Image,
                Kind::Text | Kind::Other => Preview::Nothing,
            };
            let Output { id, media_type, size, .. } = output.clone();
            previews.push(Previewed { id, media_type, size, shown });
        }
        Ok((previews, portion))
    }

    async fn beginning(&self, output: &Output) -> Result<Preview, GatewayError> {
        let is_cut = output.size > SHOWN;
        let range = is_cut.then_some(ByteRange { offset: 0, length: SHOWN });
        let chunks: Vec<bytes::Bytes> = self.open(output, range).await?.try_collect().await?;
        Ok(text(&chunks.concat(), is_cut))
    }
}

#[derive(PartialEq, Eq)]
enum Kind {
    Text,
    Picture,
    Other,
}

fn kind(output: &Output) -> Kind {
    let essence = media_type::essence(&output.media_type);
    if PICTURES.contains(&essence.as_str()) && output.size <= LARGEST_PICTURE {
        Kind::Picture
    } else if media_type::is_text(&essence) || media_type::is_json(&essence) {
        Kind::Text
    } else {
        Kind::Other
    }
}

/// Bytes as text, if they are one; a character that was cut in two is left out.
fn text(bytes: &[u8], is_cut: bool) -> Preview {
    match std::str::from_utf8(bytes) {
        Ok(text) => Preview::Text { text: text.to_owned(), is_cut },
        Err(error) if is_cut && error.error_len().is_none() => {
            Preview::Text { text: String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned(), is_cut }
        }
        Err(_) => Preview::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_cut_ends_with_a_whole_character_and_what_is_no_text_is_not_shown() {
        let shown = |text: &str, is_cut| Preview::Text { text: text.into(), is_cut };
        assert_eq!(text("aü".as_bytes(), false), shown("aü", false));
        assert_eq!(text(&"aü".as_bytes()[..2], true), shown("a", true));
        assert_eq!(text(&"aü".as_bytes()[..2], false), Preview::Nothing);
        assert_eq!(text(b"\xff\xfe", true), Preview::Nothing);
    }
}
