//! Tenants: nobody sees, guesses, dismisses or infers a job of another, at any replica.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context, Result, ensure};
use end_to_end::{
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, process_yaml, tell},
};
use protocol::{JobEvent, JobId, Owner};
use reqwest::Method;
use serde_json::{Value, json};

use crate::callers::{self, Caller, Callers, GUARDED};

const SCRIPT: &str = "echo PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{}'";

fn setting(protect_jobs: &str) -> Setting {
    let guarded = |id: &str, script| process_yaml(id, script).replace("check_auth: false", "check_auth: true");
    let processes = [guarded(GUARDED, SCRIPT), guarded("roads", "sleep 600"), process_yaml("everybodys", SCRIPT)];
    let mut setting = Setting::new(Backend::Local).with_processes(&processes.concat()).with_manager(protect_jobs);
    (setting.replicas, setting.start_services) = (2, false);
    setting
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_its_own_jobs_and_nothing_of_others() {
    tell("tenants", setting("protect_jobs: true"), async |story| {
        let callers = callers::start(story, 2).await?;
        let mut jobs = Jobs::default();
        for number in 0..3 {
            jobs.tenant.insert(callers.submit(story, Caller::Tenant, number % 2, GUARDED).await?);
            jobs.other.insert(callers.submit(story, Caller::OtherTenant, number % 2, GUARDED).await?);
            jobs.signed_in.insert(callers.submit(story, Caller::SignedIn, number % 2, GUARDED).await?);
        }
        jobs.running = Some(callers.submit(story, Caller::TenantOfOtherProcess, 1, "roads").await?);
        jobs.nobodys.insert(callers.submit(story, Caller::Nobody, 0, "everybodys").await?);
        jobs.nobodys.insert(callers.submit(story, Caller::WithStaticToken, 1, GUARDED).await?);
        // A token counts where none is needed, too.
        jobs.tenant.insert(callers.submit(story, Caller::Tenant, 0, "everybodys").await?);
        for job in jobs.all() {
            if jobs.running != Some(job) {
                callers.done(story, Caller::WithStaticToken, &job).await?;
            }
        }
        lists(story, &callers, &jobs).await?;
        guesses(story, &callers, &jobs).await?;
        costs(story, &callers, &jobs).await?;
        dismissals(story, &callers, &jobs).await?;
        keys(story, &callers).await?;
        records(story, &jobs).await?;
        secrets(story, &callers)
    })
    .await;
}

#[derive(Default)]
struct Jobs {
    tenant: BTreeSet<JobId>,
    other: BTreeSet<JobId>,
    signed_in: BTreeSet<JobId>,
    /// Without an owner.
    nobodys: BTreeSet<JobId>,
    /// Of a third tenant.
    running: Option<JobId>,
}

impl Jobs {
    fn all(&self) -> BTreeSet<JobId> {
        let sets = [&self.tenant, &self.other, &self.signed_in, &self.nobodys];
        sets.into_iter().flatten().copied().chain(self.running).collect()
    }

    fn seen_by(&self, caller: Caller) -> BTreeSet<JobId> {
        match caller {
            Caller::Tenant => self.tenant.clone(),
            Caller::OtherTenant => self.other.clone(),
            Caller::TenantOfOtherProcess => self.running.into_iter().collect(),
            Caller::SignedIn => self.signed_in.clone(),
            Caller::SignedInOfOtherGroup => BTreeSet::new(),
            Caller::Watcher | Caller::WithStaticToken => self.all(),
            other => unreachable!("{other:?} has no list"),
        }
    }
}

const SEEING: [Caller; 7] = [
    Caller::Tenant,
    Caller::OtherTenant,
    Caller::TenantOfOtherProcess,
    Caller::SignedIn,
    Caller::SignedInOfOtherGroup,
    Caller::Watcher,
    Caller::WithStaticToken,
];

/// Lists, their pages, filters and offsets know of nothing else than the caller's jobs.
async fn lists(story: &Story, callers: &Callers, jobs: &Jobs) -> Result<()> {
    for caller in SEEING {
        let seen = jobs.seen_by(caller);
        for replica in 0..2 {
            wait_until("the replica has heard of all jobs", LIMIT, || async {
                let all = page(story, callers, caller, replica, "?limit=100").await?.0;
                ensure!(all == seen, "{caller:?} sees {all:?}");
                Ok(())
            })
            .await?;
            // Page by page there is no job, and no further page, that the whole does not have.
            let (mut paged, mut query) = (BTreeSet::new(), Some("?limit=1".to_owned()));
            let mut pages = 0;
            while let Some(next) = query {
                let (shown, after) = page(story, callers, caller, replica, &next).await?;
                paged.extend(shown);
                (pages, query) = (pages + 1, after);
            }
            ensure!(paged == seen && pages == seen.len().max(1), "{caller:?}: {pages} pages of {}", seen.len());
            let beyond = page(story, callers, caller, replica, &format!("?offset={}", seen.len())).await?;
            ensure!(beyond == (BTreeSet::new(), None), "{caller:?}: {beyond:?}");
            // A cursor at another's job is one like any other.
            let foreign = jobs.all().into_iter().next_back().context("no job")?;
            let before = page(story, callers, caller, replica, &format!("?limit=100&after={foreign}")).await?.0;
            ensure!(before == seen.iter().copied().filter(|job| *job < foreign).collect(), "{caller:?}: {before:?}");
            for filter in
                ["processID=guarded", "status=successful,running", "minDuration=0", "datetime=2020-01-01T00:00:00Z/.."]
            {
                let filtered = page(story, callers, caller, replica, &format!("?limit=100&{filter}")).await?.0;
                ensure!(filtered.is_subset(&seen), "{caller:?} {filter}: {filtered:?}");
            }
        }
    }
    Ok(())
}

/// The jobs of a page, and the query of the next.
async fn page(
    story: &Story,
    callers: &Callers,
    caller: Caller,
    replica: usize,
    query: &str,
) -> Result<(BTreeSet<JobId>, Option<String>)> {
    let (status, list) = callers.get(story, caller, replica, &format!("/jobs{query}")).await?;
    ensure!(status == 200, "{caller:?}: {status} {list}");
    let ids = list["jobs"]
        .as_array()
        .context("no jobs")?
        .iter()
        .map(|job| Ok(job["jobID"].as_str().context("no id")?.parse()?));
    let next = list["links"].as_array().context("no links")?.iter().find(|link| link["rel"] == "next");
    let next = next.and_then(|link| Some(format!("?{}", link["href"].as_str()?.split_once('?')?.1)));
    Ok((ids.collect::<Result<_>>()?, next))
}

/// Another's job is answered as one that never was: status, headers, body.
async fn guesses(story: &Story, callers: &Callers, jobs: &Jobs) -> Result<()> {
    for caller in [
        Caller::Tenant,
        Caller::OtherTenant,
        Caller::TenantOfOtherProcess,
        Caller::SignedIn,
        Caller::SignedInOfOtherGroup,
    ] {
        let seen = jobs.seen_by(caller);
        for replica in 0..2 {
            for job in jobs.all() {
                let never = JobId::generate(job.unix_millis());
                for (method, rest) in
                    [("GET", ""), ("HEAD", ""), ("GET", "/results"), ("GET", "/results/out"), ("DELETE", "")]
                {
                    if seen.contains(&job) {
                        continue;
                    }
                    let ask = async |job: &JobId| {
                        let path = format!("/jobs/{job}{rest}");
                        shown(callers.request(story, caller, method.parse()?, replica, &path).send().await?).await
                    };
                    let (found, of_none) = (ask(&job).await?, ask(&never).await?);
                    ensure!(found == of_none && found.0 == 404, "{caller:?} {method} {rest}: {found:?}, {of_none:?}");
                }
            }
            for job in &seen {
                let (status, document) = callers.get(story, caller, replica, &format!("/jobs/{job}")).await?;
                ensure!(status == 200, "{caller:?}: {status} {document}");
                ensure!(document.get("owner").is_none(), "{document}");
            }
        }
    }
    Ok(())
}

/// What there is to see of an answer, without what differs each time.
async fn shown(answer: reqwest::Response) -> Result<(u16, Vec<(String, String)>, Value)> {
    let status = answer.status().as_u16();
    let passing = ["date", "x-request-id"];
    let headers = answer.headers().iter().filter(|(name, _)| !passing.contains(&name.as_str()));
    let mut headers: Vec<(String, String)> = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    headers.sort();
    let text = answer.text().await?;
    let mut body: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? };
    if let Some(body) = body.as_object_mut() {
        ensure!(body.remove("instance").is_some(), "an exception without instance");
    }
    Ok((status, headers, body))
}

/// Another's job, whatever is known of it, costs the same look-ups as one that is not there.
async fn costs(story: &mut Story, callers: &Callers, jobs: &Jobs) -> Result<()> {
    let foreign = *jobs.other.first().context("no job")?;
    // It is at hand, so that its owner needs no look-up.
    let before = leader_reads(story).await?;
    callers.get(story, Caller::OtherTenant, 0, &format!("/jobs/{foreign}")).await?;
    ensure!(leader_reads(story).await? == before, "one's own finished job is at hand");
    for job in [foreign, jobs.running.context("no job")?, JobId::generate(1), JobId::generate(foreign.unix_millis())] {
        let before = leader_reads(story).await?;
        let (status, _) = callers.get(story, Caller::Tenant, 0, &format!("/jobs/{job}")).await?;
        let reads = leader_reads(story).await? - before;
        ensure!(status == 404 && reads == 2, "{job}: {status} after {reads} look-ups");
    }
    Ok(())
}

async fn leader_reads(story: &mut Story) -> Result<u64> {
    metric(story.stack.service(Service::Gateway, 0)?.probe, "leader_reads_total").await
}

async fn metric(probe: u16, name: &str) -> Result<u64> {
    let text = reqwest::get(format!("http://127.0.0.1:{probe}/metrics")).await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(&format!("quayside_gateway_{name} "))).context("no metric")?;
    Ok(line.rsplit(' ').next().context("no value")?.parse()?)
}

/// Who may not see a job can't end it; who only watches can't either; who owns it can.
async fn dismissals(story: &Story, callers: &Callers, jobs: &Jobs) -> Result<()> {
    let job = jobs.running.context("no job")?;
    let path = format!("/jobs/{job}");
    let delete = async |caller: Caller| {
        let answer = callers.request(story, caller, Method::DELETE, 1, &path).send().await?;
        Ok::<_, anyhow::Error>((answer.status().as_u16(), answer.json::<Value>().await?))
    };
    for (caller, expected) in
        [(Caller::Tenant, 404), (Caller::SignedIn, 404), (Caller::Watcher, 403), (Caller::Nobody, 401)]
    {
        let (status, document) = delete(caller).await?;
        ensure!(status == expected, "{caller:?}: {status} {document}");
    }
    let (_, document) = callers.get(story, Caller::TenantOfOtherProcess, 0, &path).await?;
    ensure!(document["status"] == "running" || document["status"] == "accepted", "{document}");
    let (status, document) = delete(Caller::TenantOfOtherProcess).await?;
    ensure!(status == 200 && document["status"] == "dismissed", "{status} {document}");
    Ok(())
}

/// The same key of two callers is two keys.
async fn keys(story: &Story, callers: &Callers) -> Result<()> {
    let submit = async |caller: Caller, replica: usize| {
        let path = format!("/processes/{GUARDED}/execution");
        let request = callers.request(story, caller, Method::POST, replica, &path);
        let request = request.header("prefer", "respond-async").header("idempotency-key", "one-key");
        let answer = request.json(&json!({"inputs": {}})).send().await?;
        let status = answer.status().as_u16();
        let document: Value = answer.json().await?;
        ensure!(status == 201, "{caller:?}: {status} {document}");
        Ok::<_, anyhow::Error>(document["jobID"].as_str().context("no id")?.to_owned())
    };
    let mut made = BTreeSet::new();
    for caller in [Caller::Tenant, Caller::OtherTenant, Caller::SignedIn, Caller::WithStaticToken] {
        let job = submit(caller, 0).await?;
        ensure!(submit(caller, 1).await? == job, "{caller:?}: the same key is the same job");
        ensure!(made.insert(job), "{caller:?} got another's job");
    }
    Ok(())
}

/// Records name owners in the form that is public.
async fn records(story: &Story, jobs: &Jobs) -> Result<()> {
    let mut seen = BTreeSet::new();
    for (subject, payload) in story.messages().await? {
        if !subject.starts_with("jobs.") || subject.ends_with(".removed") {
            continue;
        }
        let record = serde_json::from_value::<JobEvent>(payload)?.into_record();
        let owner = record.owner.as_ref().map(Owner::as_str);
        let is_right = match record.job_id {
            job if jobs.tenant.contains(&job) => owner == Some("token:tenant"),
            job if jobs.other.contains(&job) => owner == Some("token:other"),
            job if jobs.signed_in.contains(&job) => owner.is_some_and(|owner| owner.starts_with("oidc:")),
            job if jobs.nobodys.contains(&job) => owner.is_none(),
            _ => continue,
        };
        ensure!(is_right, "{subject}: {owner:?}");
        seen.insert(record.job_id);
    }
    ensure!(seen.is_superset(&jobs.tenant) && seen.is_superset(&jobs.signed_in), "{seen:?}");
    Ok(())
}

/// No token is in what the services wrote: logs, stream, bucket.
fn secrets(story: &Story, callers: &Callers) -> Result<()> {
    let tokens: Vec<String> = SEEING.iter().filter_map(|caller| callers.token(*caller)).collect();
    let mut files = Vec::new();
    collect(story.stack.folder(), &mut files)?;
    ensure!(files.len() > 10, "{files:?}");
    for file in files {
        let bytes = fs::read(&file).unwrap_or_default();
        for token in &tokens {
            let is_there = bytes.windows(token.len()).any(|window| window == token.as_bytes());
            ensure!(!is_there, "a token is in {}", file.display());
        }
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_come_and_go_without_a_restart() {
    tell("tenants-tokens", setting("protect_jobs: true"), async |story| {
        let callers = callers::start(story, 1).await?;
        let probe = story.stack.service(Service::Gateway, 0)?.probe;
        let list = async |caller: Caller| Ok::<_, anyhow::Error>(callers.get(story, caller, 0, "/jobs").await?.0);
        let until = async |caller: Caller, expected: u16| {
            wait_until(&format!("{caller:?} is answered {expected}"), LIMIT, || async {
                let status = list(caller).await?;
                ensure!(status == expected, "{status}");
                Ok(())
            })
            .await
        };
        ensure!(list(Caller::Tenant).await? == 200 && list(Caller::OtherTenant).await? == 200, "both are known");
        callers::write_tokens(story, |name| name != "tenant")?;
        until(Caller::Tenant, 403).await?;
        ensure!(list(Caller::OtherTenant).await? == 200, "the other one stays");
        fs::write(callers::tokens_file(story), "tokens:\n  - {name: tenant, sha256: SENSITIVE}\n")?;
        let log = wait_until("the mistake is told", LIMIT, || async {
            let log = fs::read_to_string(story.stack.logs().join("api-gateway-0.log"))?;
            ensure!(log.contains("tokens[0].sha256 (2:20)"), "not yet");
            Ok(log)
        })
        .await?;
        ensure!(log.contains("ERROR") && !log.contains("SENSITIVE"), "{log}");
        ensure!(
            metric(probe, "token_file_failing").await? == 1 && metric(probe, "issuer_failing").await? == 0,
            "metrics"
        );
        ensure!(list(Caller::OtherTenant).await? == 200, "a broken file changes nothing");
        callers::write_tokens(story, |name| name != "other")?;
        until(Caller::Tenant, 200).await?;
        until(Caller::OtherTenant, 403).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_suffices_where_nothing_is_said_of_jobs_and_lists_stay_apart() {
    tell("tenants-by-id", setting("sync_link: true"), async |story| {
        let callers = callers::start(story, 1).await?;
        let job = callers.submit(story, Caller::Tenant, 0, GUARDED).await?;
        callers.done(story, Caller::Nobody, &job).await?;
        for caller in [Caller::Nobody, Caller::OtherTenant, Caller::SignedInLongAgo] {
            let (status, document) = callers.get(story, caller, 0, &format!("/jobs/{job}/results")).await?;
            ensure!(status == 200, "{caller:?}: {status} {document}");
        }
        ensure!(page(story, &callers, Caller::OtherTenant, 0, "").await?.0.is_empty(), "it is in no list of others");
        let deleted =
            callers.request(story, Caller::OtherTenant, Method::DELETE, 0, &format!("/jobs/{job}")).send().await?;
        ensure!(deleted.status().as_u16() == 404, "{}", deleted.status());
        Ok(())
    })
    .await;
}
