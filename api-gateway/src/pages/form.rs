//! The form that executes a process: made of the schemas of its inputs, read back as the request that a client would have
//! sent as JSON.
//!
//! schema → `control` → `view` (what is shown) ; fields → `request` → JSON → the way of every execution; `fill` is the way
//! back, for defaults and examples.

mod control;
pub(crate) mod fields;
mod fill;
mod request;
mod view;

pub(crate) use self::{
    fields::Fields,
    fill::{defaults, example},
    request::request,
    view::{Choice, Form, Widget},
};

/// For tests: the field of an input, and how it is filled in.
#[cfg(test)]
pub(crate) use self::{control::Field, fill::fill};
