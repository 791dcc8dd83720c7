use actix_web::{
    Error, HttpMessage, HttpRequest,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use protocol::{JobRecord, Owner, ProcessDefinition};
use serde_json::Value;

use super::{Caller, Door, Need, Refusal, Rule, presented};
use crate::{
    app::Gateway,
    error::GatewayError,
    rates::{self, Cost},
    routes,
};

/// What the rule of an operation found of a request. It is in the request of every handler.
#[derive(Debug, Clone)]
pub struct Admission {
    caller: Caller,
    view: View,
    needed_token: bool,
    bearer: Result<Option<Caller>, Refusal>,
}

/// Whose jobs a caller sees at an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Everybody's.
    All,
    /// Those of this owner. All others are to it as if they were not there.
    Own(Owner),
}

impl View {
    /// Whose jobs, where it is not everybody's.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::All => None,
            Self::Own(owner) => Some(owner),
        }
    }

    /// Whether this is a job that it shows.
    pub fn shows(&self, record: &JobRecord) -> bool {
        self.owner().is_none_or(|owner| record.owner.as_ref() == Some(owner))
    }
}

/// The middleware around each operation, whose requests are counted as `cost`.
///
/// # Errors
/// Those of what is inside; a refusal is an answer.
pub(crate) async fn admit<B: MessageBody + 'static>(
    rule: Rule,
    cost: Cost,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let Some(gateway) = request.app_data::<web::Data<Gateway>>().cloned() else {
        return Ok(request.error_response(GatewayError::internal("the routes have no gateway")));
    };
    let bearer = match presented::bearer(request.headers()) {
        Ok(None) => Ok(None),
        Ok(Some(text)) => Door::of(&gateway, request.request()).identify(text).await.map(Some),
        Err(refusal) => Err(refusal),
    };
    // Who might be somebody is not taken for nobody, even where nobody is asked for a token.
    if let Err(refusal @ Refusal::TooMany(_)) = bearer {
        return Ok(too_often(&gateway, request, refusal).await);
    }
    let caller = bearer.as_ref().ok().and_then(Option::as_ref);
    if let Err(refusal) = rates::charge(&gateway, request.request(), cost, caller) {
        return Ok(too_often(&gateway, request, refusal).await);
    }
    let need = rule.need(&gateway.configuration.server.manager);
    match Admission::decide(rule, need, gateway.access.has_source(), bearer) {
        Ok(admission) => {
            request.extensions_mut().insert(admission);
            Ok(next.call(request).await?.map_into_boxed_body())
        }
        Err(refusal) => Ok(request.error_response(GatewayError::from(refusal))),
    }
}

/// Refuses a request, once its body was read: a client that is still sending would not see why.
async fn too_often(gateway: &Gateway, mut request: ServiceRequest, refusal: Refusal) -> ServiceResponse<BoxBody> {
    if let Ok(payload) = request.extract::<web::Payload>().await {
        routes::discard(payload, &gateway.settings).await;
    }
    request.error_response(GatewayError::from(refusal))
}

impl Admission {
    /// Decides over a request from what its headers hold. Never open by omission: without a source of tokens nobody gets what
    /// needs one.
    fn decide(
        rule: Rule,
        need: Need,
        has_source: bool,
        bearer: Result<Option<Caller>, Refusal>,
    ) -> Result<Self, Refusal> {
        let caller = match need {
            Need::Token if !has_source => return Err(Refusal::Closed),
            Need::Token => bearer.clone()?.ok_or(Refusal::Missing)?,
            Need::Nothing | Need::AsTheProcessSays => bearer.clone().ok().flatten().unwrap_or_else(Caller::anonymous),
        };
        if need == Need::Token && rule == Rule::Dismiss && !caller.may_dismiss() {
            return Err(Refusal::NoDismissal);
        }
        let view = match (need, caller.owner()) {
            // What is open to everybody shows everything to everybody.
            (Need::Nothing | Need::AsTheProcessSays, _) => View::All,
            (Need::Token, Some(owner)) if !caller.sees_all_jobs() => View::Own(owner),
            (Need::Token, _) => View::All,
        };
        Ok(Self { caller, view, needed_token: need == Need::Token, bearer })
    }

    /// That of a request which came through `admit`.
    ///
    /// # Errors
    /// When it did not: a defect of ours.
    pub fn of(request: &HttpRequest) -> Result<Self, GatewayError> {
        let found = request.extensions().get::<Self>().cloned();
        found.ok_or_else(|| GatewayError::internal("a route has no rule"))
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Whose jobs it sees here.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whether what it asks for needs a token, so that it is not for everybody.
    pub fn needed_token(&self) -> bool {
        self.needed_token
    }

    /// What it finds of a request to dismiss a job whose token may also have been a field of a form, which is then `input`. If it
    /// came as both, both must be right, and of the same caller.
    ///
    /// # Errors
    /// When the caller may not.
    pub(crate) async fn to_dismiss(&self, door: &Door<'_>, need: Need, input: Option<&str>) -> Result<Self, Refusal> {
        let bearer = match (self.bearer.clone(), input) {
            (bearer, None) => bearer,
            (bearer, Some(input)) => {
                let input = door.identify(input).await?;
                self.charge(door, &input)?;
                match bearer? {
                    Some(bearer) if bearer != input => return Err(Refusal::Wrong),
                    _ => Ok(Some(input)),
                }
            }
        };
        Self::decide(Rule::Dismiss, need, door.has_source(), bearer)
    }

    /// Who executes a process, whose token may also have been the input `token`, which is then `input`. If it came as both, both
    /// must be right, and of the same caller.
    ///
    /// # Errors
    /// When the caller may not.
    pub(crate) async fn to_execute(
        &self,
        door: &Door<'_>,
        process: &ProcessDefinition,
        input: Option<&Value>,
    ) -> Result<Caller, Refusal> {
        if !process.check_auth {
            return Ok(self.caller.clone());
        }
        if !door.has_source() {
            return Err(Refusal::Closed);
        }
        let input = match input {
            None => None,
            Some(value) => Some(door.identify(value.as_str().ok_or(Refusal::Wrong)?).await?),
        };
        if let Some(input) = &input {
            self.charge(door, input)?;
        }
        let caller = match (self.bearer.clone()?, input) {
            (None, None) => return Err(Refusal::Missing),
            (Some(bearer), Some(input)) if bearer != input => return Err(Refusal::Wrong),
            (Some(caller), _) | (None, Some(caller)) => caller,
        };
        if caller.may_execute(&process.id) { Ok(caller) } else { Err(Refusal::OtherProcess) }
    }

    /// Counts a request for whom the body names, where the head named nobody.
    fn charge(&self, door: &Door<'_>, caller: &Caller) -> Result<(), Refusal> {
        if self.caller.is_anonymous() { door.charge(caller) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, sync::Arc};

    use actix_web::test::TestRequest;

    use super::*;
    use crate::{access::Rights, testing};

    fn named(sees_all_jobs: bool, may_dismiss: bool) -> Caller {
        let rights = Rights { processes: Some(HashSet::new()), sees_all_jobs, may_dismiss };
        Caller::named("n".into(), Arc::new(rights))
    }

    #[test]
    fn what_needs_a_token_is_refused_without() {
        let decide = |bearer| Admission::decide(Rule::List, Need::Token, true, bearer).map(|admission| admission.view);
        assert_eq!(decide(Ok(None)), Err(Refusal::Missing));
        assert_eq!(decide(Err(Refusal::Wrong)), Err(Refusal::Wrong));
        assert_eq!(decide(Ok(Some(Caller::operator()))), Ok(View::All));
        assert_eq!(decide(Ok(Some(named(true, false)))), Ok(View::All));
        assert_eq!(decide(Ok(Some(named(false, false)))), Ok(View::Own(Owner::token("n"))));
        let closed = Admission::decide(Rule::List, Need::Token, false, Ok(None));
        assert_eq!(closed.map(|admission| admission.view), Err(Refusal::Closed));
    }

    #[test]
    fn on_what_is_open_a_wrong_token_is_none_and_everything_is_seen() {
        for bearer in [Ok(None), Err(Refusal::Wrong), Err(Refusal::Closed), Ok(Some(named(false, false)))] {
            let is_known = matches!(bearer, Ok(Some(_)));
            let admission = Admission::decide(Rule::Job, Need::Nothing, true, bearer).unwrap();
            assert_eq!((admission.view, !admission.caller.is_anonymous()), (View::All, is_known));
        }
    }

    #[test]
    fn a_token_may_be_one_that_dismisses_nothing() {
        let decide = |rule, caller| Admission::decide(rule, Need::Token, true, Ok(Some(caller))).map(|it| it.view);
        assert_eq!(decide(Rule::Dismiss, named(true, false)), Err(Refusal::NoDismissal));
        assert_eq!(decide(Rule::Dismiss, named(true, true)), Ok(View::All));
        assert_eq!(decide(Rule::Logs, named(true, false)), Ok(View::All));
    }

    #[tokio::test]
    async fn the_table_of_tokens_of_executions() {
        let gateways = [
            testing::with(testing::configuration(), Some("right")).await,
            testing::with(testing::configuration(), None).await,
        ];
        let configuration = testing::configuration();
        let process = configuration.processes.get("protected").unwrap();
        let request = TestRequest::default().to_http_request();
        let (right, wrong, number) = (Value::from("right"), Value::from("wrong"), Value::from(1));
        type Case<'a> = (Option<&'a str>, Option<&'a Value>, Result<(), Refusal>);
        let cases: [Case<'_>; 9] = [
            (None, None, Err(Refusal::Missing)),
            (Some("right"), None, Ok(())),
            (None, Some(&right), Ok(())),
            (Some("right"), Some(&right), Ok(())),
            (Some("wrong"), None, Err(Refusal::Wrong)),
            (None, Some(&wrong), Err(Refusal::Wrong)),
            (Some("right"), Some(&wrong), Err(Refusal::Wrong)),
            (Some("wrong"), Some(&right), Err(Refusal::Wrong)),
            (None, Some(&number), Err(Refusal::Wrong)),
        ];
        for (index, (bearer, input, expected)) in cases.into_iter().enumerate() {
            for (gateway, expected) in gateways.iter().zip([expected, Err(Refusal::Closed)]) {
                let door = Door::of(gateway, &request);
                let bearer = match bearer {
                    Some(text) => door.identify(text).await.map(Some),
                    None => Ok(None),
                };
                let has_source = door.has_source();
                let admission = Admission::decide(Rule::Execute, Need::AsTheProcessSays, has_source, bearer).unwrap();
                let decided = admission.to_execute(&door, process, input).await.map(|_| ());
                assert_eq!(decided, expected, "case {index}");
            }
        }
    }

    #[tokio::test]
    async fn a_token_is_for_its_processes_only() {
        let gateway = testing::with(testing::configuration(), Some("right")).await;
        let configuration = testing::configuration();
        let request = TestRequest::default().to_http_request();
        let admission =
            Admission::decide(Rule::Execute, Need::AsTheProcessSays, true, Ok(Some(named(true, true)))).unwrap();
        let decided = async |process: &str| {
            let process = configuration.processes.get(process).unwrap();
            admission.to_execute(&Door::of(&gateway, &request), process, None).await.map(|caller| caller.owner())
        };
        assert_eq!(decided("protected").await, Err(Refusal::OtherProcess));
        assert_eq!(decided("open").await, Ok(Some(Owner::token("n"))), "what is open is open to it, too");
    }
}
