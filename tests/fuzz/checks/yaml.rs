//! Any text is a configuration, or is answered by mistakes that can be shown and whose places lie in it.

use protocol::configuration::Configuration;

/// The text of a configuration file.
pub(crate) fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match Configuration::read(text, "test.yml", &|_| None) {
        Ok((configuration, warnings)) => {
            assert!(serde_json::to_string(&configuration).is_ok());
            warnings.iter().for_each(|warning| assert!(!warning.to_string().is_empty()));
        }
        Err(errors) => {
            assert!(!errors.mistakes.is_empty());
            for mistake in &errors.mistakes {
                assert!(!mistake.message.is_empty());
                let lines = text.split(['\n', '\r']).count() + 1;
                assert!(mistake.position.is_none_or(|position| (1..=lines).contains(&position.line)), "{mistake}");
            }
            assert!(!errors.to_string().is_empty());
        }
    }
}
