//! The header `Content-Disposition` of an output (RFC 6266).

use protocol::media_type::{essence, is_json};

/// Characters of an id that a file name keeps.
const LONGEST: usize = 64;

/// How a browser may treat an output, and the name of the file to save it as. Whatever a container printed is shown by
/// a browser only if nothing in it could run.
pub(super) fn of(id: &str, media_type: &str) -> String {
    const SHOWN: [&str; 7] =
        ["text/plain", "text/csv", "image/png", "image/jpeg", "image/gif", "image/webp", "image/tiff"];
    let is_shown = is_json(media_type) || SHOWN.contains(&essence(media_type).as_str());
    format!("{}; filename=\"{}\"", if is_shown { "inline" } else { "attachment" }, file_name(id, media_type))
}

fn file_name(id: &str, media_type: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
    let name: String = id.chars().take(LONGEST).map(kept).collect();
    // Neither hidden nor a way out of a folder.
    let name = name.trim_matches('.');
    let name = if name.is_empty() { "output" } else { name };
    match extension(media_type) {
        Some(extension) if !name.to_ascii_lowercase().ends_with(&format!(".{extension}")) => {
            format!("{name}.{extension}")
        }
        _ => name.to_owned(),
    }
}

fn extension(media_type: &str) -> Option<&'static str> {
    Some(match essence(media_type).as_str() {
        "application/geo+json" => "geojson",
        "text/plain" => "txt",
        "text/csv" => "csv",
        "text/html" => "html",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/tiff" => "tif",
        "image/svg+xml" => "svg",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        "application/gzip" => "gz",
        "application/netcdf" | "application/x-netcdf" => "nc",
        "application/x-hdf5" => "h5",
        "application/octet-stream" => "bin",
        essence if is_json(essence) => "json",
        essence if essence.ends_with("/xml") || essence.ends_with("+xml") => "xml",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_run_in_a_browser_is_only_saved() {
        assert_eq!(of("out", "image/png"), "inline; filename=\"out.png\"");
        assert_eq!(of("out", "application/json; charset=utf-8"), "inline; filename=\"out.json\"");
        for active in ["text/html", "image/svg+xml", "application/xhtml+xml", "application/pdf", "x/y", ""] {
            assert!(of("out", active).starts_with("attachment"), "{active}");
        }
    }

    #[test]
    fn the_file_name_is_safe_whatever_the_id_is() {
        for (id, expected) in [
            ("a.tif", "a.tif"),
            ("../../etc/passwd", "_.._etc_passwd.tif"),
            ("a\"; filename=\"b", "a___filename__b.tif"),
            ("\r\nX: y", "__X__y.tif"),
            ("größe", "gr__e.tif"),
            ("..", "output.tif"),
        ] {
            assert_eq!(file_name(id, "image/tiff"), expected, "{id:?}");
        }
        assert_eq!(file_name(&"x".repeat(1000), "x/y").len(), LONGEST);
    }
}
