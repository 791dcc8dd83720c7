//! What is fetched from addresses that clients name: only public ones, in bounded time and size.
//!
//! URL → [`crate::guard`] → connection → `fetch`, each redirect from the start again.

mod fetch;
mod settings;

pub use self::{
    fetch::{Fetched, Head, ReferenceError, References},
    settings::ReferenceSettings,
};
