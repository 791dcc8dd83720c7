//! From parser events to values: nesting, anchors and aliases, and the limits on both.

use std::collections::HashMap;

use config::{Value, ValueKind};
use serde_saphyr::granit_parser::{self, Event, Marker, Parser};

use super::{
    merge::{self, Entry, Key},
    origin,
    typed::{self, Typed},
};
use crate::configuration::{
    Position,
    findings::{Findings, item_path, key_path},
};

/// How deep lists and mappings may be nested, aliases included.
const MAX_DEPTH: usize = 100;
/// What the copies that aliases make may weigh in all: bytes of text, and [`NODE_WEIGHT`] for each value. A file of a
/// few lines could otherwise ask for any amount of memory.
const MAX_COPIED_WEIGHT: usize = 32 * 1024 * 1024;
const NODE_WEIGHT: usize = 128;

/// Reads one document. The value is what could be read; it is null if that is nothing.
pub(super) fn compose(
    source_name: &str,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> (Value, Findings) {
    let mut composer = Composer {
        source_name,
        environment,
        findings: Findings::default(),
        stack: Vec::new(),
        anchors: HashMap::new(),
        copied_weight: 0,
        root: None,
    };
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        block_scalar_eof_without_line_feed: true,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut documents = 0;
    for event in Parser::new_from_str_with_options(text, options) {
        let outcome = match event {
            Ok((Event::DocumentStart(..), span)) => {
                documents += 1;
                if documents == 1 {
                    Ok(())
                } else {
                    Err(Stop::at(span.start, "holds a second document; allowed: one, without --- after its first line"))
                }
            }
            Ok((event, span)) => composer.event(event, span.start),
            Err(error) => Err(Stop::at(*error.marker(), format!("is no YAML: {}", error.info()))),
        };
        if let Err(stop) = outcome {
            composer.findings.mistake(composer.path_or_document(), Some(stop.position), stop.message);
            composer.findings.incomplete = true;
            break;
        }
    }
    composer.finish()
}

/// Why reading can't go on.
struct Stop {
    position: Position,
    message: String,
}

impl Stop {
    fn at(marker: Marker, message: impl Into<String>) -> Self {
        Self { position: position(marker), message: message.into() }
    }
}

struct Composer<'a> {
    source_name: &'a str,
    environment: &'a dyn Fn(&str) -> Option<String>,
    findings: Findings,
    stack: Vec<Frame>,
    /// By the parser's anchor id; none while the anchored node is still being read.
    anchors: HashMap<usize, Option<Node>>,
    copied_weight: usize,
    root: Option<Value>,
}

/// A value that has no place in the tree yet.
#[derive(Clone)]
struct Node {
    kind: ValueKind,
    /// The text of a scalar, as which it would be a key.
    key: Option<String>,
    is_merge: bool,
    weight: usize,
    depth: usize,
}

/// A list or mapping being read.
struct Frame {
    anchor: usize,
    /// Where the frame's own node starts.
    position: Position,
    weight: usize,
    depth: usize,
    content: Content,
}

enum Content {
    List(Vec<Value>),
    Mapping { entries: Vec<Entry>, key: Option<Key> },
}

impl Composer<'_> {
    fn event(&mut self, event: Event<'_>, start: Marker) -> Result<(), Stop> {
        let at = position(start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let Typed { kind, text, is_merge, mistakes } =
                    typed::scalar(&text, style, tag.as_deref(), self.environment);
                for mistake in mistakes {
                    self.mistake(at, mistake);
                }
                self.complete(Node { is_merge, ..Node::scalar(kind, &text) }, anchor, at)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.open(anchor, at, Content::List(Vec::new()), typed::collection(tag.as_deref(), "seq"))
            }
            Event::MappingStart(_, anchor, tag) => {
                let content = Content::Mapping { entries: Vec::new(), key: None };
                self.open(anchor, at, content, typed::collection(tag.as_deref(), "map"))
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::UnresolvedAlias(name) => {
                self.mistake(at, format!("the alias *{name} has no anchor &{name} before it"));
                self.attach(Node::scalar(ValueKind::Nil, ""), at);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        position: Position,
        content: Content,
        mistake: Option<String>,
    ) -> Result<(), Stop> {
        if let Some(mistake) = mistake {
            self.mistake(position, mistake);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.stack.push(Frame { anchor, position, weight: NODE_WEIGHT, depth: 0, content });
        self.check_depth(0, position)
    }

    fn close(&mut self) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let kind = match frame.content {
            Content::List(items) => ValueKind::Array(items),
            Content::Mapping { entries, .. } => {
                let path = self.path();
                ValueKind::Table(merge::merge(entries, &path, &mut self.findings))
            }
        };
        let node = Node { kind, key: None, is_merge: false, weight: frame.weight, depth: frame.depth + 1 };
        self.complete(node, frame.anchor, frame.position)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Stop> {
        match self.anchors.get(&anchor).cloned() {
            Some(Some(node)) => {
                self.copied_weight = self.copied_weight.saturating_add(node.weight);
                if self.copied_weight > MAX_COPIED_WEIGHT {
                    let message = format!("aliases copy more than {} MiB", MAX_COPIED_WEIGHT / (1024 * 1024));
                    return Err(Stop { position: at, message });
                }
                self.check_depth(node.depth, at)?;
                self.attach(node, at);
            }
            _ => {
                self.mistake(at, "an alias can't be part of what it stands for");
                self.attach(Node::scalar(ValueKind::Nil, ""), at);
            }
        }
        Ok(())
    }

    /// A node that is read to its end: remembered under its anchor and put in its place.
    fn complete(&mut self, node: Node, anchor: usize, at: Position) -> Result<(), Stop> {
        if anchor != 0 {
            self.copied_weight = self.copied_weight.saturating_add(node.weight);
            self.anchors.insert(anchor, Some(node.clone()));
        }
        self.attach(node, at);
        Ok(())
    }

    fn attach(&mut self, node: Node, at: Position) {
        let Node { kind, key: text, is_merge, weight, depth } = node;
        let source_name = self.source_name;
        let place = |position| Some(origin(source_name, position));
        let Some(frame) = self.stack.last_mut() else {
            self.root = Some(Value::new(place(at).as_ref(), kind));
            return;
        };
        frame.weight = frame.weight.saturating_add(weight);
        frame.depth = frame.depth.max(depth);
        match &mut frame.content {
            Content::List(items) => items.push(Value::new(place(at).as_ref(), kind)),
            Content::Mapping { entries, key } => match key.take() {
                Some(key) => entries.push(Entry { value: Value::new(place(key.position).as_ref(), kind), key }),
                None => {
                    let no_scalar = text.is_none();
                    *key = Some(Key { text, position: at, is_merge });
                    if no_scalar {
                        self.mistake(at, "a key can't be a list or a mapping; allowed: text");
                    }
                }
            },
        }
    }

    fn check_depth(&self, depth: usize, position: Position) -> Result<(), Stop> {
        if self.stack.len() + depth > MAX_DEPTH {
            return Err(Stop { position, message: format!("is nested more than {MAX_DEPTH} levels deep") });
        }
        Ok(())
    }

    /// Notes a mistake in the node at this place, or in the entry whose value it is.
    fn mistake(&mut self, at: Position, message: impl Into<String>) {
        let position = match self.stack.last().map(|frame| &frame.content) {
            Some(Content::Mapping { key: Some(key), .. }) => key.position,
            _ => at,
        };
        self.findings.mistake(self.path_or_document(), Some(position), message);
    }

    fn path_or_document(&self) -> String {
        let path = self.path();
        if path.is_empty() { "document".to_owned() } else { path }
    }

    /// The path of the node that comes next.
    fn path(&self) -> String {
        self.stack.iter().fold(String::new(), |path, frame| match &frame.content {
            Content::List(items) => item_path(&path, items.len()),
            Content::Mapping { key: Some(Key { text: Some(text), .. }), .. } => key_path(&path, text),
            Content::Mapping { .. } => path,
        })
    }

    fn finish(mut self) -> (Value, Findings) {
        // After a stop, what is still open is closed, so that its mistakes are reported too.
        while !self.stack.is_empty() {
            if self.close().is_err() {
                break;
            }
        }
        let root = self.root.take().unwrap_or_else(|| Value::new(None, ValueKind::Nil));
        if !matches!(root.kind, ValueKind::Table(_)) && self.findings.mistakes.is_empty() {
            let message = "is no mapping; allowed: a mapping with server, logging, metadata and resources";
            self.findings.incomplete = true;
            self.findings.mistake("document", Some(Position { line: 1, column: 1 }), message);
        }
        (root, self.findings)
    }
}

impl Node {
    fn scalar(kind: ValueKind, text: &str) -> Self {
        Self { kind, key: Some(text.to_owned()), is_merge: false, weight: NODE_WEIGHT + text.len(), depth: 0 }
    }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
