//! The rule table: every operation that is served, for every kind of caller, under each value of `protect_jobs`. What is
//! expected is said here once more, from what the users were told.

use anyhow::{Context, Result, bail, ensure};
use api_gateway::{
    access::Rule,
    routes::{self, Served},
};
use end_to_end::{
    issuer::{Issuer, Person},
    ports,
    program::wait_until,
    services::Service,
    story::{Backend, LIMIT, Setting, Story, TOKEN, process_yaml, tell},
    tools::{self, Tool},
};
use protocol::JobId;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::callers::{self, Caller, Callers, GUARDED};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// 401, and how a token is presented.
    TokenIsMissing,
    /// 403.
    Refused,
    /// 401, and what is wrong with the token of the issuer.
    TokenIsInvalid,
    /// 404, as of a job that never was.
    NoSuchJob,
}

/// Whether an operation on jobs wants a token.
fn wants_token(rule: Rule, protect_jobs: Option<bool>) -> bool {
    match (rule, protect_jobs) {
        (Rule::Open, _) => false,
        (Rule::Execute | Rule::Dismiss | Rule::DismissForm, _) => true,
        (Rule::List | Rule::Logs, Some(false)) => false,
        (Rule::List | Rule::Logs, None | Some(true)) => true,
        (Rule::Job, None | Some(false)) => false,
        (Rule::Job, Some(true)) => true,
    }
}

/// What is to become of a request for the process that needs a token, or for the job of [`Caller::Tenant`].
fn expected(rule: Rule, protect_jobs: Option<bool>, caller: Caller) -> Outcome {
    use Caller::*;
    use Outcome::*;
    if !wants_token(rule, protect_jobs) {
        return Answered;
    }
    match caller {
        Nobody => return TokenIsMissing,
        WithWrongToken | Late => return Refused,
        SignedInLongAgo | SignedInElsewhere | WithUnsignedToken | SignedInBeforeRotation => return TokenIsInvalid,
        WithStaticToken | Tenant => return Answered,
        TenantOfOtherProcess | OtherTenant | Watcher | SignedIn | SignedInOfOtherGroup => {}
    }
    match rule {
        Rule::Open | Rule::List => Answered,
        Rule::Execute if matches!(caller, OtherTenant | SignedIn) => Answered,
        Rule::Execute => Refused,
        Rule::Dismiss | Rule::DismissForm if caller == Watcher => Refused,
        Rule::Job | Rule::Logs if caller == Watcher => Answered,
        Rule::Dismiss | Rule::DismissForm | Rule::Job | Rule::Logs => NoSuchJob,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_keeps_its_rule_where_nothing_is_said_of_jobs() {
    holds("access-absent", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_keeps_its_rule_where_jobs_are_protected() {
    holds("access-protected", Some(true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_keeps_its_rule_where_jobs_are_open() {
    holds("access-open", Some(false)).await;
}

async fn holds(name: &str, protect_jobs: Option<bool>) {
    tell(name, setting(protect_jobs), async |story| {
        let callers = callers::start(story, 1).await?;
        let mut job = done_job(story, &callers).await?;
        let mut wrong = Vec::new();
        for served in routes::table() {
            for caller in Caller::ALL {
                let path = path_of(served.path, &job, GUARDED)?;
                let wanted = expected(served.rule, protect_jobs, caller);
                let answer = ask(story, &callers, caller, served, &path).await?;
                let found = outcome(answer).await?;
                // A page says in its text what is wrong with a token.
                let unauthorized = [Outcome::TokenIsMissing, Outcome::TokenIsInvalid];
                let is_alike =
                    served.rule == Rule::DismissForm && unauthorized.contains(&found) && unauthorized.contains(&wanted);
                if found != wanted && !is_alike {
                    wrong
                        .push(format!("{} {} {caller:?}: {found:?} instead of {wanted:?}", served.method, served.path));
                }
                if matches!(served.rule, Rule::Dismiss | Rule::DismissForm) && found == Outcome::Answered {
                    job = done_job(story, &callers).await?;
                }
            }
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        executions(story, &callers).await
    })
    .await;
}

/// A token may come as an input, too; and what needs none is for everybody, whatever token they have.
async fn executions(story: &Story, callers: &Callers) -> Result<()> {
    for caller in Caller::ALL {
        let url = format!("{}/processes/{GUARDED}/execution", story.stack.url(0));
        let inputs = callers.token(caller).map_or_else(|| json!({}), |token| json!({ "token": token }));
        let request = story.http.post(url).header("prefer", "respond-async").json(&json!({ "inputs": inputs }));
        let (found, wanted) = (outcome(request.send().await?).await?, expected(Rule::Execute, None, caller));
        ensure!(found == wanted, "{caller:?} with an input: {found:?} instead of {wanted:?}");
        let everybodys = Served { path: "/processes/{processID}/execution", method: "POST", rule: Rule::Execute };
        let answer = ask(story, callers, caller, everybodys, "/processes/everybodys/execution").await?;
        ensure!(answer.status().as_u16() == 201, "{caller:?}: {}", answer.status());
    }
    Ok(())
}

fn setting(protect_jobs: Option<bool>) -> Setting {
    let script = "echo PYGEOAPI_K8S_MANAGER_RESULT_START\necho '{}'";
    let guarded = |id: &str| process_yaml(id, script).replace("check_auth: false", "check_auth: true");
    let processes = [guarded(GUARDED), guarded("roads"), process_yaml("everybodys", script)];
    let mut setting = Setting::new(Backend::Local).with_processes(&processes.concat());
    if let Some(protects) = protect_jobs {
        setting = setting.with_manager(&format!("protect_jobs: {protects}"));
    }
    setting.start_services = false;
    setting
}

/// A job of the tenant that has ended, with its result and its log.
async fn done_job(story: &Story, callers: &Callers) -> Result<JobId> {
    let job = callers.submit(story, Caller::Tenant, 0, GUARDED).await?;
    callers.done(story, Caller::Tenant, &job).await?;
    Ok(job)
}

/// A path of the table with something that is there. A parameter that nobody here knows fails the story.
fn path_of(pattern: &str, job: &JobId, process: &str) -> Result<String> {
    let file = if pattern.starts_with("/pages/") { "quayside-0123456789abcdef.css" } else { "index.css" };
    let job = job.to_string();
    let known = [("{processID}", process), ("{jobID}", &job), ("{outputID}", "out"), ("{file}", file)];
    let path = known.iter().fold(pattern.to_owned(), |path, (parameter, value)| path.replace(parameter, value));
    ensure!(!path.contains('{'), "{pattern} has a parameter that this story does not know: say what is asked for");
    Ok(path)
}

async fn ask(story: &Story, callers: &Callers, caller: Caller, served: Served, path: &str) -> Result<Response> {
    let request = callers.request(story, caller, served.method.parse::<Method>()?, 0, path);
    let request = match (served.method, served.rule) {
        ("POST", Rule::DismissForm) => {
            let own = request.header("sec-fetch-site", "same-origin");
            own.header("content-type", "application/x-www-form-urlencoded").body("status=successful")
        }
        ("POST", _) => request.header("prefer", "respond-async").json(&json!({"inputs": {}})),
        _ => request,
    };
    Ok(request.send().await?)
}

async fn outcome(answer: Response) -> Result<Outcome> {
    let (status, is_head) = (answer.status(), answer.url().to_string());
    let challenge = answer.headers().get("www-authenticate").map(|value| value.to_str().map(str::to_owned));
    let challenge = challenge.transpose()?.unwrap_or_default();
    let text = answer.text().await?;
    Ok(match status.as_u16() {
        200..300 => Outcome::Answered,
        401 if challenge == "Bearer" => Outcome::TokenIsMissing,
        401 if challenge.starts_with("Bearer error=\"invalid_token\", error_description=\"") => Outcome::TokenIsInvalid,
        403 => Outcome::Refused,
        404 if text.is_empty() || text.contains("/no-such-job") => Outcome::NoSuchJob,
        status => bail!("{is_head}: {status} {challenge} {text}"),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_may_be_away_at_start_and_later() {
    tell("access-issuer-away", setting(None), async |story| {
        let port = ports::free()?;
        let issuer = format!("http://127.0.0.1:{port}/");
        let more =
            [("QUAYSIDE_GATEWAY__OIDC__ISSUER", issuer.as_str()), ("QUAYSIDE_GATEWAY__OIDC__AUDIENCE", "quayside")];
        story.stack.start_service(Service::Gateway, 0, &more)?;
        story.stack.wait_ready().await?;
        let list = async |token: &str| {
            let answer = story.http.get(format!("{}/jobs", story.stack.url(0))).bearer_auth(token).send().await?;
            Ok::<_, anyhow::Error>((answer.status().as_u16(), answer.json::<Value>().await?))
        };
        ensure!(list(TOKEN).await?.0 == 200, "our own token does not hang on the issuer");
        let signed = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.c2ln";
        let (status, exception) = list(signed).await?;
        ensure!(status == 503, "{status} {exception}");
        let landing = story.http.get(story.stack.url(0)).bearer_auth(signed).send().await?;
        ensure!(landing.status().as_u16() == 200, "what is open is open");

        let tools = tools::require(&[Tool::ZitadelOidc], &|_| {}).await?;
        let redirects = [end_to_end::issuer::REDIRECT];
        let mut running = Issuer::start_at(&tools, story.stack.folder(), port, &redirects).await?;
        let token = running.token("quayside", Person::First).await?;
        wait_until("the issuer is found", LIMIT, || async {
            let (status, list) = list(&token).await?;
            ensure!(status == 200, "{status} {list}");
            Ok(())
        })
        .await?;
        running.program.kill().await?;
        ensure!(list(&token).await?.0 == 200, "the keys are kept");
        let (status, exception) = list(signed).await?;
        ensure!(status == 401, "{status} {exception}: a key that nobody knows");
        ensure!(list(&token).await?.0 == 200, "and asking in vain loses none");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_about_tokens_end_the_start_with_all_of_them() {
    tell("access-mistakes", setting(None), async |story| {
        let file = callers::tokens_file(story);
        std::fs::write(&file, "tokens:\n  - name: a\n    sha256: SENSITIVE\n    processes: all\n    tenant: b\n")?;
        let told = async |story: &mut Story, more: &[(&str, &str)]| {
            let running = story.stack.start_service(Service::Gateway, 0, more);
            running?;
            ensure!(story.stack.wait_ready().await.is_err(), "it started");
            std::fs::read_to_string(story.stack.logs().join("api-gateway-0.log")).context("no log")
        };
        let log = told(story, &[("QUAYSIDE_GATEWAY__TOKENS", &file)]).await?;
        for part in ["tokens[0].sha256 (3:5)", "tokens[0].processes (4:5)", "tokens[0].tenant (5:5)"] {
            ensure!(log.contains(part), "{part}: {log}");
        }
        ensure!(!log.contains("SENSITIVE"), "{log}");
        let log = told(story, &[("QUAYSIDE_GATEWAY__OIDC__ISSUER", "http://id.example.org")]).await?;
        ensure!(log.contains("gateway.oidc.issuer") && log.contains("gateway.oidc.audience"), "{log}");
        Ok(())
    })
    .await;
}
