//! A form as its template shows it.

use protocol::{
    ProcessDefinition,
    process::{InputDescription, MaxOccurs},
};
use serde_json::Value;

use super::{
    control::{Control, Count, Field, Number, Text, TextKind},
    fields::{self, CHOOSES_OUTPUTS, Fields, MODE, OUTPUT, Part, TOKEN, WAIT},
};
use crate::{access, pages::capitalized, validate::Violation};

/// Rows that are shown beyond those that are filled in.
const SPARE: usize = 2;
/// Rows at most.
const ROWS: usize = 200;
/// Choices up to this many are shown side by side.
const RADIOS: usize = 4;

/// The form of one process.
pub(crate) struct Form {
    pub(crate) inputs: Vec<Input>,
    pub(crate) outputs: Vec<Output>,
    /// The name of the field of the token, if one is needed.
    pub(crate) token: Option<Token>,
    /// Whether the client may wait, and whether it may come back.
    pub(crate) modes: (bool, bool),
    pub(crate) waits: bool,
    /// What is wrong and belongs to no field.
    pub(crate) errors: Vec<String>,
    /// Fields with errors: their key, and the first error.
    pub(crate) summary: Vec<(String, String)>,
}

pub(crate) struct Token {
    pub(crate) error: Option<String>,
}

pub(crate) struct Output {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) is_chosen: bool,
}

/// One input.
pub(crate) struct Input {
    /// Unique in the page, and fit for an attribute `id`.
    pub(crate) key: String,
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) is_required: bool,
    /// What is allowed, in words.
    pub(crate) hints: Vec<String>,
    pub(crate) errors: Vec<String>,
    pub(crate) widget: Widget,
    /// A link in place of the value.
    pub(crate) reference: Option<Reference>,
}

pub(crate) struct Reference {
    pub(crate) name: String,
    pub(crate) href: String,
    pub(crate) type_name: String,
    pub(crate) media_type: String,
}

/// What an input is filled in by.
pub(crate) enum Widget {
    /// One line each; several of them where there are rows.
    Lines { name: String, attributes: Line, values: Vec<String>, rows: Option<Rows> },
    /// A large text.
    Area { name: String, value: String, rows: usize, is_code: bool, most: Option<u64> },
    /// One of these, side by side.
    Radios { name: String, options: Vec<Choice> },
    /// One of these, folded; several times where there are rows.
    Selects { name: String, selects: Vec<Vec<Choice>>, rows: Option<Rows> },
    /// A bounding box.
    Bounds { sides: Vec<Side>, heights: Vec<Side>, has_heights: bool, system: String, systems: Vec<Choice> },
    /// Bytes.
    Bytes { name: String, value: String, media_type: Option<String> },
    /// A large text and its media type.
    Typed { name: String, value: String, type_name: String, media_types: Vec<Choice> },
}

pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) can_grow: bool,
}

/// Attributes of a field of one line.
#[derive(Default)]
pub(crate) struct Line {
    pub(crate) kind: &'static str,
    pub(crate) mode: Option<&'static str>,
    pub(crate) least_length: Option<u64>,
    pub(crate) most_length: Option<u64>,
    pub(crate) pattern: Option<String>,
    pub(crate) least: Option<String>,
    pub(crate) most: Option<String>,
    pub(crate) step: Option<String>,
    pub(crate) placeholder: Option<&'static str>,
}

pub(crate) struct Choice {
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) is_chosen: bool,
}

pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) label: &'static str,
    pub(crate) value: String,
}

impl Form {
    /// The form of a process, filled in, with what is wrong beside each field.
    pub(crate) fn new(process: &ProcessDefinition, language: &str, fields: &Fields, violations: &[Violation]) -> Self {
        let description = &process.description;
        let is_token = |id: &str| process.check_auth && id == access::TOKEN_INPUT;
        let mut inputs = Vec::new();
        for (place, (id, it)) in description.inputs.iter().enumerate().filter(|(_, (id, _))| !is_token(id)) {
            let errors =
                violations.iter().filter(|it| it.input() == Some(id)).map(|it| capitalized(&it.of_value())).collect();
            inputs.push(input(format!("i{place}"), id, it, language, fields, errors));
        }
        let known = |violation: &&Violation| violation.input().is_some_and(|id| inputs.iter().any(|it| it.id == id));
        let errors = violations.iter().filter(|it| !known(it)).map(|it| capitalized(&it.to_string())).collect();
        let summary = inputs.iter().filter(|it| !it.errors.is_empty());
        let summary = summary.map(|it| (it.key.clone(), format!("{}: {}", it.title, it.errors[0]))).collect();
        let options = description.job_control_options;
        let modes = (options.allows_sync(), options.allows_async());
        let outputs = match description.outputs.len() {
            0 | 1 => Vec::new(),
            _ => description
                .outputs
                .iter()
                .map(|(id, it)| Output {
                    id: id.clone(),
                    title: it.title.text(language).to_owned(),
                    is_chosen: fields.one(CHOOSES_OUTPUTS).is_none() || fields.all(OUTPUT).any(|chosen| chosen == id),
                })
                .collect(),
        };
        Self {
            inputs,
            outputs,
            token: process.check_auth.then_some(Token { error: None }),
            modes,
            waits: !modes.1 || fields.one(MODE) == Some(WAIT),
            errors,
            summary,
        }
    }

    /// Says what is wrong with the token.
    pub(crate) fn refuse_token(&mut self, message: String) {
        let message = capitalized(&message);
        self.summary.push((TOKEN.to_owned(), message.clone()));
        self.token = Some(Token { error: Some(message) });
    }

    /// Whether anything is wrong.
    pub(crate) fn has_errors(&self) -> bool {
        !self.errors.is_empty() || !self.summary.is_empty()
    }
}

impl Input {
    /// The elements that describe a control of this input.
    pub(crate) fn described_by(&self) -> String {
        let mut ids = Vec::new();
        if !self.description.is_empty() || !self.hints.is_empty() {
            ids.push(format!("{}-hint", self.key));
        }
        if !self.errors.is_empty() {
            ids.push(format!("{}-error", self.key));
        }
        ids.join(" ")
    }

    /// Whether several controls belong to it.
    pub(crate) fn is_group(&self) -> bool {
        match &self.widget {
            Widget::Lines { rows, .. } | Widget::Selects { rows, .. } => rows.is_some(),
            Widget::Radios { .. } | Widget::Bounds { .. } => true,
            Widget::Area { .. } | Widget::Bytes { .. } | Widget::Typed { .. } => false,
        }
    }
}

fn input(key: String, id: &str, it: &InputDescription, language: &str, fields: &Fields, errors: Vec<String>) -> Input {
    let field = Field::of(it);
    let reference = field.by_reference.then(|| Reference {
        name: Part::Href.name(id),
        href: fields.first(Part::Href, id).to_owned(),
        type_name: Part::MediaType.name(id),
        media_type: fields.first(Part::MediaType, id).to_owned(),
    });
    Input {
        key,
        title: it.title.text(language).to_owned(),
        description: it.description.as_ref().map_or("", |text| text.text(language)).to_owned(),
        is_required: it.is_required(),
        hints: hints(it, &field),
        errors,
        widget: widget(id, it, &field, fields),
        reference: reference.filter(|_| !matches!(field.control, Control::Typed(_))),
        id: id.to_owned(),
    }
}

fn widget(id: &str, it: &InputDescription, field: &Field, fields: &Fields) -> Widget {
    let name = Part::Value.name(id);
    let value = || fields.first(Part::Value, id).to_owned();
    let rows = rows(id, field.count, fields);
    let values = |rows: &Option<Rows>| -> Vec<String> {
        let given = fields.of_input(Part::Value, id).into_iter().map(str::to_owned);
        let shown = rows.as_ref().map_or(1, |rows| rows.count);
        given.chain(std::iter::repeat_n(String::new(), shown)).take(shown).collect()
    };
    match &field.control {
        Control::Text(text) if text.kind == TextKind::Lines && rows.is_none() => {
            Widget::Area { name, value: value(), rows: 5, is_code: false, most: text.most }
        }
        Control::Text(text) => {
            let values = if text.kind == TextKind::Secret { vec![String::new()] } else { values(&rows) };
            Widget::Lines { name, attributes: text_line(text), values, rows }
        }
        Control::Number(number) => Widget::Lines { name, attributes: number_line(number), values: values(&rows), rows },
        Control::Flag | Control::Choice(_) => {
            let options: Vec<(String, String)> = match &field.control {
                Control::Choice(options) => options.iter().map(|it| (it.to_string(), label(it))).collect(),
                _ => [("true", "Yes"), ("false", "No")].map(|(value, text)| (value.into(), text.into())).to_vec(),
            };
            let select = |chosen: &str, empty: Option<&str>| -> Vec<Choice> {
                let empty = empty.map(|label| (String::new(), label.to_owned()));
                let all = empty.into_iter().chain(options.iter().cloned());
                all.map(|(value, label)| Choice { is_chosen: value == chosen, value, label }).collect()
            };
            match rows {
                None if options.len() <= RADIOS => {
                    let empty = (!it.is_required()).then_some("Not given");
                    Widget::Radios { name, options: select(fields.first(Part::Value, id), empty) }
                }
                rows => {
                    let chosen = values(&rows);
                    let selects = chosen.iter().map(|chosen| select(chosen, Some("–"))).collect();
                    Widget::Selects { name, selects, rows }
                }
            }
        }
        Control::Bounds(systems) => bounds(id, systems, fields),
        Control::Bytes { media_type } => Widget::Bytes { name, value: value(), media_type: media_type.clone() },
        Control::Typed(media_types) => {
            let chosen = fields.first(Part::MediaType, id);
            let choice = |it: &String| Choice { value: it.clone(), label: it.clone(), is_chosen: it == chosen };
            let media_types = media_types.iter().map(choice).collect();
            Widget::Typed { name, value: value(), type_name: Part::MediaType.name(id), media_types }
        }
        Control::Json { .. } => {
            let value = value();
            let rows = value.lines().count().clamp(3, 16);
            Widget::Area { name, value, rows, is_code: true, most: None }
        }
    }
}

fn rows(id: &str, count: Count, fields: &Fields) -> Option<Rows> {
    let Count::Several { least, most } = count else { return None };
    let limit = most.and_then(|most| usize::try_from(most).ok()).unwrap_or(ROWS).clamp(1, ROWS);
    let least = usize::try_from(least).unwrap_or(ROWS).max(1);
    let filled = fields.of_input(Part::Value, id).into_iter().filter(|text| !text.is_empty()).count();
    let sent = fields.of_input(Part::Value, id).len();
    let more = if fields.all(fields::MORE).any(|asked| asked == id) { sent + SPARE } else { 0 };
    let count = least.max(filled + 1).max(more).clamp(1, limit);
    Some(Rows { count, can_grow: count < limit })
}

fn bounds(id: &str, systems: &[String], fields: &Fields) -> Widget {
    const LABELS: [&str; 6] = ["West", "South", "Bottom", "East", "North", "Top"];
    let side = |side: usize| Side {
        name: Part::Side(side).name(id),
        label: LABELS[side],
        value: fields.first(Part::Side(side), id).to_owned(),
    };
    let heights: Vec<Side> = [2, 5].map(side).into();
    let chosen = fields.first(Part::System, id);
    let empty = Choice { value: String::new(), label: "As the process takes it".into(), is_chosen: chosen.is_empty() };
    let system = |it: &String| Choice { value: it.clone(), label: it.clone(), is_chosen: it == chosen };
    Widget::Bounds {
        sides: fields::FLAT.map(side).into(),
        has_heights: heights.iter().any(|side| !side.value.is_empty()),
        heights,
        system: Part::System.name(id),
        systems: std::iter::once(empty).chain(systems.iter().map(system)).collect(),
    }
}

/// A value of an enumeration for people.
fn label(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "(empty)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "Yes".to_owned(),
        Value::Bool(false) => "No".to_owned(),
        other => other.to_string(),
    }
}

fn text_line(text: &Text) -> Line {
    let (kind, mode, placeholder) = match text.kind {
        TextKind::Line | TextKind::Lines => ("text", None, None),
        TextKind::Date => ("date", None, None),
        TextKind::DateTime => ("text", None, Some("2026-01-31T12:00:00Z")),
        TextKind::Url => ("url", Some("url"), Some("https://")),
        TextKind::Email => ("email", Some("email"), None),
        TextKind::Secret => ("password", None, None),
    };
    let pattern = text.pattern.as_deref().filter(|pattern| is_plain(pattern));
    Line {
        kind,
        mode,
        placeholder,
        least_length: text.least,
        most_length: text.most,
        // A browser holds the whole text against it, a schema any part.
        pattern: pattern.map(|pattern| format!(".*(?:{pattern}).*")),
        ..Line::default()
    }
}

/// Whether browsers understand a pattern as the schema does: nothing but letters, digits, classes of these, repetitions,
/// groups and alternatives.
fn is_plain(pattern: &str) -> bool {
    let mut rest = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        let is_fine = match (in_class, c) {
            (_, '\\') => rest.next().is_some_and(|c| matches!(c, 'd' | 'w' | 's' | '.')),
            (false, '[') => {
                in_class = true;
                rest.next_if_eq(&'^');
                rest.peek() != Some(&']')
            }
            (true, ']') => {
                in_class = false;
                true
            }
            (true, '-') => rest.peek().is_some_and(char::is_ascii_alphanumeric),
            (true, c) => c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '.' | ':' | ',' | '+'),
            (false, '(') => rest.peek() != Some(&'?'),
            (false, c) => c.is_ascii_alphanumeric() || " _-.,:/@#^$*+?{})|".contains(c),
        };
        if !is_fine {
            return false;
        }
    }
    !in_class
}

fn number_line(number: &Number) -> Line {
    let bound = |bound: &Option<(serde_json::Number, bool)>, step: i64| match bound {
        Some((limit, true)) => Some(limit.to_string()),
        Some((limit, false)) if number.is_whole => limit.as_i64()?.checked_add(step).map(|it| it.to_string()),
        _ => None,
    };
    // Browsers count steps from the least value, schemas from zero.
    let multiple = number.multiple_of.as_ref().filter(|_| number.least.is_none()).map(ToString::to_string);
    Line {
        kind: "number",
        mode: Some(if number.is_whole { "numeric" } else { "decimal" }),
        least: bound(&number.least, 1),
        most: bound(&number.most, -1),
        step: multiple.or_else(|| Some(if number.is_whole { "1" } else { "any" }.to_owned())),
        ..Line::default()
    }
}

/// What is allowed, in words.
fn hints(it: &InputDescription, field: &Field) -> Vec<String> {
    let mut hints = Vec::new();
    match field.count {
        Count::One => {}
        Count::Several { least: 0, most: None } => hints.push("Any number of values.".to_owned()),
        Count::Several { least, most: None } => hints.push(format!("At least {least} values.")),
        Count::Several { least: 0, most: Some(most) } => hints.push(format!("Up to {most} values.")),
        Count::Several { least, most: Some(most) } if least == most => hints.push(format!("{most} values.")),
        Count::Several { least, most: Some(most) } => hints.push(format!("{least} to {most} values.")),
    }
    match &field.control {
        Control::Text(text) => of_text(text, &mut hints),
        Control::Number(number) => of_number(number, &mut hints),
        Control::Bytes { media_type } => {
            let kind = media_type.as_ref().map(|kind| format!(" of type {kind}")).unwrap_or_default();
            hints.push(format!("A file{kind}, as text in base64."));
        }
        Control::Json { may_be_text: true } => hints.push("Text, or JSON.".to_owned()),
        Control::Json { may_be_text: false } => hints.push("JSON.".to_owned()),
        Control::Flag | Control::Choice(_) | Control::Bounds(_) | Control::Typed(_) => {}
    }
    if matches!(field.control, Control::Json { .. }) && it.max_occurs.is_list() {
        hints.push(match it.max_occurs {
            MaxOccurs::Count(most) => format!("One value, or a list of up to {most}."),
            MaxOccurs::Unbounded => "One value, or a list of them.".to_owned(),
        });
    }
    if let Some(default) = it.schema.get("default").filter(|_| !it.is_required()) {
        hints.push(match default {
            Value::String(text) if text.chars().count() <= 80 => format!("Default: {text}."),
            other if !other.is_string() && other.to_string().len() <= 80 => format!("Default: {other}."),
            _ => "There is a default.".to_owned(),
        });
    }
    hints
}

fn of_text(text: &Text, hints: &mut Vec<String>) {
    match (text.least.filter(|least| *least > 0), text.most) {
        (None, None) => {}
        (Some(least), None) => hints.push(format!("At least {least} characters.")),
        (None, Some(most)) => hints.push(format!("At most {most} characters.")),
        (Some(least), Some(most)) => hints.push(format!("{least} to {most} characters.")),
    }
    match text.kind {
        TextKind::DateTime => hints.push("A date and time with its offset, such as 2026-01-31T12:00:00Z.".to_owned()),
        TextKind::Url => hints.push("A URL.".to_owned()),
        _ => {}
    }
    if let Some(pattern) = &text.pattern {
        hints.push(format!("Of the pattern {pattern}"));
    }
}

fn of_number(number: &Number, hints: &mut Vec<String>) {
    let kind = if number.is_whole { "A whole number" } else { "A number" };
    let limits = match (&number.least, &number.most) {
        (None, None) => String::new(),
        (Some((least, true)), Some((most, true))) => format!(" from {least} to {most}"),
        (least, most) => {
            let word = |limit: &Option<(serde_json::Number, bool)>, open: &str, closed: &str| {
                limit.as_ref().map(|(limit, is_one)| format!("{} {limit}", if *is_one { closed } else { open }))
            };
            let words = [word(least, "more than", "at least"), word(most, "less than", "at most")];
            format!(", {}", words.into_iter().flatten().collect::<Vec<_>>().join(" and "))
        }
    };
    let multiple = number.multiple_of.as_ref().map(|it| format!(", a multiple of {it}")).unwrap_or_default();
    hints.push(format!("{kind}{limits}{multiple}."));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_patterns_that_browsers_understand_are_theirs_to_check() {
        for plain in ["^[A-Z]{3}$", "a+|b*", r"^\d{2}-\w+$", "(ab)?", "[^a-z]"] {
            assert!(is_plain(plain), "{plain}");
        }
        for other in ["[", r"\p{L}", "(?i)a", "(?<=a)b", "[a-]", "[&&]", r"\", "[]a]", "a\"b"] {
            assert!(!is_plain(other), "{other}");
        }
    }

    #[test]
    fn limits_are_told_in_words_and_to_the_browser() {
        let number =
            Number { is_whole: true, least: Some((0.into(), false)), most: Some((9.into(), true)), multiple_of: None };
        let mut hints = Vec::new();
        of_number(&number, &mut hints);
        assert_eq!(hints, ["A whole number, more than 0 and at most 9."]);
        let line = number_line(&number);
        assert_eq!(
            (line.least.as_deref(), line.most.as_deref(), line.step.as_deref()),
            (Some("1"), Some("9"), Some("1"))
        );
    }
}
