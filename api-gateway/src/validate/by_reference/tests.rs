use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use protocol::configuration::Configuration;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    memory::Memory,
    references::ReferenceSettings,
    validate::{Request, Schemas},
};

/// A server on the loopback address, and how many connections it took.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        Self::start_at("127.0.0.1:0").await
    }

    async fn start_at(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(answer(connection));
            }
        });
        Self { address, connections }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Answers one request. A peer that hangs up ends it.
async fn answer(mut connection: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let of = |kind: &str, body: &str| {
        let body_sent = if method == "HEAD" { "" } else { body };
        format!("200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body_sent}", body.len())
    };
    let to = |target: &str| format!("302 Found\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
    let text = match path {
        "/three" => of("application/json", "3"),
        "/text" => of("text/plain", "3"),
        "/broken" => of("application/json", "{SENSITIVE"),
        "/object" => of("application/geo+json", r#"{"a": "SENSITIVE"}"#),
        "/tiff" => of("image/tiff", "II*"),
        "/png" => of("image/png", "PNG"),
        "/octets" => of("application/octet-stream", "II*"),
        "/large" => "200 OK\r\ncontent-type: image/tiff\r\ncontent-length: 5000000\r\n\r\n".to_owned(),
        "/no-head" if method == "HEAD" => "405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/no-head" => of("image/tiff", "II*"),
        "/gone" => "404 Not Found\r\ncontent-length: 9\r\n\r\nSENSITIVE".to_owned(),
        "/to-three" => to("/three"),
        "/round" => to("/round"),
        "/nowhere" => "302 Found\r\ncontent-length: 0\r\n\r\n".to_owned(),
        "/to-metadata" => to("http://169.254.169.254/latest/meta-data"),
        "/to-localhost" => to("http://localhost:1/three"),
        "/to-file" => to("file:///etc/passwd"),
        "/slow" => "200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n[1".to_owned(),
        "/endless" => "200 OK\r\ncontent-type: application/json\r\n\r\n".to_owned(),
        "/endless-tiff" => "200 OK\r\ncontent-type: image/tiff\r\n\r\n".to_owned(),
        "/short-tiff" => {
            format!("200 OK\r\ncontent-type: image/tiff\r\n\r\n{}", if method == "HEAD" { "" } else { "II*" })
        }
        other => panic!("{other}"),
    };
    connection.write_all(format!("HTTP/1.1 {text}").as_bytes()).await?;
    if path.starts_with("/endless") && method == "GET" {
        loop {
            connection.write_all(&[b' '; 4096]).await?;
        }
    }
    if path == "/slow" {
        // Until the other side gives up.
        connection.read_u8().await?;
    }
    Ok(())
}

const INPUTS: &str = "{
    count: {schema: {type: integer}, minOccurs: 0, maxOccurs: 40},
    object: {schema: {type: object, properties: {a: {type: integer}}}, minOccurs: 0},
    text: {schema: {type: string, maxLength: 3}, minOccurs: 0},
    mixed: {schema: {oneOf: [{type: string, contentMediaType: image/tiff}, {type: integer}]}, minOccurs: 0},
    image: {schema: {type: string, contentMediaType: image/tiff, contentEncoding: binary}, minOccurs: 0}}";

fn lax() -> ReferenceSettings {
    ReferenceSettings {
        allow_http: true,
        allow_private: vec!["127.0.0.0/8".to_owned()],
        max_bytes: 100_000,
        max_linked_bytes: 1_000_000,
        timeout: Duration::from_secs(20),
        max_redirects: 3,
        max_per_request: 8,
        ..ReferenceSettings::default()
    }
}

/// Inputs that are right but for what their references lead to.
fn checked(inputs: &Value) -> Checked {
    let text = format!(
        "{{server: {{url: 'http://x.example', manager: {{name: KubernetesManager}}}}, resources: {{p: {{type: process,
          processor: {{name: GenericImageProcessor, default_image: a, check_auth: false, metadata: {{version: '1',
          title: t, description: d, outputs: {{}}, inputs: {INPUTS}}}}}}}}}}}"
    );
    let configuration = Configuration::read(&text, "test", &|_| None).unwrap().0;
    let schemas = Schemas::compile(&configuration).unwrap().0;
    let request = Request::parse(json!({"inputs": inputs}).to_string().as_bytes()).unwrap();
    let checked = request.against(&configuration.processes["p"], &schemas, None).unwrap();
    assert!(checked.has_references());
    checked
}

/// What is said of inputs; empty if they are taken.
async fn told(inputs: Value, settings: &ReferenceSettings) -> String {
    let memory = Memory::new(256 << 20);
    let fetcher = References::new(settings, memory.clone()).unwrap();
    match checked(&inputs).resolve(&fetcher, &mut memory.take(1 << 20).unwrap()).await {
        Ok(execution) => {
            assert_eq!(Value::Object(execution.inputs), inputs, "the link itself is passed on");
            String::new()
        }
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn what_is_json_is_fetched_and_held_against_the_schema() {
    let server = Server::start().await;
    let three = json!({"href": server.url("/three")});
    for (inputs, expected) in [
        (json!({"count": three}), ""),
        (json!({"count": [1, three, {"href": server.url("/to-three"), "type": "application/json"}]}), ""),
        (json!({"text": three}), "inputs.text/href: leads to a value that does not fit: expected text"),
        (json!({"text": {"href": server.url("/text")}}), ""),
        (json!({"count": {"href": server.url("/broken")}}), "inputs.count/href: leads to something that is not JSON"),
        (
            json!({"count": [1, {"href": server.url("/object")}]}),
            "inputs.count/1/href: leads to a value that does not fit: expected a whole number",
        ),
        (
            json!({"object": {"href": server.url("/object")}}),
            "inputs.object/href: leads to a value that does not fit at /a: expected a whole number",
        ),
    ] {
        assert_eq!(told(inputs.clone(), &lax()).await, expected, "{inputs}");
    }
}

#[tokio::test]
async fn of_what_is_not_json_type_and_size_are_asked_for() {
    let server = Server::start().await;
    let offered = "leads to something else than is said of it: this media type is not offered; allowed: image/tiff";
    for (input, path, media_type, expected) in [
        ("image", "/tiff", None, String::new()),
        ("image", "/no-head", None, String::new()),
        ("image", "/short-tiff", None, String::new()),
        ("image", "/octets", Some("image/tiff"), String::new()),
        ("image", "/octets", None, format!("inputs.image/href: {NOT_SAID}")),
        ("image", "/png", Some("image/tiff"), format!("inputs.image/href: {offered}")),
        ("image", "/large", None, "inputs.image/href: has more than 1000000 bytes".to_owned()),
        ("image", "/endless-tiff", None, "inputs.image/href: has more than 100000 bytes".to_owned()),
        ("mixed", "/tiff", None, String::new()),
        ("mixed", "/three", None, String::new()),
        (
            "mixed",
            "/object",
            None,
            "inputs.mixed/href: leads to a value that does not fit: expected a whole number".to_owned(),
        ),
    ] {
        let mut link = json!({"href": server.url(path)});
        if let Some(media_type) = media_type {
            link["type"] = media_type.into();
        }
        assert_eq!(told(json!({input: link}), &lax()).await, expected, "{input} {path}");
    }
}

#[tokio::test]
async fn what_can_not_be_had_is_told_without_what_the_server_said() {
    let server = Server::start().await;
    let quick = ReferenceSettings { timeout: Duration::from_millis(300), ..lax() };
    for (path, settings, expected) in [
        ("/gone", lax(), "was answered with status 404"),
        ("/endless", lax(), "has more than 100000 bytes"),
        ("/slow", quick, "took longer than 0.3 seconds"),
        ("/round", lax(), "redirects more than 3 times"),
        ("/nowhere", lax(), "redirects without saying where to"),
        ("/to-metadata", lax(), "redirects to what leads to a link-local address; only public addresses are allowed"),
        ("/to-file", lax(), "redirects to what is no https or http URL; only those are allowed"),
    ] {
        let said = told(json!({"count": {"href": server.url(path)}}), &settings).await;
        assert_eq!(said, format!("inputs.count/href: {expected}"), "{path}");
    }
    // Nobody listens there any more.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let said = told(json!({"count": {"href": format!("http://{closed}/")}}), &lax()).await;
    assert_eq!(said, "inputs.count/href: could not be reached");
}

#[tokio::test]
async fn what_is_not_public_is_refused_before_any_connection() {
    let server = Server::start().await;
    let port = server.address.port();
    let open_to_nobody = ReferenceSettings { allow_http: true, ..ReferenceSettings::default() };
    for (host, scope) in [
        ("127.0.0.1", "a loopback address"),
        ("localhost", "a loopback address"),
        ("[::1]", "a loopback address"),
        ("[::ffff:7f00:1]", "a loopback address"),
        ("2130706433", "a loopback address"),
        ("169.254.169.254", "a link-local address"),
        ("10.0.0.1", "a private address"),
        ("0.0.0.0", "a reserved address"),
    ] {
        let url = format!("http://{host}:{port}/three");
        let said = told(json!({"count": {"href": url}, "image": {"href": url}}), &open_to_nobody).await;
        let why = format!("leads to {scope}; only public addresses are allowed");
        assert_eq!(said, format!("inputs.count/href: {why}; inputs.image/href: {why}"), "{host}");
    }
    let https_only = ReferenceSettings { allow_http: false, ..lax() };
    let said = told(json!({"count": {"href": server.url("/three")}}), &https_only).await;
    assert_eq!(said, "inputs.count/href: is no https URL; only those are allowed");
    let with_password = format!("http://user:SENSITIVE@127.0.0.1:{port}/three");
    let said = told(json!({"count": {"href": with_password}}), &lax()).await;
    assert!(said.contains("has credentials in its URL") && !said.contains("SENSITIVE"), "{said}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_is_as_public_as_its_addresses_after_a_redirect_too() {
    let server = Server::start_at("127.0.0.2:0").await;
    let only_its_own = ReferenceSettings { allow_private: vec!["127.0.0.2".to_owned()], ..lax() };
    assert_eq!(told(json!({"count": {"href": server.url("/three")}}), &only_its_own).await, "");
    let said = told(json!({"count": {"href": server.url("/to-localhost")}}), &only_its_own).await;
    assert_eq!(
        said,
        "inputs.count/href: redirects to what leads to a loopback address; only public addresses are allowed"
    );
    let local = Server::start().await;
    let by_name = json!({"count": {"href": format!("http://localhost:{}/three", local.address.port())}});
    let allowed_by_name = ReferenceSettings { allow_private: vec!["localhost".to_owned()], ..lax() };
    assert_eq!(told(by_name, &allowed_by_name).await, "");
}

#[tokio::test]
async fn while_too_many_are_fetched_the_client_may_try_again() {
    let server = Server::start().await;
    let settings = ReferenceSettings { timeout: Duration::from_millis(100), ..lax() };
    let memory = Memory::new(256 << 20);
    let fetcher = References::new(&settings, memory.clone()).unwrap();
    let mut portion = memory.take(1 << 20).unwrap();
    let mut turns = Vec::new();
    while let Ok(turn) = fetcher.turn().await {
        turns.push(turn);
    }
    let inputs = json!({"count": {"href": server.url("/three")}});
    let busy = checked(&inputs).resolve(&fetcher, &mut portion).await;
    assert!(matches!(busy, Err(GatewayError::Unavailable(_))), "{busy:?}");
    assert_eq!(server.connections(), 0);
    drop(turns);
    assert!(checked(&inputs).resolve(&fetcher, &mut portion).await.is_ok());
}

#[tokio::test]
async fn more_references_than_allowed_are_not_fetched() {
    let server = Server::start().await;
    let links: Vec<Value> = (0..9).map(|_| json!({"href": server.url("/three")})).collect();
    let said = told(json!({"count": links}), &lax()).await;
    assert_eq!(said, "inputs.count/8: there are 9 references in this execution; allowed: 8");
    assert_eq!(server.connections(), 0);
}
