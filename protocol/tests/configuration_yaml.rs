//! The YAML reader against PyYAML 6.0's safe loader with pygeoapi's variables. The expected values were taken from it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use config::{Config, File, FileStoredFormat, Map, Source, Value, ValueKind};
use protocol::configuration::yaml::Yaml11;

fn environment(name: &str) -> Option<String> {
    let value = match name {
        "PORT" => "8080",
        "RATIO" => "1.50",
        "ZEROS" => "007",
        "EMPTY" => "",
        "FLAG" => "true",
        "NAME" => "quay",
        _ => return None,
    };
    Some(value.to_owned())
}

fn read(text: &str) -> Result<Map<String, Value>, String> {
    let format = Yaml11::new("test.yml", text, &environment);
    File::from_str(text, format).collect().map_err(|error| error.to_string())
}

fn value(scalar: &str) -> ValueKind {
    read(&format!("k: {scalar}\n")).unwrap()["k"].kind.clone()
}

fn text(text: &str) -> ValueKind {
    ValueKind::String(text.to_owned())
}

#[track_caller]
fn assert_values(expected: &[(&str, ValueKind)]) {
    for (scalar, kind) in expected {
        assert_eq!(value(scalar), *kind, "{scalar:?}");
    }
}

#[test]
fn booleans_and_null_are_the_words_of_yaml_1_1() {
    let words = |words: &[&str], kind: ValueKind| {
        for word in words {
            assert_eq!(value(word), kind, "{word:?}");
        }
    };
    words(&["yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], ValueKind::Boolean(true));
    words(&["no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], ValueKind::Boolean(false));
    words(&["", "~", "null", "Null", "NULL"], ValueKind::Nil);
    assert_values(&[("y", text("y")), ("n", text("n")), ("tRue", text("tRue")), ("nULL", text("nULL"))]);
}

#[test]
fn integers_may_be_binary_octal_hexadecimal_or_of_base_60() {
    assert_values(&[
        ("0", ValueKind::I64(0)),
        ("-42", ValueKind::I64(-42)),
        ("+42", ValueKind::I64(42)),
        ("1_000", ValueKind::I64(1000)),
        ("017", ValueKind::I64(15)),
        ("0x1F", ValueKind::I64(31)),
        ("-0b101", ValueKind::I64(-5)),
        ("190:20:30", ValueKind::I64(685_230)),
        ("1:30", ValueKind::I64(90)),
        ("18446744073709551615", ValueKind::U64(u64::MAX)),
        ("99999999999999999999", ValueKind::I128(99_999_999_999_999_999_999)),
        ("08", text("08")),
        ("0o17", text("0o17")),
        ("08:30", text("08:30")),
        ("1:99", text("1:99")),
    ]);
}

#[test]
fn floats_need_a_point_and_a_signed_exponent() {
    assert_values(&[
        ("1.5", ValueKind::Float(1.5)),
        ("5.", ValueKind::Float(5.0)),
        (".5", ValueKind::Float(0.5)),
        ("685_230.15", ValueKind::Float(685_230.15)),
        ("6.8523015e+5", ValueKind::Float(685_230.15)),
        ("190:20:30.15", ValueKind::Float(685_230.15)),
        ("-.inf", ValueKind::Float(f64::NEG_INFINITY)),
        ("1e3", text("1e3")),
        ("1.5e3", text("1.5e3")),
        ("-.5", text("-.5")),
        ("1.2.3", text("1.2.3")),
    ]);
    assert!(matches!(value(".NaN"), ValueKind::Float(number) if number.is_nan()));
}

#[test]
fn quoted_and_block_scalars_are_text() {
    assert_values(&[
        ("'yes'", text("yes")),
        ("\"12\"", text("12")),
        ("'it''s'", text("it's")),
        ("\"a\\tb\"", text("a\tb")),
        ("|\n  12\n", text("12\n")),
        (">-\n  a\n  b\n", text("a b")),
        ("2024-01-01", text("2024-01-01")),
    ]);
}

#[test]
fn the_tags_of_yaml_are_obeyed_and_others_refused() {
    assert_values(&[
        ("!!str 12", text("12")),
        ("!!int '12'", ValueKind::I64(12)),
        ("!!float 3", ValueKind::Float(3.0)),
        ("!!bool 'yes'", ValueKind::Boolean(true)),
        ("! 12", ValueKind::I64(12)),
        ("!env '${PORT}'", ValueKind::I64(8080)),
    ]);
    assert!(read("k: !own 1").unwrap_err().contains("k (1:1): the tag !own is unknown"));
    assert!(read("k: !!int x").unwrap_err().contains("k (1:1): the tag !!int doesn't fit"));
}

#[test]
fn variables_are_expanded_in_plain_scalars_and_typed_anew() {
    assert_values(&[
        ("${PORT}", ValueKind::I64(8080)),
        ("${UNSET:-5000}", ValueKind::I64(5000)),
        ("${PORT:-5000}", ValueKind::I64(8080)),
        ("${RATIO}", ValueKind::Float(1.5)),
        ("${FLAG}", ValueKind::Boolean(true)),
        ("${UNSET:-no}", ValueKind::Boolean(false)),
        ("${ZEROS}", text("007")),
        ("${UNSET:-1_000}", text("1_000")),
        ("${UNSET:-12:30}", text("12:30")),
        ("http://${NAME}:${PORT}/x", text("http://quay:8080/x")),
        ("${UNSET:-a b} c", text("a b c")),
        ("${EMPTY:-full}", text("")),
        ("${UNSET:-}", text("")),
    ]);
}

#[test]
fn variables_in_quoted_and_block_scalars_stay_as_they_are() {
    assert_values(&[
        ("'${PORT}'", text("${PORT}")),
        ("\"${UNSET}\"", text("${UNSET}")),
        ("|\n  echo ${UNSET}\n", text("echo ${UNSET}\n")),
        (">-\n  echo ${UNSET}\n", text("echo ${UNSET}")),
    ]);
}

#[test]
fn what_is_no_variable_stays_as_it_is() {
    for scalar in ["${}", "$NAME", "${a-b}", "${NAME", "${NAME:+x}", "$(NAME)"] {
        assert_eq!(value(scalar), text(scalar));
    }
}

#[test]
fn a_variable_that_is_not_set_is_a_mistake_with_its_place() {
    let error = read("a:\n  b:\n    - '${FINE}'\n    - x${UNSET}\n").unwrap_err();
    assert!(error.contains("a.b[1] (4:7): the environment variable UNSET is not set"), "{error}");
}

#[test]
fn an_anchored_mapping_is_shared_by_several_entries() {
    let tree = read("a: &shared {p: 1, q: [x]}\nb: *shared\nc: *shared\n").unwrap();
    assert_eq!(tree["a"].kind, tree["b"].kind);
    assert_eq!(tree["b"].kind, tree["c"].kind);
}

#[test]
fn merged_keys_come_first_and_own_ones_win() {
    let tree = read("a: &a {p: 1, q: 2}\nb:\n  r: 4\n  <<: *a\n  q: 3\n").unwrap();
    assert_eq!(entries(&tree["b"]), [("p", "1"), ("q", "3"), ("r", "4")]);
}

#[test]
fn of_several_merged_mappings_the_first_wins() {
    let tree = read("a: &a {p: 1}\nb: &b {p: 2, s: 5}\nc:\n  <<: [*a, *b]\n").unwrap();
    assert_eq!(entries(&tree["c"]), [("p", "1"), ("s", "5")]);
}

#[test]
fn only_mappings_can_be_merged() {
    let error = read("a: &a 1\nb:\n  <<: *a\n").unwrap_err();
    assert!(error.contains("b.\"<<\" (3:3): is no mapping"), "{error}");
}

#[test]
fn keys_keep_their_order_and_their_text() {
    let tree = read("z: 1\nno: 2\na: 3\n10: 4\n").unwrap();
    assert_eq!(tree.keys().collect::<Vec<_>>(), ["z", "no", "a", "10"]);
}

#[test]
fn values_know_the_place_of_their_key() {
    let tree = read("a:\n  bc: x\n  d:\n    - 1\n    -   2\n").unwrap();
    let ValueKind::Table(a) = &tree["a"].kind else { panic!() };
    assert_eq!(a["bc"].origin(), Some("test.yml:2:3"));
    let ValueKind::Array(items) = &a["d"].kind else { panic!() };
    assert_eq!(items[1].origin(), Some("test.yml:5:9"));
}

#[test]
fn the_format_layers_like_any_other_of_the_config_crate() {
    let text = "server:\n  bind:\n    host: a\n    port: ${PORT}\n";
    let format = Yaml11::new("test.yml", text, &environment);
    assert!(format.file_extensions().contains(&"yml"));
    let layers = Config::builder().add_source(File::from_str(text, format)).set_override("server.bind.host", "b");
    let settings = layers.unwrap().build().unwrap();
    assert_eq!(settings.get_string("server.bind.host").unwrap(), "b");
    assert_eq!(settings.get_int("server.bind.port").unwrap(), 8080);
}

#[test]
fn what_is_no_yaml_mapping_is_refused_with_its_place() {
    for (text, place) in [
        ("", "document (1:1)"),
        ("- 1\n", "document (1:1)"),
        ("a: [1\nb: 2\n", "is no YAML"),
        ("a: 1\n---\nb: 2\n", "document (2:1): holds a second document"),
        ("a: *nowhere\n", "a (1:1): the alias *nowhere has no anchor"),
        ("a: &a [*a]\n", "a[0] (1:8): an alias can't be part of what it stands for"),
        ("? [x]\n: 1\n", "a key can't be a list"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(place), "{text:?}: {error}");
    }
}

#[test]
fn aliases_of_aliases_are_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    assert!(read(&text).unwrap_err().contains("aliases copy more than 32 MiB"));
}

#[test]
fn nesting_is_bounded_through_aliases_too() {
    let flat = format!("a: {}{}\n", "[".repeat(3000), "]".repeat(3000));
    assert!(read(&flat).is_err());
    let mut chain = "a0: &a0 [1]\n".to_owned();
    for level in 1..2000 {
        chain.push_str(&format!("a{level}: &a{level} [[[[*a{}]]]]\n", level - 1));
    }
    assert!(read(&chain).unwrap_err().contains("nested more than 100 levels deep"));
}

fn entries(value: &Value) -> Vec<(&str, &str)> {
    let ValueKind::Table(table) = &value.kind else { panic!("{value:?} is no table") };
    let digits = ["0", "1", "2", "3", "4", "5"];
    table
        .iter()
        .map(|(key, value)| match value.kind {
            ValueKind::I64(number) => (key.as_str(), digits[usize::try_from(number).unwrap()]),
            _ => panic!("{value:?} is no number"),
        })
        .collect()
}
