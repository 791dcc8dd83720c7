use serde_json::json;

use super::*;

fn compiled(schema: Value) -> Schema {
    Schema::compile(&schema).unwrap_or_else(|mistakes| panic!("{schema}: {mistakes:?}"))
}

fn mistakes(schema: Value) -> Vec<(String, String)> {
    let found = Schema::compile(&schema).map(|_| ()).unwrap_err();
    found.into_iter().map(|mistake| (mistake.pointer, mistake.message)).collect()
}

fn assert_fits(schema: Value, fit: &[Value], misfit: &[Value]) {
    let compiled = compiled(schema.clone());
    for value in fit {
        assert!(compiled.fits(value), "{value} against {schema}");
        assert!(compiled.misfits(value).is_empty(), "{value} against {schema}");
    }
    for value in misfit {
        assert!(!compiled.fits(value), "{value} against {schema}");
        assert!(!compiled.misfits(value).is_empty(), "{value} against {schema}");
    }
}

#[test]
fn bounds_are_exclusive_as_openapi_and_as_json_schema_write_it() {
    let openapi =
        json!({"type": "number", "minimum": 0, "exclusiveMinimum": true, "maximum": 1, "exclusiveMaximum": false});
    assert_fits(openapi, &[json!(0.5), json!(1)], &[json!(0), json!(1.1)]);
    assert_fits(json!({"exclusiveMinimum": 0}), &[json!(0.1)], &[json!(0)]);
    assert_fits(json!({"exclusiveMaximum": true}), &[json!(5)], &[]);
}

#[test]
fn nullable_adds_null_to_the_type_and_the_enumeration() {
    let (text, null) = (json!("a"), Value::Null);
    assert_fits(json!({"type": "string"}), std::slice::from_ref(&text), std::slice::from_ref(&null));
    assert_fits(json!({"type": "string", "nullable": true}), &[text.clone(), null.clone()], &[json!(1)]);
    let of_words = json!({"type": "string", "enum": ["a"], "nullable": true});
    assert_fits(of_words, &[text, null], &[json!("b")]);
    // Here it is the name of a member.
    let named = json!({"properties": {"nullable": {"type": "boolean"}}, "example": {"nullable": 1}});
    assert_fits(named, &[json!({"nullable": true})], &[json!({"nullable": "x"})]);
}

#[test]
fn a_bounding_box_has_four_or_six_numbers_and_a_known_reference_system() {
    let fit = [
        json!({"bbox": [1, 2, 3.5, 4]}),
        json!({"bbox": [1, 2, 3, 4, 5, 6], "crs": "http://www.opengis.net/def/crs/OGC/0/CRS84h"}),
        json!({"bbox": [1, 2, 3, 4], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}),
    ];
    let misfit = [
        json!({"bbox": [1, 2, 3]}),
        json!({"bbox": [1, 2, 3, 4, 5]}),
        json!({"bbox": [1, 2, 3, "4"]}),
        json!({"bbox": [1, 2, 3, 4], "crs": "EPSG:4326"}),
        json!({"crs": "x"}),
        json!([1, 2, 3, 4]),
        json!("x"),
    ];
    assert_fits(json!({"format": "ogc-bbox"}), &fit, &misfit);
    assert_fits(json!({"type": "object", "allOf": [{"format": "ogc-bbox"}]}), &fit, &misfit);
    let by_name = json!({"allOf": [{"format": "ogc-bbox"}, {"$ref": bounding_box::URLS[0]}]});
    assert_fits(by_name, &fit, &misfit);
}

#[test]
fn a_bounding_box_takes_the_reference_systems_that_its_schema_names() {
    let schema = json!({"allOf": [
        {"format": "ogc-bbox"},
        {"type": "object", "properties": {"crs": {"type": "string", "enum": ["EPSG:4326"]}}}
    ]});
    let of = |crs: &str| json!({"bbox": [1, 2, 3, 4], "crs": crs});
    assert_fits(schema, &[of("EPSG:4326")], &[of("http://www.opengis.net/def/crs/OGC/1.3/CRS84")]);
}

#[test]
fn a_mixed_input_takes_each_of_its_alternatives() {
    let schema = json!({"oneOf": [{"type": "string"}, {"allOf": [{"format": "ogc-bbox"}]}]});
    assert_fits(schema, &[json!("a"), json!({"bbox": [1, 2, 3, 4]})], &[json!(1), json!({"bbox": [1]})]);
}

#[test]
fn binary_text_must_be_base64() {
    let fit = [json!("TWFu"), json!("TWE="), json!("TQ=="), json!("TQ"), json!("TW\nFu "), json!("")];
    let misfit = [json!("T"), json!("TW?u"), json!("TQ=a"), json!("TW-_")];
    for schema in [
        json!({"type": "string", "format": "byte"}),
        json!({"type": "string", "contentEncoding": "base64"}),
        json!({"type": "string", "contentEncoding": "binary", "contentMediaType": "image/tiff"}),
    ] {
        assert_fits(schema, &fit, &misfit);
    }
    // Which encodings else there are is for the process to know.
    assert_fits(json!({"contentEncoding": "quoted-printable"}), &misfit, &[]);
}

#[test]
fn alternatives_that_differ_in_their_media_types_may_both_fit() {
    let image = |media_type| json!({"type": "string", "contentEncoding": "binary", "contentMediaType": media_type});
    assert_fits(json!({"oneOf": [image("image/tiff"), image("image/jp2")]}), &[json!("TWFu")], &[json!("?")]);
    assert_fits(json!({"oneOf": [{"type": "number"}, {"type": "integer"}]}), &[json!(0.5)], &[json!(1)]);
}

#[test]
fn formats_are_held_against_values() {
    assert_fits(json!({"format": "date-time"}), &[json!("2021-03-06T07:21:00Z")], &[json!("yesterday")]);
    assert_fits(json!({"format": "double"}), &[json!("anything")], &[]);
}

#[test]
fn references_inside_a_schema_are_followed() {
    let schema = json!({
        "definitions": {"size": {"type": "integer", "minimum": 0, "exclusiveMinimum": true}},
        "type": "array", "items": {"$ref": "#/definitions/size"}
    });
    assert_fits(schema, &[json!([1, 2])], &[json!([0])]);
    // The target is where this does not look for schemas by itself.
    let elsewhere = json!({"x-parts": {"a": {"type": "string", "nullable": true}}, "$ref": "#/x-parts/a"});
    assert_fits(elsewhere, &[json!("x"), Value::Null], &[json!(1)]);
    let tree = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "additionalProperties": false});
    assert_fits(tree, &[json!({"next": {"next": {}}})], &[json!({"next": {"other": {}}})]);
}

#[test]
fn references_to_other_documents_are_refused_with_that_reason() {
    for target in ["https://example.org/a.json", "other.yaml#/a", "file:///etc/passwd"] {
        let found = mistakes(json!({"items": {"$ref": target}}));
        assert_eq!(found.len(), 1, "{target}: {found:?}");
        assert_eq!(found[0].0, "/items/$ref");
        assert!(found[0].1.contains("another document"), "{found:?}");
    }
    let found = mistakes(json!({"$ref": "#/definitions/gone"}));
    assert!(found[0].0 == "/$ref" && found[0].1.contains("nothing"), "{found:?}");
}

#[test]
fn references_that_never_end_are_refused() {
    for schema in [
        json!({"$ref": "#"}),
        json!({"definitions": {"a": {"$ref": "#/definitions/b"}, "b": {"allOf": [{"$ref": "#/definitions/a"}]}},
            "$ref": "#/definitions/a"}),
        json!({"type": "object", "not": {"$ref": "#"}}),
    ] {
        let found = mistakes(schema);
        assert!(found.iter().any(|(_, message)| message.contains("leads back to itself")), "{found:?}");
    }
}

#[test]
fn what_is_broken_is_told_with_its_place() {
    let found = mistakes(json!({"type": "objekt", "properties": {"a": {"minimum": "1", "pattern": "["}}}));
    let places: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert!(places.contains(&"/type") && places.contains(&"/properties/a/minimum"), "{found:?}");
    let pattern = mistakes(json!({"properties": {"a": {"pattern": "["}}}));
    assert!(pattern[0].0.starts_with("/properties/a/pattern"), "{pattern:?}");
    assert!(mistakes(json!({"nullable": "yes"}))[0].1.contains("true or false"));
}

#[test]
fn messages_tell_what_is_allowed_and_show_nothing_of_the_value() {
    let cases = [
        (json!({"type": "integer"}), json!("SENSITIVE"), "expected a whole number"),
        (json!({"type": ["string", "null"]}), json!({"a": "SENSITIVE"}), "expected null or text"),
        (json!({"enum": ["red", "green"]}), json!("SENSITIVE"), r#"expected one of "red", "green""#),
        (json!({"const": 1}), json!("SENSITIVE"), "expected 1"),
        (json!({"maxLength": 3}), json!("SENSITIVE"), "at most 3 characters"),
        (json!({"pattern": "^a+$"}), json!("SENSITIVE"), "pattern ^a+$"),
        (json!({"format": "email"}), json!("SENSITIVE"), "format email"),
        (json!({"format": "byte"}), json!("SENSITIVE?"), "base64"),
        (json!({"minimum": 10}), json!(3), "at least 10"),
        (json!({"multipleOf": 2}), json!(3), "multiple of 2"),
        (json!({"required": ["a"]}), json!({"b": "SENSITIVE"}), "the member a is missing"),
        (json!({"additionalProperties": false}), json!({"b": "SENSITIVE"}), "b"),
        (json!({"minItems": 2}), json!(["SENSITIVE"]), "at least 2 items"),
        (json!({"uniqueItems": true}), json!(["SENSITIVE", "SENSITIVE"]), "twice"),
        (json!({"not": {"type": "string"}}), json!("SENSITIVE"), "must not"),
        (json!({"anyOf": [{"type": "integer"}, {"enum": ["x"]}]}), json!("SENSITIVE"), "expected a whole number"),
        (json!({"oneOf": [{"type": "string"}, {"minLength": 1}]}), json!("SENSITIVE"), "exactly one"),
        (json!({"propertyNames": {"maxLength": 1}}), json!({"SENSIBLE": "SENSITIVE"}), "name of a member"),
        (json!({"format": "ogc-bbox"}), json!({"bbox": [1, "SENSITIVE"]}), "4 or 6 numbers"),
        (json!({"contains": {"type": "null"}}), json!(["SENSITIVE"]), "no item"),
    ];
    for (schema, value, part) in cases {
        let misfits = compiled(schema.clone()).misfits(&value);
        let text = format!("{misfits:?}");
        assert!(misfits.iter().any(|misfit| misfit.message.contains(part)), "{part:?} for {schema}: {misfits:?}");
        assert!(!text.contains("SENSITIVE"), "{schema}: {text}");
    }
}

#[test]
fn every_misfit_has_its_place() {
    let schema = json!({"type": "object", "properties": {"a": {"items": {"type": "integer"}}, "b": {"type": "null"}}});
    let misfits = compiled(schema).misfits(&json!({"a": [1, "x", 2, "y"], "b": 1}));
    let mut places: Vec<&str> = misfits.iter().map(|misfit| misfit.pointer.as_str()).collect();
    places.sort_unstable();
    assert_eq!(places, ["/a/1", "/a/3", "/b"]);
}

#[test]
fn a_large_value_is_told_its_first_misfit() {
    let value = Value::Array(vec![json!([]); 100_000]);
    assert_eq!(compiled(json!({"items": {"type": "integer"}})).misfits(&value).len(), 1);
}

#[test]
fn a_pattern_that_would_take_for_ever_is_given_up() {
    let schema = compiled(json!({"pattern": "^(a|a)*(?=b)$"}));
    let value = json!("a".repeat(5_000));
    let began = std::time::Instant::now();
    assert!(!schema.fits(&value));
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}

#[test]
fn members_that_a_schema_names_are_known() {
    let schema = compiled(json!({
        "definitions": {"d": {"properties": {"deep": {}}}},
        "properties": {"own": {"properties": {"inner": {}}}},
        "oneOf": [{"required": ["needed"]}, {"allOf": [{"$ref": "#/definitions/d"}]}]
    }));
    for (member, declared) in [("own", true), ("needed", true), ("deep", true), ("inner", false), ("x", false)] {
        assert_eq!(schema.declares(member), declared, "{member}");
    }
}
