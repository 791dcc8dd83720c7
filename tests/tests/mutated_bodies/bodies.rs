//! Bodies of executions that are right, and how they are broken.

use end_to_end::tools::workspace_directory;
use proptest::{
    prelude::*,
    sample::{Index, select},
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde_json::{Map, Value, json};

/// Stand for what [`Value`] can't hold; written out when the body is.
const HUGE: &str = "@huge@";
const DEEP: &str = "@deep@";
const HUGE_NUMBERS: [&str; 5] = ["1e999", "-1e400", "123456789012345678901234567890", "1e308", "0.1e-400"];

/// One execution.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) process: &'static str,
    pub(super) body: Vec<u8>,
}

/// Configuration of the processes: the echo process as it is shipped, and one with schemas of many kinds.
pub(super) fn processes() -> String {
    let shipped = std::fs::read_to_string(workspace_directory().join("deploy/examples/echo.yaml")).unwrap();
    let (_, echo) = shipped.split_once("\nresources:\n").unwrap();
    format!(
        "{echo}
  kinds:
    type: process
    processor:
      name: GenericImageProcessor
      check_auth: false
      default_image: bash:5
      metadata:
        version: 1.0.0
        title: Kinds
        description: Schemas of many kinds
        outputs: {{out: {{schema: {{type: string}}}}}}
        inputs:
          words: {{schema: {{type: string, enum: [red, green, blue]}}, minOccurs: 1, maxOccurs: 3}}
          count: {{schema: {{type: integer, minimum: 0, maximum: 10, exclusiveMaximum: true, nullable: true, default: 3}}, minOccurs: 0}}
          name: {{schema: {{type: string, pattern: '^[a-z]{{1,8}}$'}}, minOccurs: 0}}
          ratio: {{schema: {{type: number, multipleOf: 0.5, minimum: -4}}, minOccurs: 0}}
          flag: {{schema: {{type: boolean}}, minOccurs: 0}}
          rows: {{schema: {{type: array, maxItems: 3, items: {{type: array, uniqueItems: true, items: {{type: integer}}}}}}, minOccurs: 0}}
          part:
            minOccurs: 0
            schema:
              type: object
              additionalProperties: false
              required: [id]
              definitions: {{id: {{type: string, minLength: 2}}}}
              properties:
                id: {{$ref: '#/definitions/id'}}
                next: {{$ref: '#'}}
          geometry:
            minOccurs: 0
            maxOccurs: unbounded
            schema:
              oneOf:
                - {{type: string, contentMediaType: application/gml+xml; version=3.2}}
                - allOf: [{{format: geojson-geometry}}, {{type: object, required: [coordinates]}}]
          image:
            minOccurs: 0
            schema:
              oneOf:
                - {{type: string, contentEncoding: binary, contentMediaType: image/tiff}}
                - {{type: string, contentEncoding: base64, contentMediaType: image/jp2}}
          box: {{schema: {{format: ogc-bbox}}, minOccurs: 0}}
          anything: {{schema: {{}}, minOccurs: 0}}
"
    )
}

/// Bodies that are right.
pub(super) fn right() -> Vec<(&'static str, Value)> {
    vec![
        ("echo", json!({"inputs": {"echoInput": "a"}})),
        (
            "echo",
            json!({"inputs": {"echoInput": "a"}, "subscriber": {"successUri": "https://hooks.example.org/done?key=a",
                "inProgressUri": "https://hooks.example.org:8443/", "failedUri": "https://93.184.216.34/failed"}}),
        ),
        (
            "echo",
            json!({"inputs": {"echoInput": "a", "arrayInput": [1, 2], "bboxInput": {"bbox": [1, 2, 3, 4]}, "mixedInput": "m",
                "objectInput": {"name": "n", "size": 1.5}, "binaryInput": "TWFu", "pause": 1}, "response": "document"}),
        ),
        (
            "echo",
            json!({"inputs": {"echoInput": {"value": "a", "mediaType": "text/plain"}, "mixedInput": {"value": {"a": 1}},
                "objectInput": {"value": {"name": "n"}}, "binaryInput": {"value": "TWFu", "encoding": "base64",
                "mediaType": "image/tiff"}}, "outputs": {"echoInput": {"transmissionMode": "value"}}}),
        ),
        ("kinds", json!({"inputs": {"words": "red"}})),
        (
            "kinds",
            json!({"inputs": {"words": ["red", "blue"], "count": null, "name": "abc", "ratio": 1.5, "flag": true,
                "rows": [[1, 2], [3]], "part": {"id": "ab", "next": {"id": "cd"}}, "image": "TWFu",
                "box": {"bbox": [1, 2, 3, 4, 5, 6], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"}}}),
        ),
        (
            "kinds",
            json!({"inputs": {"words": [{"value": "green"}], "count": 9, "anything": [{"a": null}], "geometry": ["<gml/>",
                {"coordinates": []}, {"value": "<gml/>", "format": {"mediaType": "application/gml+xml"}}],
                "image": {"value": "TWFu", "mediaType": "image/jp2", "encoding": "base64"}}}),
        ),
    ]
}

/// Bodies that are not.
pub(super) fn wrong() -> Vec<(&'static str, Value)> {
    let of_kinds = |id: &str, value: Value| ("kinds", json!({"inputs": {"words": "red", id: value}}));
    vec![
        ("echo", json!({"inputs": {}})),
        ("echo", json!({"inputs": {"echoInput": 1}})),
        ("echo", json!({"inputs": {"echoInput": "a", "other": 1}})),
        ("echo", json!({"inputs": {"echoInput": {"href": "https://example.org/"}}})),
        ("kinds", json!({"inputs": {"words": []}})),
        ("kinds", json!({"inputs": {"words": ["red", "red", "red", "red"]}})),
        of_kinds("count", json!(10)),
        of_kinds("name", json!("A")),
        of_kinds("ratio", json!(0.3)),
        of_kinds("rows", json!([[1, 1]])),
        of_kinds("part", json!({"id": "ab", "next": {"id": "c"}})),
        of_kinds("geometry", json!({"value": "<gml/>", "mediaType": "text/csv"})),
        of_kinds("image", json!("?")),
        of_kinds("box", json!({"bbox": [1, 2, 3]})),
    ]
}

/// So many bodies, each broken at a few places or none; the same for the same seed.
pub(super) fn generate(seed: u64, count: usize) -> Vec<Asked> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let strategy = (select(right()), prop::collection::vec(mutation(), 0..4), prop::collection::vec(flip(), 0..3));
    (0..count)
        .map(|_| {
            let ((process, mut body), mutations, flips) = strategy.new_tree(&mut runner).unwrap().current();
            for mutation in &mutations {
                mutation.apply(&mut body);
            }
            let mut body = written(&body, &mutations);
            // One body in three has bytes flipped, so that most get past the parser.
            if mutations.len() % 3 == 2 {
                flips.iter().for_each(|flip| flip.apply(&mut body));
            }
            Asked { process, body }
        })
        .collect()
}

#[derive(Debug, Clone)]
enum Mutation {
    Replace(Index, Value),
    Drop(Index),
    Add(Index, String, Value),
    Repeat(Index, Value),
    Wrap(Index, &'static str),
}

#[derive(Debug, Clone)]
enum Flip {
    Bit(Index, u8),
    Cut(Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<Index>;
    let names =
        select(vec!["value", "mediaType", "encoding", "format", "bbox", "crs", "words", "count", "pause", "other", ""]);
    prop_oneof![
        4 => (at(), replacement()).prop_map(|(at, value)| Mutation::Replace(at, value)),
        2 => at().prop_map(Mutation::Drop),
        2 => (at(), names, replacement()).prop_map(|(at, name, value)| Mutation::Add(at, name.to_owned(), value)),
        1 => (at(), replacement()).prop_map(|(at, value)| Mutation::Repeat(at, value)),
        2 => (at(), select(vec!["value", "list", "href", "bbox"])).prop_map(|(at, how)| Mutation::Wrap(at, how)),
    ]
}

fn replacement() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-20_i64..20).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-40_i32..40).prop_map(|number| Value::from(f64::from(number) / 4.0)),
        "[a-zA-Z=+/ \\n\u{e4}\u{1f30a}]{0,12}".prop_map(Value::from),
        select(vec!["red", "TWFu", "<gml/>", "text/plain", "image/tiff", "image/jp2", "base64", HUGE, DEEP])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((select(vec!["value", "id", "next", "coordinates", "bbox", "a"]), inner), 0..4)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn flip() -> impl Strategy<Value = Flip> {
    prop_oneof![
        4 => (any::<Index>(), 0_u8..8).prop_map(|(at, bit)| Flip::Bit(at, bit)),
        1 => any::<Index>().prop_map(Flip::Cut),
    ]
}

impl Mutation {
    fn apply(&self, body: &mut Value) {
        match self {
            Self::Replace(at, value) => *chosen(body, at) = value.clone(),
            Self::Wrap(at, how) => {
                let place = chosen(body, at);
                let inner = place.take();
                *place = match *how {
                    "value" => json!({"value": inner}),
                    "list" => json!([inner]),
                    // Never one that the gateway would connect to: it takes https only.
                    "href" => json!({"href": "http://127.0.0.1:9/", "type": "application/json"}),
                    _ => json!({"bbox": inner}),
                };
            }
            Self::Drop(at) => match chosen(body, at) {
                Value::Object(members) => {
                    if let Some(name) = members.keys().nth(at.index(members.len().max(1))).cloned() {
                        members.shift_remove(&name);
                    }
                }
                Value::Array(items) if !items.is_empty() => {
                    items.remove(at.index(items.len()));
                }
                other => *other = Value::Null,
            },
            Self::Add(at, name, value) => match chosen(body, at) {
                Value::Object(members) => {
                    members.insert(name.clone(), value.clone());
                }
                Value::Array(items) => items.push(value.clone()),
                other => *other = value.clone(),
            },
            // Done in the text: an object of this kind can't hold a member twice.
            Self::Repeat(..) => {}
        }
    }
}

impl Flip {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Bit(at, bit) => {
                let at = at.index(body.len());
                body[at] ^= 1 << bit;
            }
            Self::Cut(at) => body.truncate(at.index(body.len())),
        }
    }
}

/// One of the places in a body.
fn chosen<'a>(body: &'a mut Value, at: &Index) -> &'a mut Value {
    let mut pointers = Vec::new();
    places(body, String::new(), &mut pointers);
    // The first is the body itself, which leaves little to look at.
    let pointer = pointers[at.index(pointers.len())].clone();
    body.pointer_mut(&pointer).unwrap()
}

fn places(value: &Value, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                places(member, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
    found.push(pointer);
}

fn written(body: &Value, mutations: &[Mutation]) -> Vec<u8> {
    let mut text = body.to_string();
    for mutation in mutations {
        if let Mutation::Repeat(at, value) = mutation
            && let Some(inputs) = body.get("inputs").and_then(Value::as_object).filter(|inputs| !inputs.is_empty())
        {
            let id = inputs.keys().nth(at.index(inputs.len())).unwrap();
            // Once before and once after: the last one counts.
            let member = Value::Object(Map::from_iter([(id.clone(), value.clone())])).to_string();
            let member = &member[1..member.len() - 1];
            text = if at.index(2) == 0 {
                text.replacen("\"inputs\":{", &format!("\"inputs\":{{{member},"), 1)
            } else {
                text.replacen("\"inputs\":{", &format!("\"inputs\":{{\"x\":{{}},\"inputs\":{{{member}}},"), 1)
            };
        }
    }
    let number = HUGE_NUMBERS[text.len() % HUGE_NUMBERS.len()];
    let depth = [50, 120, 5_000][text.len() % 3];
    let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    text.replace(&format!("\"{HUGE}\""), number).replace(&format!("\"{DEEP}\""), &deep).into_bytes()
}
