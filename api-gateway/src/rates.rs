//! How often somebody may ask: budgets for executions and for reads, each caller's and each address's own, and one for wrong
//! tokens. A budget is a bucket that fills evenly (GCRA); what it holds is told in the headers of `headers`. Each gateway
//! counts for itself.

mod bucket;
mod headers;
mod settings;

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use actix_web::{HttpMessage, HttpRequest};
use governor::clock::{Clock, MonotonicClock};
use tokio_util::sync::CancellationToken;

use self::bucket::{Bucket, Key};
pub(crate) use self::headers::insert;
pub use self::{bucket::Standing, settings::LimitSettings};
use crate::{
    access::{Caller, Refusal},
    app::Gateway,
    requests,
};

/// What a request is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cost {
    /// It makes, dismisses or removes something.
    Execution,
    /// It reads something.
    Read,
    /// It is free: what pages are made of.
    Nothing,
}

/// What there are budgets for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Executions, dismissals and removals.
    Executions,
    /// Everything else that is asked for.
    Reads,
    /// Tokens that were wrong.
    Failures,
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// That of who was told by a token.
    Caller,
    /// That of a client's address, or of the network of 64 bits that an address of IPv6 is in.
    Address,
}

/// A budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany {
    /// Which.
    pub budget: Budget,
    /// Whose.
    pub whose: Whose,
    /// Whole seconds until there is something in it again.
    pub seconds: u64,
}

/// All budgets; cheap to clone.
#[derive(Clone)]
pub struct Rates<C: Clock = MonotonicClock>(Arc<Inner<C>>);

struct Inner<C: Clock> {
    executions: [Option<Bucket<C>>; 2],
    reads: [Option<Bucket<C>>; 2],
    failures: Option<Bucket<C>>,
}

impl Rates {
    /// Those of the settings; full.
    pub fn new(settings: &LimitSettings) -> Self {
        Self::with_clock(settings, &MonotonicClock)
    }
}

impl<C: Clock + Clone> Rates<C> {
    fn with_clock(settings: &LimitSettings, clock: &C) -> Self {
        let bucket = |per_minute, burst| Bucket::new(per_minute, burst, settings.max_keys, clock.clone());
        // Addresses have places of their own: however many there are, they take none from callers.
        let both = |per_minute, burst| [bucket(per_minute, burst), bucket(per_minute, burst)];
        Self(Arc::new(Inner {
            executions: both(settings.executions, settings.executions_burst),
            reads: both(settings.reads, settings.reads_burst),
            failures: bucket(settings.failures, settings.failures_burst),
        }))
    }

    /// Counts a request for who asks, or for its address. What is left, and whether it may go on; `None` where nothing is limited.
    pub fn spend(
        &self,
        cost: Cost,
        caller: Option<&Caller>,
        address: Option<IpAddr>,
    ) -> Option<(Standing, Result<(), TooMany>)> {
        let (budget, buckets) = match cost {
            Cost::Execution => (Budget::Executions, &self.0.executions),
            Cost::Read => (Budget::Reads, &self.0.reads),
            Cost::Nothing => return None,
        };
        let [callers, addresses] = buckets;
        let (whose, bucket, key) = match caller.filter(|caller| !caller.is_anonymous()) {
            Some(caller) => (Whose::Caller, callers, Key::of_caller(caller)),
            None => (Whose::Address, addresses, key(address)),
        };
        let (standing, spent) = bucket.as_ref()?.spend(key);
        Some((Standing { budget, ..standing }, spent.map_err(|seconds| TooMany { budget, whose, seconds })))
    }

    /// Whether a token from this address is looked at.
    ///
    /// # Errors
    /// When too many of them were wrong.
    pub fn may_try(&self, address: Option<IpAddr>) -> Result<(), TooMany> {
        let looked = self.0.failures.as_ref().map_or(Ok(()), |bucket| bucket.look(key(address)));
        looked.map_err(|seconds| TooMany { budget: Budget::Failures, whose: Whose::Address, seconds })
    }

    /// A token from this address was wrong.
    pub fn failed(&self, address: Option<IpAddr>) {
        if let Some(bucket) = &self.0.failures {
            bucket.take(key(address));
        }
    }

    /// Forgets whose budget is full again.
    pub fn tidy(&self) {
        let Inner { executions, reads, failures } = &*self.0;
        executions.iter().chain(reads).flatten().chain(failures).for_each(Bucket::tidy);
    }

    /// Whose budgets are kept, for metrics.
    pub fn kept(&self) -> Vec<(Budget, Whose, usize)> {
        let Inner { executions: [of_callers, of_addresses], reads: [readers, reading], failures } = &*self.0;
        let all = [
            (Budget::Executions, Whose::Caller, of_callers),
            (Budget::Executions, Whose::Address, of_addresses),
            (Budget::Reads, Whose::Caller, readers),
            (Budget::Reads, Whose::Address, reading),
            (Budget::Failures, Whose::Address, failures),
        ];
        all.into_iter().filter_map(|(budget, whose, it)| Some((budget, whose, it.as_ref()?.kept()))).collect()
    }
}

impl Rates {
    /// Forgets, from time to time, whose budgets are full again.
    pub async fn keep_tidy(self, shutdown: CancellationToken) {
        let mut timer = tokio::time::interval(Duration::from_secs(60));
        loop {
            tokio::select! {
                _ = timer.tick() => self.tidy(),
                () = shutdown.cancelled() => return,
            }
        }
    }
}

/// Counts a request, whose answer then tells what is left.
///
/// # Errors
/// When there was nothing left.
pub(crate) fn charge(
    gateway: &Gateway,
    request: &HttpRequest,
    cost: Cost,
    caller: Option<&Caller>,
) -> Result<(), Refusal> {
    let address = requests::client(gateway, request);
    let Some((standing, spent)) = gateway.rates.spend(cost, caller, address) else { return Ok(()) };
    request.extensions_mut().insert(standing);
    spent.map_err(|too_many| {
        gateway.metrics.limited(&too_many);
        Refusal::TooMany(too_many)
    })
}

/// What is known of a client whose address nobody knows is nothing: they share one budget.
fn key(address: Option<IpAddr>) -> Key {
    Key::of_network(address.map_or(Ipv6Addr::UNSPECIFIED, |address| match network(address) {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }))
}

/// What counts as one client: an address of IPv4, or the network of 64 bits that everybody with IPv6 has to himself at least.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        address => address,
    }
}

impl Budget {
    /// Its name in headers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Executions => "executions",
            Self::Reads => "reads",
            Self::Failures => "failures",
        }
    }
}

impl Whose {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Address => "address",
        }
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.budget {
            Budget::Executions => "executions or dismissals",
            Budget::Reads => "requests",
            Budget::Failures => "wrong tokens",
        };
        let whose = match self.whose {
            Whose::Caller => "with this token",
            Whose::Address => "from this address",
        };
        write!(out, "too many {what} {whose}; nothing was done, try again in {} s", self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn settings() -> LimitSettings {
        LimitSettings {
            executions: 6,
            executions_burst: 2,
            reads: 60,
            failures: 6,
            failures_burst: 3,
            ..LimitSettings::default()
        }
    }

    fn named(name: &str) -> Caller {
        Caller::named(name.into(), Arc::default())
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn rates() -> (Rates<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Rates::with_clock(&settings(), &clock), clock)
    }

    #[test]
    fn nothing_is_limited_by_default() {
        let rates = Rates::new(&LimitSettings::default());
        for _ in 0..10_000 {
            assert!(
                rates.spend(Cost::Execution, None, None).is_none() && rates.spend(Cost::Read, None, None).is_none()
            );
            rates.failed(None);
        }
        assert!(rates.may_try(None).is_ok() && rates.kept().is_empty());
    }

    #[test]
    fn one_tenants_flood_takes_nothing_of_anothers_budget_or_an_addresss() {
        let (rates, clock) = rates();
        let place = address("192.0.2.1");
        let spend = |caller: Option<&Caller>| rates.spend(Cost::Execution, caller, place).unwrap().1;
        let (loud, quiet) = (named("loud"), named("quiet"));
        assert!(spend(Some(&loud)).is_ok() && spend(Some(&loud)).is_ok());
        for _ in 0..100 {
            let refused = TooMany { budget: Budget::Executions, whose: Whose::Caller, seconds: 10 };
            assert_eq!(spend(Some(&loud)), Err(refused));
        }
        assert!(spend(Some(&quiet)).is_ok() && spend(None).is_ok() && spend(Some(&Caller::anonymous())).is_ok());
        assert_eq!(spend(None).map_err(|refused| refused.whose), Err(Whose::Address));
        clock.advance(Duration::from_secs(10));
        assert!(spend(Some(&loud)).is_ok(), "refused requests cost nothing");
        assert!(spend(Some(&loud)).is_err());
    }

    #[test]
    fn executions_and_reads_have_budgets_of_their_own() {
        let (rates, _) = rates();
        let place = address("192.0.2.1");
        while rates.spend(Cost::Execution, None, place).unwrap().1.is_ok() {}
        let (standing, spent) = rates.spend(Cost::Read, None, place).unwrap();
        assert!(spent.is_ok());
        assert_eq!((standing.budget, standing.quota, standing.remaining), (Budget::Reads, 60, 59));
        assert!(rates.spend(Cost::Nothing, None, place).is_none());
    }

    #[test]
    fn a_right_token_costs_no_failure_and_looking_costs_none() {
        let (rates, clock) = rates();
        let (guesser, other) = (address("2001:db8:0:1::1"), address("2001:db8:0:2::1"));
        for _ in 0..100 {
            assert!(rates.may_try(guesser).is_ok());
        }
        for _ in 0..3 {
            assert!(rates.may_try(guesser).is_ok());
            rates.failed(guesser);
        }
        let refused = TooMany { budget: Budget::Failures, whose: Whose::Address, seconds: 10 };
        assert_eq!(rates.may_try(guesser), Err(refused));
        assert_eq!(rates.may_try(address("2001:db8:0:1:ffff::7")), Err(refused), "the same network of 64 bits");
        assert!(rates.may_try(other).is_ok() && rates.may_try(address("192.0.2.1")).is_ok());
        clock.advance(Duration::from_secs(10));
        assert!(rates.may_try(guesser).is_ok());
        rates.failed(guesser);
        assert!(rates.may_try(guesser).is_err());
    }

    #[test]
    fn an_address_of_ipv4_is_the_same_however_it_is_written() {
        assert_eq!(network("::ffff:192.0.2.1".parse().unwrap()), "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_ne!(key(address("192.0.2.1")), key(address("192.0.2.2")));
        assert_ne!(key(address("192.0.2.1")), key(None));
    }

    #[test]
    fn budgets_that_are_full_again_are_forgotten() {
        let (rates, clock) = rates();
        for name in ["a", "b", "c"] {
            rates.spend(Cost::Execution, Some(&named(name)), None);
        }
        rates.failed(None);
        let kept = |of: Budget| rates.kept().iter().filter(|(budget, ..)| *budget == of).map(|it| it.2).sum::<usize>();
        assert_eq!((kept(Budget::Executions), kept(Budget::Failures)), (3, 1));
        rates.tidy();
        assert_eq!(kept(Budget::Executions), 3);
        clock.advance(Duration::from_secs(60));
        rates.tidy();
        assert_eq!((kept(Budget::Executions), kept(Budget::Failures)), (0, 0));
    }
}
