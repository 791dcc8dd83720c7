//! Text of a scalar as Python's `str` writes it: what pygeoapi-k8s-manager put into environments.

use config::ValueKind;

/// None for a list or a mapping.
pub(super) fn text(kind: &ValueKind) -> Option<String> {
    match kind {
        ValueKind::Nil => Some("None".to_owned()),
        ValueKind::Boolean(true) => Some("True".to_owned()),
        ValueKind::Boolean(false) => Some("False".to_owned()),
        ValueKind::I64(number) => Some(number.to_string()),
        ValueKind::I128(number) => Some(number.to_string()),
        ValueKind::U64(number) => Some(number.to_string()),
        ValueKind::U128(number) => Some(number.to_string()),
        ValueKind::Float(number) => Some(float(*number)),
        ValueKind::String(text) => Some(text.clone()),
        ValueKind::Table(_) | ValueKind::Array(_) => None,
    }
}

/// Rust and Python both write the shortest digits that read back, and change to exponents at the same sizes; Python's
/// exponent has a sign and two digits at least.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    let text = format!("{number:?}");
    match text.split_once('e') {
        None => text,
        Some((digits, exponent)) => {
            let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |e| ('-', e));
            format!("{digits}e{sign}{exponent:0>2}")
        }
    }
}
