//! `server` and `logging`, with what the environment overrides.

use config::ValueKind;

use super::{
    Bind, LibraryLevels, Limits, LogLevel, Logging, Manager, OnExceed, PublicUrl, Server, node::Node, table::Table,
    variables::Overrides,
};

const MANAGER: &str = "KubernetesManager";
const LEVELS: &str = "CRITICAL, ERROR, WARNING, INFO, DEBUG or NOTSET";
const LIMIT_IF_UNSET: u32 = 10;

/// Reads `server`.
pub(super) fn server(table: &Table<'_>, overrides: &Overrides) -> Option<Server> {
    let bind = bind(table, overrides);
    let url = match table.get("url") {
        Some(node) => public_url(&node),
        None => {
            let url = format!("http://localhost:{}{}", bind.port, overrides.base_path);
            table.warning(format!("has no url, so that every link begins with {url}; write the public one"));
            PublicUrl::parse(&url).ok()
        }
    };
    let languages = languages(table);
    let cors = table.read("cors", Node::boolean).unwrap_or(false);
    let pretty_print = table.read("pretty_print", Node::boolean).unwrap_or(false);
    let gzip = table.read("gzip", Node::boolean).unwrap_or(false);
    let limits = table.section("limits").map_or_else(Limits::default, limits);
    let manager = table.require("manager", "a mapping with a name that ends in KubernetesManager");
    let manager = manager.and_then(|node| node.table()).and_then(manager_settings);
    table.ignore(&["mimetype", "encoding", "map", "admin"]);
    let base_path = overrides.base_path.clone();
    Some(Server { bind, base_path, url: url?, languages, cors, pretty_print, gzip, limits, manager: manager? })
}

fn bind(table: &Table<'_>, overrides: &Overrides) -> Bind {
    let (mut host, mut port) = ("0.0.0.0".to_owned(), 5000);
    if let Some(table) = table.section("bind") {
        host = table.optional_text("host").unwrap_or(host);
        port = table.read("port", self::port).unwrap_or(port);
        table.finish();
    }
    Bind { host: overrides.host.clone().unwrap_or(host), port: overrides.port.unwrap_or(port) }
}

/// A number, also in quotes, as it may come out of a template.
fn port(node: &Node<'_>) -> Option<u16> {
    match &node.value.kind {
        ValueKind::String(text) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => {
            text.parse().ok().or_else(|| node.wrong("a whole number from 0 to 65535"))
        }
        _ => node.integer(0, i64::from(u16::MAX)).and_then(|port| u16::try_from(port).ok()),
    }
}

fn public_url(node: &Node<'_>) -> Option<PublicUrl> {
    let text = node.text()?;
    PublicUrl::parse(&text).ok().or_else(|| node.wrong("an http or https URL without user, query and fragment"))
}

/// `languages`, or the one `language` of older files.
fn languages(table: &Table<'_>) -> Vec<String> {
    let one = table.optional_text("language");
    let many = table.read("languages", Node::scalar_texts).filter(|languages| !languages.is_empty());
    many.or(one.map(|one| vec![one])).unwrap_or_else(|| vec!["en-US".to_owned()])
}

fn limits(table: Table<'_>) -> Limits {
    let words = [("throttle", OnExceed::Throttle), ("error", OnExceed::Error)];
    let items = |node: &Node<'_>| node.integer(1, i64::from(u32::MAX)).and_then(|items| u32::try_from(items).ok());
    let limits = Limits {
        default_items: table.read("default_items", items).unwrap_or(LIMIT_IF_UNSET),
        max_items: table.read("max_items", items).unwrap_or(LIMIT_IF_UNSET),
        on_exceed: table.read("on_exceed", |node| node.word(&words)).unwrap_or_default(),
    };
    if limits.default_items > limits.max_items {
        table.warning("has default_items above max_items; no list is longer than max_items");
    }
    table.finish();
    limits
}

impl Default for Limits {
    fn default() -> Self {
        Self { default_items: LIMIT_IF_UNSET, max_items: LIMIT_IF_UNSET, on_exceed: OnExceed::Throttle }
    }
}

fn manager_settings(table: Table<'_>) -> Option<Manager> {
    let allowed = "a dotted name that ends in KubernetesManager";
    let name = table.require("name", allowed).and_then(|node| {
        let name = node.text()?;
        if name.ends_with(MANAGER) { Some(name) } else { node.wrong(allowed) }
    });
    let finalizer_controller = table.read("finalizer_controller", Node::boolean).unwrap_or(false);
    let logging = table.read("logging", library_levels).unwrap_or_default();
    let sync_link = table.read("sync_link", Node::boolean).unwrap_or(true);
    let protect_jobs = table.read("protect_jobs", Node::boolean);
    let protect_dismiss = table.read("protect_dismiss", Node::boolean).unwrap_or(true);
    table.finish();
    Some(Manager { name: name?, finalizer_controller, logging, sync_link, protect_jobs, protect_dismiss })
}

fn library_levels(node: &Node<'_>) -> Option<LibraryLevels> {
    let entry = |(library, node): (&str, Node<'_>)| Some((library.to_owned(), level(&node)?));
    Some(node.table()?.entries().filter_map(entry).collect())
}

/// Reads `logging`.
pub(super) fn logging(table: Table<'_>) -> Logging {
    let logging = Logging {
        level: table.read("level", level),
        logfile: table.optional_text("logfile"),
        logformat: table.optional_text("logformat"),
        dateformat: table.optional_text("dateformat"),
    };
    table.finish();
    logging
}

fn level(node: &Node<'_>) -> Option<LogLevel> {
    let ValueKind::String(word) = &node.value.kind else { return node.wrong(LEVELS) };
    match word.to_ascii_uppercase().as_str() {
        "CRITICAL" | "FATAL" => Some(LogLevel::Critical),
        "ERROR" => Some(LogLevel::Error),
        "WARNING" | "WARN" => Some(LogLevel::Warning),
        "INFO" => Some(LogLevel::Info),
        "DEBUG" => Some(LogLevel::Debug),
        "NOTSET" => Some(LogLevel::NotSet),
        _ => node.wrong(LEVELS),
    }
}
