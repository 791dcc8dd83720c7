//! What a request is said to take of memory is what it takes: measured by the allocator, and so in a program of its own.

use api_gateway::validate::{
    Request, Schemas,
    parts::{MOST_PARTS, memory_of, parts},
};
use peak_alloc::PeakAlloc;
use protocol::configuration::Configuration;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const CONFIGURATION: &str = "
server: {url: 'http://x.example', manager: {name: KubernetesManager}}
resources:
  p:
    type: process
    processor:
      name: GenericImageProcessor
      default_image: a
      check_auth: false
      metadata:
        version: '1'
        title: t
        description: d
        outputs: {}
        inputs:
          any: {schema: {}, minOccurs: 0, maxOccurs: unbounded}
          number: {schema: {type: integer}, minOccurs: 0, maxOccurs: unbounded}
          object:
            schema: {type: object, properties: {a: {type: integer}}, additionalProperties: {type: integer}}
            minOccurs: 0
            maxOccurs: unbounded
";

/// The most bytes that are allocated while `work` is done, beyond those that were before.
fn peak(work: impl FnOnce()) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work();
    ALLOCATOR.peak_usage().saturating_sub(before)
}

#[test]
fn no_body_takes_more_than_is_set_aside_for_it() {
    let configuration = Configuration::read(CONFIGURATION, "test", &|_| None).unwrap().0;
    let schemas = Schemas::compile(&configuration).unwrap().0;
    let process = &configuration.processes["p"];
    // The shapes that take the most for their parts or for their bytes.
    let shapes = ["0", "[]", "{}", "[0]", r#"{"":0}"#, r#"{"a":0}"#, r#""""#, "[[[[0]]]]", r#"{"value":0}"#];
    let repeated = |item: &str, times: usize| format!("[{}{item}]", format!("{item},").repeat(times));
    let mut bodies: Vec<(String, String)> = shapes
        .iter()
        .flat_map(|shape| {
            let times = MOST_PARTS / parts(shape.as_bytes()).max(2) / 2;
            ["any", "number", "object"].map(|input| {
                (format!("{shape} {input}"), format!(r#"{{"inputs":{{"{input}":{}}}}}"#, repeated(shape, times)))
            })
        })
        .collect();
    let deep = format!("{}0{}", "[".repeat(100), "]".repeat(100));
    bodies.push(("deep".to_owned(), format!(r#"{{"inputs":{{"any":{}}}}}"#, repeated(&deep, MOST_PARTS / 210))));
    let members: Vec<String> = (0..MOST_PARTS / 4).map(|name| format!("\"{name:x}\":0")).collect();
    bodies.push(("members".to_owned(), format!(r#"{{"inputs":{{"object":{{{}}}}}}}"#, members.join(","))));
    let (text, escaped) = ("x".repeat(4 << 20), "\\u0001".repeat(700_000));
    bodies.push(("numbers".to_owned(), format!(r#"{{"inputs":{{"any":{}}}}}"#, repeated("1E15", MOST_PARTS / 2))));
    for (name, text) in [("text", text), ("escaped", escaped)] {
        bodies.push((name.to_owned(), format!(r#"{{"inputs":{{"any":"{text}"}}}}"#)));
    }
    for (name, body) in bodies {
        let counted = parts(body.as_bytes());
        let (set_aside, bytes) = (memory_of(body.len(), counted), body.len());
        let taken = peak(|| {
            let request = Request::parse(body.as_bytes()).unwrap();
            // What an idempotency key is compared by.
            let text = request.to_text().unwrap();
            // Whether it fits or not, and whatever is said of it.
            drop(request.against(process, &schemas, None));
            drop(text);
        });
        println!("{name}: {counted} parts, {bytes} bytes: {taken} of {set_aside} bytes, {} a part", taken / counted);
        // The body itself was there before.
        assert!(taken + bytes <= set_aside, "{name}: {counted} parts, {bytes} bytes took {taken} of {set_aside}");
    }
}
