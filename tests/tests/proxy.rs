//! A public address with a path, behind a proxy: whoever follows links stays below it.

use anyhow::{Context, Result, ensure};
use end_to_end::{
    ports,
    program::wait_until,
    reverse_proxy::{ReverseProxy, Rules},
    services::Service,
    story::{Backend, LIMIT, Setting, Story, TOKEN, tell},
};
use reqwest::{Response, header};
use serde_json::{Value, json};

const PATH: &str = "/ogc/api";
/// Nothing of this may show up in a link.
const HEADERS: &[(&str, &str)] = &[
    ("x-forwarded-host", "elsewhere.example"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-prefix", "/elsewhere"),
    ("forwarded", "host=elsewhere.example;proto=https"),
    ("x-forwarded-for", "203.0.113.9, 203.0.113.7"),
    ("x-request-id", "id-of-the-proxy"),
];

#[tokio::test(flavor = "multi_thread")]
async fn links_stay_below_the_public_url_behind_a_proxy_that_strips_its_path() {
    behind_a_proxy("proxy-strips", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_stay_below_the_public_url_behind_a_proxy_that_keeps_its_path() {
    behind_a_proxy("proxy-keeps", false).await;
}

async fn behind_a_proxy(name: &str, strips: bool) {
    let port = ports::free().unwrap();
    let public = format!("http://127.0.0.1:{port}{PATH}");
    let mut setting = Setting::new(Backend::Local)
        .with("QUAYSIDE_GATEWAY__PUBLIC_URL", &public)
        .with("QUAYSIDE_GATEWAY__TRUSTED_PROXIES", "127.0.0.0/8");
    if !strips {
        setting = setting.with("SCRIPT_NAME", PATH);
    }
    tell(name, setting, async |story| {
        let upstream = story.stack.url(0).rsplit(':').next().context("no port")?.parse()?;
        let _proxy = ReverseProxy::start(port, upstream, Rules { path: PATH, strips, headers: HEADERS }).await?;
        follow(story, &public).await?;
        pages(story, &public).await?;
        let log = story.stack.logs().join(format!("{}-0.log", Service::Gateway.name()));
        wait_until("the log tells the request", LIMIT, || async {
            let text = std::fs::read_to_string(&log)?;
            let accepted = text.lines().find(|line| line.contains("job accepted")).context("not accepted")?;
            ensure!(accepted.contains("request_id=id-of-the-proxy"), "{accepted}");
            let answered = text.lines().find(|line| line.contains("answered")).context("not answered")?;
            ensure!(answered.contains("client=203.0.113.7"), "the nearest that no trusted proxy has: {answered}");
            Ok(())
        })
        .await
    })
    .await;
}

/// From the landing page to the results, knowing nothing but links.
async fn follow(story: &Story, public: &str) -> Result<()> {
    let landing = read(story, &format!("{public}/"), public).await?;
    read(story, &link(&landing, "http://www.opengis.net/def/rel/ogc/1.0/conformance")?, public).await?;
    read(story, &link(&landing, "service-desc")?, public).await?;
    let list = link(&landing, "http://www.opengis.net/def/rel/ogc/1.0/processes")?;
    let processes = read(story, &list, public).await?;
    let hello = processes["processes"].as_array().context("no list")?.iter().find(|it| it["id"] == "hello-world-k8s");
    let process = read(story, &link(hello.context("no hello world")?, "self")?, public).await?;
    let execution = link(&process, "http://www.opengis.net/def/rel/ogc/1.0/execute")?;
    let body = json!({ "inputs": { "name": "N" } }).to_string();
    let post = |prefer: &'static str| story.http.post(&execution).header("prefer", prefer).body(body.clone()).send();
    let created = post("respond-async").await?;
    ensure!(created.status().as_u16() == 201 && created.headers()["x-request-id"] == "id-of-the-proxy");
    let location = header_of(&created, header::LOCATION.as_str())?;
    let sync = post("wait=60").await?;
    ensure!(sync.status().as_u16() == 200 && sync.headers()["preference-applied"] == "wait=60");
    let monitor = header_of(&sync, header::LINK.as_str())?;
    ensure!(monitor.starts_with(&format!("<{public}/jobs/")), "{monitor}");
    let status = wait_until("the job", LIMIT, || async {
        let status = read(story, &location, public).await?;
        ensure!(status["status"] == "successful", "{status}");
        Ok(status)
    })
    .await?;
    let results = link(&status, "http://www.opengis.net/def/rel/ogc/1.0/results")?;
    let result: Value = story.http.get(results).send().await?.json().await?;
    ensure!(result["value"] == "Hello 'N'!", "{result}");
    Ok(())
}

/// Pages lead nowhere else either, load their files from there, and their forms are taken.
async fn pages(story: &Story, public: &str) -> Result<()> {
    for path in ["/", "/processes", "/processes/hello-world-k8s", "/jobs?status=failed"] {
        let answer = story.http.get(format!("{public}{path}")).header("accept", "text/html").bearer_auth(TOKEN);
        let text = answer.send().await?.error_for_status()?.text().await?;
        let targets = ["href=\"", "src=\"", "action=\""].map(|name| text.split(name).skip(1).collect::<Vec<_>>());
        let urls = targets.iter().flatten().filter_map(|rest| rest.split('"').next());
        let elsewhere: Vec<&str> = urls.filter(|url| !url.starts_with(public) && !url.starts_with('#')).collect();
        // Those of the configuration.
        let known = [
            "https://creativecommons.org/licenses/by/4.0/",
            "https://example.org",
            "https://ogcapi.ogc.org/processes/",
        ];
        ensure!(elsewhere.iter().all(|url| known.contains(url)), "{path}: {elsewhere:?}");
        let own = format!("rel=\"alternate\" type=\"application/json\" href=\"{public}");
        ensure!(text.contains(&own), "{path} names itself otherwise");
        for loaded in text.split("rel=\"stylesheet\" href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
            story.http.get(loaded).send().await?.error_for_status()?;
        }
    }
    let origin = public.strip_suffix(PATH).context("another path")?;
    let form = story.http.post(format!("{public}/processes/hello-world-k8s/execution")).header("origin", origin);
    let form = form.header("content-type", "application/x-www-form-urlencoded").body("value:name=N&mode=wait");
    let results = form.send().await?;
    ensure!(results.status() == 200 && results.url().as_str().starts_with(&format!("{public}/jobs/")), "{results:?}");
    Ok(())
}

/// Reads a document below the public URL, whose links are below it too.
async fn read(story: &Story, url: &str, public: &str) -> Result<Value> {
    ensure!(url.starts_with(public), "{url}");
    let answer = story.http.get(url).send().await?;
    ensure!(answer.status().as_u16() == 200, "{url}: {}", answer.status());
    let document: Value = answer.json().await?;
    ensure!(!document.to_string().contains("elsewhere"), "{document}");
    Ok(document)
}

fn link(document: &Value, rel: &str) -> Result<String> {
    let links = document["links"].as_array().context("no links")?;
    let link = links.iter().find(|link| link["rel"] == rel).with_context(|| format!("no link {rel}: {document}"))?;
    Ok(link["href"].as_str().context("no href")?.to_owned())
}

fn header_of(answer: &Response, name: &str) -> Result<String> {
    Ok(answer.headers().get(name).with_context(|| format!("no {name}"))?.to_str()?.to_owned())
}
