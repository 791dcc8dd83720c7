//! What is fetched from addresses that clients name: only public ones, in bounded time and size.
//!
//! URL → `policy` → `resolver` (names, `addresses`) → connection → `fetch`, each redirect from the start again.

mod addresses;
mod fetch;
mod policy;
mod resolver;
mod settings;

pub use self::{
    addresses::Scope,
    fetch::{Fetched, Head, ReferenceError, References},
    policy::{Forbidden, Policy},
    settings::ReferenceSettings,
};
