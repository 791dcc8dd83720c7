use serde::Serialize;

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
