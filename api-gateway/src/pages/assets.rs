//! The files that pages load, built in. Their names have a hash of what is in them, so that browsers may keep them for good.

use actix_web::{HttpRequest, HttpResponse, http::header};

use crate::error::GatewayError;

/// How pages look.
pub(crate) const STYLE: Asset =
    Asset::new("quayside", "css", "text/css; charset=utf-8", include_bytes!("../../assets/quayside.css"));
/// What pages do for those who run scripts.
pub(crate) const SCRIPT: Asset =
    Asset::new("quayside", "js", "text/javascript; charset=utf-8", include_bytes!("../../assets/quayside.js"));
/// The picture in a browser's tab.
pub(crate) const ICON: Asset = Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../../assets/icon.svg"));

const ALL: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// A file.
pub(crate) struct Asset {
    stem: &'static str,
    extension: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    hash: u64,
}

impl Asset {
    const fn new(stem: &'static str, extension: &'static str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        Self { stem, extension, media_type, bytes, hash: fnv(bytes) }
    }

    /// Its name, with the hash.
    pub(crate) fn name(&self) -> String {
        format!("{}-{:016x}.{}", self.stem, self.hash, self.extension)
    }

    /// Whether a name is that of this file, of whatever version.
    fn is_called(&self, name: &str) -> bool {
        let hash = name.strip_prefix(self.stem).and_then(|rest| rest.strip_prefix('-'));
        let hash = hash.and_then(|rest| rest.strip_suffix(self.extension)?.strip_suffix('.'));
        hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    }
}

/// FNV-1a: it tells versions apart, no more.
const fn fnv(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut place = 0;
    while place < bytes.len() {
        hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0100_0000_01b3);
        place += 1;
    }
    hash
}

/// `/pages/{file}`.
pub(crate) async fn file(request: HttpRequest) -> Result<HttpResponse, GatewayError> {
    let name = request.match_info().get("file").unwrap_or_default();
    let asset = ALL.into_iter().find(|asset| asset.is_called(name)).ok_or(GatewayError::NoSuchPath)?;
    let mut answer = HttpResponse::Ok();
    answer.content_type(asset.media_type).insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    // While versions change, pages of the other one get this file, and keep it no longer than that.
    if asset.name() == name {
        answer.insert_header((header::CACHE_CONTROL, FOR_GOOD));
    }
    Ok(answer.body(asset.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_the_name_of_each_of_its_versions() {
        assert!(STYLE.is_called(&STYLE.name()) && STYLE.is_called("quayside-0123456789abcdef.css"));
        for other in ["quayside.css", "quayside-.css", "quayside-0123456789abcdeg.css", "icon-0123456789abcdef.css"] {
            assert!(!STYLE.is_called(other), "{other}");
        }
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}
