//! The guard before every address that a client names: only public ones are connected to, unless configured.
//!
//! URL → `policy` → `resolver` (names, `addresses`) → connection. Who follows a redirect begins with its target again.

mod addresses;
mod policy;
mod resolver;

use std::{error::Error, sync::Arc};

use reqwest::{ClientBuilder, redirect};

pub use self::{
    addresses::Scope,
    policy::{Forbidden, Policy},
};

/// A client that connects to what `policy` allows, through no proxy, keeps no connection, and follows no redirect.
pub fn client(policy: &Policy) -> ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(Arc::new(resolver::Guarded(policy.clone())))
        .redirect(redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent(concat!("Quayside/", env!("CARGO_PKG_VERSION")))
}

/// The resolver's refusal, which comes wrapped up in the client's own error.
pub fn refusal(error: &reqwest::Error) -> Option<Forbidden> {
    let mut source: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(why) = cause.downcast_ref::<Forbidden>() {
            return Some(*why);
        }
        source = cause.source();
    }
    None
}
