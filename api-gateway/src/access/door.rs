//! Where tokens of clients are looked at: from one address only so many wrong ones.

use std::net::IpAddr;

use actix_web::{HttpMessage, HttpRequest};

use super::{Caller, Refusal};
use crate::{
    app::Gateway,
    rates::{self, Cost},
    requests,
};

/// Looks at the tokens of one request.
pub(crate) struct Door<'a> {
    gateway: &'a Gateway,
    request: &'a HttpRequest,
    address: Option<IpAddr>,
}

impl<'a> Door<'a> {
    pub(crate) fn of(gateway: &'a Gateway, request: &'a HttpRequest) -> Self {
        Self { gateway, request, address: requests::client(gateway, request) }
    }

    /// Whose token this is; from then on among the request's extensions, whatever it may.
    ///
    /// # Errors
    /// When it is nobody's; or, without a look at it, when too many from the same address were nobody's.
    pub(crate) async fn identify(&self, presented: &str) -> Result<Caller, Refusal> {
        let Gateway { access, rates, metrics, .. } = self.gateway;
        if let Err(too_many) = rates.may_try(self.address) {
            metrics.limited(&too_many);
            return Err(Refusal::TooMany(too_many));
        }
        let found = access.identify(presented).await;
        match &found {
            Ok(caller) => {
                self.request.extensions_mut().insert(caller.clone());
            }
            Err(refusal) if is_failure(*refusal) => rates.failed(self.address),
            Err(_) => {}
        }
        found
    }

    /// Counts an execution for a caller whom the head of the request did not tell, when it was counted for the address.
    ///
    /// # Errors
    /// When it has none left.
    pub(super) fn charge(&self, caller: &Caller) -> Result<(), Refusal> {
        rates::charge(self.gateway, self.request, Cost::Execution, Some(caller))
    }

    pub(super) fn has_source(&self) -> bool {
        self.gateway.access.has_source()
    }
}

/// Whether a refusal is about the token itself, which may have been a guess.
fn is_failure(refusal: Refusal) -> bool {
    match refusal {
        Refusal::Wrong | Refusal::Expired | Refusal::Invalid(_) => true,
        Refusal::Missing
        | Refusal::Closed
        | Refusal::NotNow
        | Refusal::OtherProcess
        | Refusal::NoDismissal
        | Refusal::TooMany(_) => false,
    }
}
