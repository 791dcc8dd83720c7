//! Which control a schema gets.

use protocol::{
    process::{InputDescription, MaxOccurs},
    schema::bounding_box,
};
use serde_json::Value;

/// References that are followed before a schema is given up on.
const REFERENCES: usize = 8;
/// Values of an enumeration that are offered; longer ones are typed.
const OPTIONS: usize = 500;
/// Texts that may be longer than this get several lines.
const LINE: u64 = 300;

/// How an input is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// What one value is asked for by.
    pub(crate) control: Control,
    /// How many values there may be.
    pub(crate) count: Count,
    /// Whether a link can stand for the value.
    pub(crate) by_reference: bool,
}

/// How many values a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// One.
    One,
    /// Several, which are a list.
    Several {
        /// At least so many.
        least: u64,
        /// At most so many; `None`: any number.
        most: Option<u64>,
    },
}

/// What one value is asked for by.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Control {
    /// A text.
    Text(Text),
    /// A number.
    Number(Number),
    /// True or false.
    Flag,
    /// One of these.
    Choice(Vec<Value>),
    /// A bounding box in one of these reference systems.
    Bounds(Vec<String>),
    /// Bytes: text in base64.
    Bytes {
        /// What they are, if the schema says so.
        media_type: Option<String>,
    },
    /// A value in one of these media types.
    Typed(Vec<String>),
    /// Anything else, as JSON.
    Json {
        /// Whether what is no JSON may be meant as text.
        may_be_text: bool,
    },
}

/// A text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Text {
    pub(crate) kind: TextKind,
    pub(crate) least: Option<u64>,
    pub(crate) most: Option<u64>,
    pub(crate) pattern: Option<String>,
}

/// What a text is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum TextKind {
    /// One line.
    #[default]
    Line,
    /// Several lines.
    Lines,
    /// A date.
    Date,
    /// A date and time with its offset.
    DateTime,
    /// A URL.
    Url,
    /// An email address.
    Email,
    /// Something that is not shown.
    Secret,
}

/// A number.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Number {
    pub(crate) is_whole: bool,
    /// The least value and whether it is one.
    pub(crate) least: Option<(serde_json::Number, bool)>,
    /// The largest value and whether it is one.
    pub(crate) most: Option<(serde_json::Number, bool)>,
    pub(crate) multiple_of: Option<serde_json::Number>,
}

impl Field {
    /// The field of an input.
    pub(crate) fn of(input: &InputDescription) -> Self {
        let control = control(&input.schema, &input.schema);
        let (control, count) = match (control, input.max_occurs) {
            (Found::One(control), MaxOccurs::Count(1)) => (control, Count::One),
            (Found::List(control, count), MaxOccurs::Count(1)) => (control, count),
            // Only simple values have rows.
            (Found::One(control), most) if control.is_simple() => {
                let most = match most {
                    MaxOccurs::Count(most) => Some(u64::from(most)),
                    MaxOccurs::Unbounded => None,
                };
                (control, Count::Several { least: u64::from(input.min_occurs), most })
            }
            _ => (Control::Json { may_be_text: false }, Count::One),
        };
        let by_reference = count == Count::One && !control.is_simple();
        Self { control, count, by_reference }
    }
}

impl Control {
    /// Whether a value is one short text in a form.
    pub(crate) fn is_simple(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Number(_) | Self::Flag | Self::Choice(_))
    }
}

enum Found {
    One(Control),
    /// A list that is one value.
    List(Control, Count),
}

fn control(root: &Value, schema: &Value) -> Found {
    let json = Found::One(Control::Json { may_be_text: may_be_text(root, schema) });
    if let Some(systems) = reference_systems(root, schema) {
        return Found::One(Control::Bounds(systems));
    }
    let schema = resolved(root, schema);
    let has = |keyword: &str| schema.get(keyword).is_some();
    if let Some(media_types) = media_types(schema) {
        return Found::One(Control::Typed(media_types));
    }
    if has("oneOf") || has("anyOf") || has("allOf") || has("not") || has("$ref") {
        return json;
    }
    if let Some(options) = options(schema) {
        return Found::One(options);
    }
    match kind(schema) {
        Some("string") => Found::One(text(schema)),
        Some("integer") => Found::One(Control::Number(number(schema, true))),
        Some("number") => Found::One(Control::Number(number(schema, false))),
        Some("boolean") => Found::One(Control::Flag),
        // A list of lists is no list of simple values, and may be one of itself.
        Some("array") => match schema.get("items").map(|items| (items, kind(resolved(root, items)))) {
            Some((_, Some("array"))) | None => json,
            Some((items, _)) => match control(root, items) {
                Found::One(item) if item.is_simple() && !has("prefixItems") => {
                    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
                    let count = Count::Several { least: bound("minItems").unwrap_or(0), most: bound("maxItems") };
                    Found::List(item, count)
                }
                _ => json,
            },
        },
        _ => json,
    }
}

/// Follows `$ref` inside of the schema.
fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut found = schema;
    for _ in 0..REFERENCES {
        let Some(place) = found.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix('#')) else { break };
        match root.pointer(place) {
            Some(target) => found = target,
            None => break,
        }
    }
    found
}

/// The type; of a type that may be null, too, the other one.
fn kind(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => {
            let mut others = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            others.next().filter(|_| others.next().is_none())
        }
        _ => None,
    }
}

fn options(schema: &Value) -> Option<Control> {
    let values = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(values)), _) => values.clone(),
        (_, Some(value)) => vec![value.clone()],
        _ => return None,
    };
    let is_short = values.len() <= OPTIONS && values.iter().all(|value| !value.is_object() && !value.is_array());
    is_short.then(|| Control::Choice(values.into_iter().filter(|value| !value.is_null()).collect()))
}

fn text(schema: &Value) -> Control {
    let word = |keyword: &str| schema.get(keyword).and_then(Value::as_str);
    let (media_type, encoding) = (word("contentMediaType"), word("contentEncoding"));
    let is_bytes = encoding.is_some_and(protocol::schema::binary::names_base64)
        || matches!(word("format"), Some("byte" | "binary"));
    if is_bytes {
        return Control::Bytes { media_type: media_type.map(str::to_owned) };
    }
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    let most = bound("maxLength");
    let has_lines = schema.get("default").and_then(Value::as_str).is_some_and(|text| text.contains('\n'));
    let kind = match word("format") {
        Some("date") => TextKind::Date,
        Some("date-time") => TextKind::DateTime,
        Some("uri" | "url") => TextKind::Url,
        Some("email") => TextKind::Email,
        Some("password") => TextKind::Secret,
        _ if media_type.is_some() || has_lines || most.is_some_and(|most| most > LINE) => TextKind::Lines,
        _ => TextKind::Line,
    };
    Control::Text(Text { kind, least: bound("minLength"), most, pattern: word("pattern").map(str::to_owned) })
}

fn number(schema: &Value, is_whole: bool) -> Number {
    let bound = |inclusive: &str, exclusive: &str| {
        let number = |keyword: &str| schema.get(keyword).and_then(Value::as_number).cloned();
        let is_open = schema.get(exclusive) == Some(&Value::Bool(true));
        number(exclusive).map(|limit| (limit, false)).or_else(|| number(inclusive).map(|limit| (limit, !is_open)))
    };
    Number {
        is_whole,
        least: bound("minimum", "exclusiveMinimum"),
        most: bound("maximum", "exclusiveMaximum"),
        multiple_of: schema.get("multipleOf").and_then(Value::as_number).cloned(),
    }
}

/// The reference systems of a bounding box; `None`: it is none.
fn reference_systems(root: &Value, schema: &Value) -> Option<Vec<String>> {
    let is_named = |schema: &Value| {
        schema.get("$ref").and_then(Value::as_str).is_some_and(|url| bounding_box::URLS.contains(&url))
            || schema.get("format").and_then(Value::as_str) == Some(bounding_box::FORMAT)
    };
    let resolved = resolved(root, schema);
    let parts = || resolved.get("allOf").and_then(Value::as_array).into_iter().flatten();
    if resolved.get("oneOf").is_some()
        || resolved.get("anyOf").is_some()
        || !(is_named(schema) || is_named(resolved) || parts().any(is_named))
    {
        return None;
    }
    let listed = std::iter::once(resolved).chain(parts()).find_map(|part| {
        let system = part.get("properties")?.get("crs")?;
        let listed = system.get("enum").and_then(Value::as_array).cloned();
        listed.or_else(|| system.get("const").map(|only| vec![only.clone()]))
    });
    let known = || bounding_box::REFERENCE_SYSTEMS.map(str::to_owned).to_vec();
    Some(listed.map_or_else(known, |all| all.iter().filter_map(Value::as_str).map(str::to_owned).collect()))
}

/// The media types among which a value chooses.
fn media_types(schema: &Value) -> Option<Vec<String>> {
    if schema.get("contentMediaType").is_some() {
        return None;
    }
    let alternatives = schema.get("oneOf").or_else(|| schema.get("anyOf"))?.as_array()?;
    let named = |it: &Value| it.get("contentMediaType").and_then(Value::as_str).map(str::to_owned);
    let media_types: Vec<String> = alternatives.iter().filter_map(named).collect();
    (!media_types.is_empty() && media_types.len() == alternatives.len()).then_some(media_types)
}

/// Whether a value may be text.
fn may_be_text(root: &Value, schema: &Value) -> bool {
    let schema = resolved(root, schema);
    let is_text = |schema: &Value| match schema.get("type") {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    };
    let parts = ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
    is_text(schema) || parts.into_iter().any(|part| is_text(resolved(root, part)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(schema: Value, min_occurs: u32, max_occurs: MaxOccurs) -> Field {
        let (description, keywords, metadata, additional_parameters) = (None, None, None, None);
        let title = "Input".into();
        Field::of(&InputDescription {
            title,
            description,
            schema,
            min_occurs,
            max_occurs,
            keywords,
            metadata,
            additional_parameters,
        })
    }

    fn one(schema: Value) -> Control {
        let field = of(schema, 1, MaxOccurs::Count(1));
        assert_eq!(field.count, Count::One);
        field.control
    }

    #[test]
    fn simple_schemas_get_simple_controls() {
        let line = Text { most: Some(9), pattern: Some("a+".into()), ..Text::default() };
        assert_eq!(one(json!({"type": "string", "maxLength": 9, "pattern": "a+"})), Control::Text(line));
        for (format, kind) in [
            ("date", TextKind::Date),
            ("date-time", TextKind::DateTime),
            ("uri", TextKind::Url),
            ("email", TextKind::Email),
            ("password", TextKind::Secret),
            ("other", TextKind::Line),
        ] {
            let text = Text { kind, ..Text::default() };
            assert_eq!(one(json!({"type": ["null", "string"], "format": format})), Control::Text(text), "{format}");
        }
        assert_eq!(one(json!({"type": "boolean"})), Control::Flag);
        assert_eq!(one(json!({"enum": ["a", 1, null]})), Control::Choice(vec!["a".into(), 1.into()]));
        assert_eq!(one(json!({"type": "string", "format": "byte"})), Control::Bytes { media_type: None });
        let number = |least, is_least| Number {
            is_whole: true,
            least: Some((serde_json::Number::from(least), is_least)),
            ..Number::default()
        };
        assert_eq!(one(json!({"type": "integer", "minimum": 2})), Control::Number(number(2, true)));
        assert_eq!(
            one(json!({"type": "integer", "minimum": 2, "exclusiveMinimum": true})),
            Control::Number(number(2, false))
        );
        assert_eq!(one(json!({"type": "integer", "exclusiveMinimum": 2})), Control::Number(number(2, false)));
    }

    #[test]
    fn lists_of_simple_values_get_rows_and_other_lists_json() {
        let several = |least, most| Count::Several { least, most };
        let list = of(json!({"type": "array", "items": {"type": "number"}, "minItems": 2}), 1, MaxOccurs::Count(1));
        assert_eq!((list.control, list.count), (Control::Number(Number::default()), several(2, None)));
        let occurs = of(json!({"type": "number"}), 0, MaxOccurs::Count(5));
        assert_eq!((occurs.control, occurs.count), (Control::Number(Number::default()), several(0, Some(5))));
        let both = of(json!({"type": "array", "items": {"type": "number"}}), 0, MaxOccurs::Unbounded);
        assert_eq!((both.control, both.count), (Control::Json { may_be_text: false }, Count::One));
        assert_eq!(one(json!({"type": "array", "items": {"type": "object"}})), Control::Json { may_be_text: false });
    }

    #[test]
    fn boxes_media_types_and_everything_else_are_told_apart() {
        let systems = bounding_box::REFERENCE_SYSTEMS.map(str::to_owned).to_vec();
        assert_eq!(one(json!({"$ref": bounding_box::URLS[0]})), Control::Bounds(systems.clone()));
        let parts = json!({"allOf": [{"format": "ogc-bbox"}, {"properties": {"crs": {"enum": ["a"]}}}]});
        assert_eq!(one(parts), Control::Bounds(vec!["a".into()]));
        assert_eq!(one(json!({"type": "object", "format": "ogc-bbox"})), Control::Bounds(systems));
        let typed = json!({"oneOf": [{"contentMediaType": "a/b"}, {"contentMediaType": "c/d"}]});
        assert_eq!(one(typed), Control::Typed(vec!["a/b".into(), "c/d".into()]));
        let mixed = json!({"oneOf": [{"type": "string"}, {"type": "object"}]});
        assert_eq!(one(mixed), Control::Json { may_be_text: true });
        assert_eq!(one(json!({"type": "object"})), Control::Json { may_be_text: false });
        assert_eq!(one(json!({})), Control::Json { may_be_text: false });
    }

    #[test]
    fn references_inside_of_a_schema_are_followed_and_circles_end() {
        let schema = json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "boolean"}, "b": {"$ref": "#/$defs/b"}}});
        assert_eq!(one(schema), Control::Flag);
        let circle = json!({"$ref": "#/$defs/b", "$defs": {"b": {"$ref": "#/$defs/b"}}});
        assert_eq!(one(circle), Control::Json { may_be_text: false });
        let itself = json!({"type": "array", "items": {"$ref": "#"}});
        assert_eq!(one(itself), Control::Json { may_be_text: false });
    }
}
