//! A job as far as who asks sees it. Of a job that it does not see, a caller learns nothing: neither by the answer nor by
//! the time that it takes.

use std::{pin::pin, sync::Arc};

use futures::future::{Either, select};
use protocol::{JobId, JobRecord};

use super::View;
use crate::{app::Gateway, error::GatewayError, jobs::LookupError};

/// The job, if `view` shows it.
///
/// # Errors
/// When there is none that it shows, or nobody can tell.
pub async fn find(gateway: &Gateway, view: &View, id: &JobId) -> Result<Arc<JobRecord>, GatewayError> {
    let found = match view.owner() {
        Some(owner) if gateway.index.is_owned_by(id, owner.as_str()) != Some(true) => {
            let is_foreign = gateway.index.is_owned_by(id, owner.as_str()) == Some(false);
            beside_another(gateway, view, id, is_foreign).await?
        }
        _ => gateway.jobs.find(id).await?,
    };
    found.filter(|record| view.shows(record)).ok_or(GatewayError::NoSuchJob)
}

/// What there is of a job that is not known to be the caller's own. Two ids are always looked up side by side, one of which
/// is of no job, and both are waited for, unless the job turns out to be the caller's own after all. So one that is
/// someone else's takes as long as one that is not there: for the same reason it is not looked up itself.
async fn beside_another(
    gateway: &Gateway,
    view: &View,
    id: &JobId,
    is_foreign: bool,
) -> Result<Option<Arc<JobRecord>>, LookupError> {
    let nobodys = || JobId::generate(id.unix_millis());
    let (asked, other) = (if is_foreign { nobodys() } else { *id }, nobodys());
    let (asked, other) = (pin!(gateway.jobs.find(&asked)), pin!(gateway.jobs.find(&other)));
    let is_own = |found: &Result<Option<Arc<JobRecord>>, _>| matches!(found, Ok(Some(record)) if view.shows(record));
    let (found, other) = match select(asked, other).await {
        Either::Left((found, _)) if is_own(&found) => return found,
        Either::Left((found, other)) => (found, other.await),
        Either::Right((other, asked)) => (asked.await, other),
    };
    if is_own(&found) { found } else { other.and(found) }
}
