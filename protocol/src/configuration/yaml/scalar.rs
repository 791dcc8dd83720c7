//! The type of a plain scalar, by the patterns of PyYAML's resolver (`yaml/resolver.py`) and the conversions of its
//! constructor (`yaml/constructor.py`).

use config::ValueKind;

/// Types a plain scalar. Timestamps stay text.
pub(super) fn resolve(text: &str) -> ValueKind {
    if text.is_empty() {
        return ValueKind::Nil;
    }
    word(text).or_else(|| integer(text)).or_else(|| float(text)).unwrap_or_else(|| ValueKind::String(text.to_owned()))
}

/// A boolean or null.
pub(super) fn word(text: &str) -> Option<ValueKind> {
    match text {
        "~" | "null" | "Null" | "NULL" => Some(ValueKind::Nil),
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(ValueKind::Boolean(true)),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(ValueKind::Boolean(false)),
        _ => None,
    }
}

/// An integer: decimal, `0b…`, octal with a leading 0, `0x…`, or with base 60 parts (`1:30`); `_` between digits.
pub(super) fn integer(text: &str) -> Option<ValueKind> {
    let (negative, digits) = sign(text);
    let first = digits.bytes().next()?;
    let magnitude = if let Some(binary) = digits.strip_prefix("0b") {
        in_base(binary, 2)
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        in_base(hexadecimal, 16)
    } else if digits == "0" {
        Some(0)
    } else if first == b'0' {
        in_base(digits, 8)
    } else if first.is_ascii_digit() {
        if digits.contains(':') { base_60(digits) } else { in_base(digits, 10) }
    } else {
        None
    }?;
    Some(fit(negative, magnitude))
}

/// A float: with a point (an exponent needs its sign), with base 60 parts (`1:30.5`), infinite or not a number.
pub(super) fn float(text: &str) -> Option<ValueKind> {
    if matches!(text, ".nan" | ".NaN" | ".NAN") {
        return Some(ValueKind::Float(f64::NAN));
    }
    let (negative, digits) = sign(text);
    let magnitude = match digits {
        ".inf" | ".Inf" | ".INF" => f64::INFINITY,
        // The pattern has no sign before a point.
        _ if digits.starts_with('.') && digits.len() != text.len() => return None,
        _ if digits.contains(':') => base_60_float(digits)?,
        _ => decimal_float(digits)?,
    };
    Some(ValueKind::Float(if negative { -magnitude } else { magnitude }))
}

fn sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

fn in_base(digits: &str, base: u32) -> Option<u128> {
    if !digits.chars().all(|c| c == '_' || c.is_digit(base)) {
        return None;
    }
    u128::from_str_radix(&digits.replace('_', ""), base).ok()
}

/// `[1-9][0-9_]*(:[0-5]?[0-9])+`
fn base_60(digits: &str) -> Option<u128> {
    let (first, parts) = digits.split_once(':')?;
    parts.split(':').try_fold(in_base(first, 10)?, |sum, part| sum.checked_mul(60)?.checked_add(base_60_part(part)?))
}

/// `[0-5]?[0-9]`
fn base_60_part(part: &str) -> Option<u128> {
    let is_part = match part.as_bytes() {
        [ones] => ones.is_ascii_digit(),
        [tens, ones] => matches!(tens, b'0'..=b'5') && ones.is_ascii_digit(),
        _ => false,
    };
    if is_part { part.parse().ok() } else { None }
}

/// `[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*`
fn base_60_float(digits: &str) -> Option<f64> {
    let (whole, fraction) = digits.split_once('.')?;
    let (first, parts) = whole.split_once(':')?;
    if !starts_with_digit(first) || !digits_or_underscores(fraction) {
        return None;
    }
    let mut parts: Vec<&str> = parts.split(':').collect();
    if parts.iter().any(|part| base_60_part(part).is_none()) {
        return None;
    }
    let last = format!("{}.{}", parts.pop()?, fraction.replace('_', ""));
    let mut sum: f64 = first.replace('_', "").parse().ok()?;
    for part in parts {
        sum = sum * 60.0 + part.parse::<f64>().ok()?;
    }
    Some(sum * 60.0 + last.parse::<f64>().ok()?)
}

/// `[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?` or `\.[0-9][0-9_]*([eE][-+][0-9]+)?`
fn decimal_float(digits: &str) -> Option<f64> {
    let (whole, fraction) = digits.split_once('.')?;
    let (fraction, exponent) = match fraction.find(['e', 'E']) {
        Some(at) => (fraction.get(..at)?, fraction.get(at + 1..)?),
        None => (fraction, "+0"),
    };
    let is_whole = if whole.is_empty() { starts_with_digit(fraction) } else { starts_with_digit(whole) };
    let exponent_digits = exponent.strip_prefix(['+', '-'])?;
    let is_exponent = !exponent_digits.is_empty() && exponent_digits.bytes().all(|b| b.is_ascii_digit());
    if !is_whole || !digits_or_underscores(fraction) || !is_exponent {
        return None;
    }
    format!("{whole}.{fraction}e{exponent}").replace('_', "").parse().ok()
}

/// `[0-9][0-9_]*`
fn starts_with_digit(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_digit()) && digits_or_underscores(text)
}

fn digits_or_underscores(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// The smallest kind that holds the number. Magnitudes above 127 bits only occur without sign.
fn fit(negative: bool, magnitude: u128) -> ValueKind {
    let signed = i128::try_from(magnitude).ok().map(|m| if negative { -m } else { m });
    match signed {
        Some(number) => match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => ValueKind::I64(number),
            (_, Ok(number)) => ValueKind::U64(number),
            _ => ValueKind::I128(number),
        },
        None if negative => ValueKind::Float(-(magnitude as f64)),
        None => ValueKind::U128(magnitude),
    }
}
