use serde::Serialize;

use super::{node::Node, table::Table};
use crate::process::Localized;

/// `metadata`: who offers the service, and under which terms. Everything is optional.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Metadata {
    /// `identification`.
    pub identification: Identification,
    /// `license`.
    pub license: License,
    /// `provider`.
    pub provider: Provider,
    /// `contact`.
    pub contact: Contact,
}

/// `metadata.identification`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Identification {
    /// `title`; `Quayside` if unset.
    pub title: Localized<String>,
    /// `description`; empty if unset.
    pub description: Localized<String>,
    /// `keywords`; none if unset.
    pub keywords: Localized<Vec<String>>,
    /// `keywords_type`.
    pub keywords_type: Option<String>,
    /// `terms_of_service`.
    pub terms_of_service: Option<Localized<String>>,
    /// `url`: a page about the service.
    pub url: Option<Localized<String>>,
}

impl Default for Identification {
    fn default() -> Self {
        Self {
            title: "Quayside".into(),
            description: "".into(),
            keywords: Localized::default(),
            keywords_type: None,
            terms_of_service: None,
            url: None,
        }
    }
}

/// `metadata.license`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct License {
    /// `name`.
    pub name: Option<Localized<String>>,
    /// `url`.
    pub url: Option<Localized<String>>,
}

/// `metadata.provider`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Provider {
    /// `name`.
    pub name: Option<Localized<String>>,
    /// `url`.
    pub url: Option<Localized<String>>,
}

/// `metadata.contact`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Contact {
    /// `name`.
    pub name: Option<Localized<String>>,
    /// `position`.
    pub position: Option<Localized<String>>,
    /// `address`.
    pub address: Option<Localized<String>>,
    /// `city`.
    pub city: Option<Localized<String>>,
    /// `stateorprovince`.
    pub state_or_province: Option<Localized<String>>,
    /// `postalcode`.
    pub postal_code: Option<Localized<String>>,
    /// `country`.
    pub country: Option<Localized<String>>,
    /// `phone`.
    pub phone: Option<Localized<String>>,
    /// `fax`.
    pub fax: Option<Localized<String>>,
    /// `email`.
    pub email: Option<Localized<String>>,
    /// `url`.
    pub url: Option<Localized<String>>,
    /// `hours`.
    pub hours: Option<Localized<String>>,
    /// `instructions`.
    pub instructions: Option<Localized<String>>,
    /// `role`.
    pub role: Option<Localized<String>>,
}

impl Metadata {
    pub(super) fn read(table: Table<'_>) -> Self {
        let metadata = Self {
            identification: table.section("identification").map(Identification::read).unwrap_or_default(),
            license: table.section("license").map(License::read).unwrap_or_default(),
            provider: table.section("provider").map(Provider::read).unwrap_or_default(),
            contact: table.section("contact").map(Contact::read).unwrap_or_default(),
        };
        table.finish();
        metadata
    }
}

impl Identification {
    fn read(table: Table<'_>) -> Self {
        let unset = Self::default();
        let identification = Self {
            title: text(&table, "title").unwrap_or(unset.title),
            description: text(&table, "description").unwrap_or(unset.description),
            keywords: table.read("keywords", Node::localized_list).unwrap_or_default(),
            keywords_type: table.optional_text("keywords_type"),
            terms_of_service: text(&table, "terms_of_service"),
            url: text(&table, "url"),
        };
        table.finish();
        identification
    }
}

impl License {
    fn read(table: Table<'_>) -> Self {
        let license = Self { name: text(&table, "name"), url: text(&table, "url") };
        table.finish();
        license
    }
}

impl Provider {
    fn read(table: Table<'_>) -> Self {
        let provider = Self { name: text(&table, "name"), url: text(&table, "url") };
        table.finish();
        provider
    }
}

impl Contact {
    fn read(table: Table<'_>) -> Self {
        let contact = Self {
            name: text(&table, "name"),
            position: text(&table, "position"),
            address: text(&table, "address"),
            city: text(&table, "city"),
            state_or_province: text(&table, "stateorprovince"),
            postal_code: text(&table, "postalcode"),
            country: text(&table, "country"),
            phone: text(&table, "phone"),
            fax: text(&table, "fax"),
            email: text(&table, "email"),
            url: text(&table, "url"),
            hours: text(&table, "hours"),
            instructions: text(&table, "instructions"),
            role: text(&table, "role"),
        };
        table.finish();
        contact
    }
}

fn text(table: &Table<'_>, key: &'static str) -> Option<Localized<String>> {
    table.read(key, Node::localized)
}
