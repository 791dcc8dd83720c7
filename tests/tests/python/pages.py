"""Opens the pages in Chromium, as their users do."""

import json
import pathlib
import re
import sys
import time
from contextlib import contextmanager

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

PART, URL, TOKEN, CHROMIUM, SHOTS, PROFILES, *MORE = sys.argv[1:]
# Who else may be asked: an issuer.
ISSUER = MORE[0] if MORE else None
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
LIMIT = 60_000
expect.set_options(timeout=LIMIT)
profile = 0


class Browser:
    """One browser: what it tells is kept, and must be nothing."""

    def __init__(self, context):
        self.context = context
        self.page = context.new_page()
        self.page.set_default_timeout(LIMIT)
        self.complaints = []
        self.expected = set()
        context.on("page", self.watch)
        self.watch(self.page)

    def watch(self, page):
        page.on("console", lambda it: self.complain(it) if it.type in ("error", "warning") else None)
        page.on("pageerror", lambda it: self.complaints.append(f"error: {it}"))
        page.on("request", lambda it: self.check(it.url))

    def complain(self, message):
        # Browsers tell of each answer that is no success: those that were meant are none of our business.
        told = re.search(r"status of (\d+)", message.text)
        # What others' pages tell is their business.
        is_ours = (message.location.get("url") or URL).startswith(URL)
        if is_ours and not (told and int(told[1]) in self.expected):
            self.complaints.append(f"{message.type}: {message.text} ({message.location.get('url')})")

    def check(self, url):
        if not url.startswith((URL, "data:", "blob:") + ((ISSUER,) if ISSUER else ())):
            self.complaints.append(f"asks elsewhere: {url}")

    def open(self, path, status=200):
        if status != 200:
            self.expected.add(status)
        answer = self.page.goto(path if path.startswith("http") else URL + path)
        assert answer.status == status, f"{path}: {answer.status}"
        return answer

    def sound(self, name=None):
        """Nothing was complained of, and axe finds nothing serious."""
        assert not self.complaints, self.complaints
        found = Axe().run(self.page).response["violations"]
        serious = [it for it in found if it["impact"] in ("serious", "critical")]
        shown = [(it["id"], [node["target"] for node in it["nodes"]], it["nodes"][0].get("failureSummary")) for it in serious]
        assert not serious, f"{self.page.url}: {json.dumps(shown, indent=1)}"
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.page.url} is {wide} pixels too wide"
        assert self.page.evaluate("document.documentElement.lang"), "no language"
        assert self.page.locator("h1").count() == 1, "not one heading"
        if name:
            self.page.screenshot(path=pathlib.Path(SHOTS) / f"{name}.png", full_page=True)


@contextmanager
def browser(play, width="desktop", scheme="light", scripts=True):
    global profile
    profile += 1
    (wide, high) = WIDTHS[width]
    context = play.chromium.launch_persistent_context(
        f"{PROFILES}/{PART}-{profile}",
        executable_path=CHROMIUM,
        headless=True,
        args=ARGUMENTS,
        viewport={"width": wide, "height": high},
        color_scheme=scheme,
        java_script_enabled=scripts,
        accept_downloads=True,
        locale="en-US",
    )
    try:
        it = Browser(context)
        yield it
        assert not it.complaints, it.complaints
    finally:
        context.close()


def box(page, label):
    """The field with this label, which may also be that of an output to choose."""
    fields = page.locator("input:not([type=checkbox], [type=radio]), textarea, select")
    return page.get_by_label(label, exact=True).and_(fields)


def execute(play, process, inputs, token=None):
    """A job as programs make one; where it is, once it is done."""
    headers = {"prefer": "respond-async", "accept": "application/json", "content-type": "application/json"}
    if token:
        headers["authorization"] = f"Bearer {token}"
    api = play.request.new_context(extra_http_headers=headers)
    answer = api.post(f"{URL}/processes/{process}/execution", data=json.dumps({"inputs": inputs}))
    assert answer.status == 201, answer.text()
    location = answer.headers["location"]
    for _ in range(600):
        status = api.get(location).json()
        if status["status"] not in ("accepted", "running") or inputs.get("pause"):
            return location
        time.sleep(0.1)
    raise AssertionError(status)


def looks(play):
    done = execute(play, "form", {"line": "Shore", "count": 2, "several": [1, 2.5], "object": {"size": 3}})
    failed = execute(play, "broken", {})
    picture = execute(play, "picture", {})
    running = "RUNNING"
    pages = [
        ("landing", "/", 200),
        ("conformance", "/conformance", 200),
        ("processes", "/processes", 200),
        ("process", "/processes/form", 200),
        ("process-example", "/processes/form?fill=example", 200),
        ("process-guarded", "/processes/guarded?lang=de", 200),
        ("jobs", "/jobs", 200),
        ("jobs-filtered", "/jobs?status=failed&status=running&processID=broken&processID=form", 200),
        ("jobs-none", "/jobs?status=dismissed", 200),
        ("jobs-paged", "/jobs?limit=2", 200),
        ("job-done", done, 200),
        ("job-failed", failed, 200),
        ("job-running", running, 200),
        ("job-dismiss", f"{running}/dismiss", 200),
        ("results", f"{done}/results", 200),
        ("results-picture", f"{picture}/results", 200),
        ("results-one", f"{picture}/results/text?f=html", 200),
        ("results-failed", f"{failed}/results", 500),
        ("results-early", f"{running}/results", 404),
        ("not-found", "/processes/none", 404),
        ("bad-request", "/jobs?limit=0&status=odd", 400),
        ("sign-in", "/signin", 200),
    ]
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            # It has to run until its pages were seen.
            long = execute(play, "form", {"line": "Long run", "pause": 60})
            with browser(play, width, scheme) as it:
                for name, path, status in sorted(pages, key=lambda it: running not in it[1]):
                    it.open(path.replace(running, long), status)
                    it.sound(f"{name}-{width}-{scheme}")


def form(play):
    with browser(play) as it:
        page = it.page
        it.open("/")
        page.get_by_role("link", name="Processes").first.click()
        page.get_by_role("link", name="Shore line").first.click()
        expect(page).to_have_title(re.compile("Shore line"))
        # By keyboard alone: to the first field, and on from there.
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to content"
        box(page, "Name required").focus()
        page.keyboard.type("North Shore")
        page.keyboard.press("Tab")
        page.keyboard.type("two lines of notes")
        page.keyboard.press("Tab")
        page.keyboard.press("Control+A")
        page.keyboard.type("4")
        page.keyboard.press("Tab")
        page.keyboard.type("0.5")
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowDown")
        box(page, "Day").fill("2026-01-31")
        box(page, "Moment").fill("2026-01-31T12:00:00Z")
        box(page, "Levels, value 1").fill("1.5")
        page.get_by_role("button", name="More rows for Levels").click()
        box(page, "Levels, value 2").fill("-2")
        box(page, "West").fill("7.5")
        box(page, "South").fill("51.9")
        box(page, "East").fill("7.7")
        box(page, "North").fill("52")
        page.get_by_label("Choose a file for Image").set_input_files(
            {"name": "a.tif", "mimeType": "image/tiff", "buffer": b"II*\0"}
        )
        expect(box(page, "Image")).to_have_value("SUkqAA==")
        box(page, "Options").fill('{"size": 3}')
        box(page, "Coast").fill('{"type": "Point"}')
        box(page, "Pause").fill("3")
        it.sound("form-filled")
        page.get_by_role("button", name="Run", exact=True).focus()
        page.keyboard.press("Enter")
        # The job's page, which follows it to its end by itself, and lets the focus be.
        expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
        job = page.url
        page.get_by_role("link", name="Stop this job").focus()
        it.sound("form-job")
        expect(page.locator(".headline .status")).to_contain_text("successful")
        expect(page).to_have_title(re.compile("successful"))
        expect(page.get_by_role("link", name="Read the log")).to_be_visible()
        page.get_by_role("link", name="See the results").click()
        expect(page.get_by_role("region", name="Name")).to_contain_text("North Shore")
        expect(page.get_by_role("region", name="Levels")).to_contain_text("-2")
        it.sound("form-results")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download Options").click()
        assert json.loads(pathlib.Path(download.value.path()).read_text()) == {"size": 3}
        shown = json.loads(json.loads(page.request.get(job, headers={"accept": "application/json"}).text())["parameters"])
        assert shown == {
            "line": "North Shore", "lines": "two lines of notes", "count": 4, "ratio": 0.5, "flag": True, "day": "2026-01-31",
            "moment": "2026-01-31T12:00:00Z", "several": [1.5, -2], "area": {"bbox": [7.5, 51.9, 7.7, 52]},
            "image": "SUkqAA==", "object": {"size": 3},
            "typed": {"value": {"type": "Point"}, "mediaType": "application/geo+json"}, "pause": 3,
        }, shown

        # What the browser would catch is told by the server, too, beside each field.
        it.open("/processes/form")
        page.evaluate("document.querySelector('form[data-signed]').noValidate = true")
        box(page, "Name required").fill("7")
        box(page, "Passes").fill("11")
        box(page, "Options").fill('{"size": "large"')
        box(page, "Levels, value 1").fill("1")
        it.expected.add(400)
        page.get_by_role("button", name="Run", exact=True).click()
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text("It was not run")
        expect(alert.get_by_role("listitem")).to_have_count(3)
        expect(box(page, "Passes")).to_have_accessible_description(re.compile("Expected at most 10"))
        expect(box(page, "Passes")).to_have_value("11")
        expect(box(page, "Levels, value 1")).to_have_value("1")
        expect(box(page, "Options")).to_have_accessible_description(re.compile("not JSON"))
        it.sound("form-violations")
        alert.get_by_role("link", name=re.compile("Passes")).click()
        box(page, "Name required").fill("South Shore")
        box(page, "Passes").fill("10")
        box(page, "Options").fill('{"size": 1}')
        page.get_by_label("Wait, and show the results").check()
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page).to_have_url(re.compile(r"/results$"))
        expect(page.get_by_role("region", name="Name")).to_contain_text("South Shore")

        # A job is stopped, and another one removed, each after a question.
        it.open(execute(play, "form", {"line": "Long run", "pause": 60}))
        page.get_by_role("link", name="Stop this job").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Stop this job?")
        page.get_by_role("button", name="Stop this job").click()
        expect(page.locator(".headline .status")).to_contain_text("dismissed")
        page.get_by_role("link", name="Remove this job").click()
        page.get_by_role("button", name="Remove this job").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("The job is gone")
        it.sound("job-removed")

        # What a container printed is no page of ours.
        hostile = execute(play, "hostile", {})
        for path in ("/results", "/results/page?f=html"):
            it.open(hostile + path)
            expect(page.get_by_role("region", name="Page")).to_contain_text("<script>")
            assert "taken over" not in page.title()
    # Even asked for as it is, it runs nothing.
    with browser(play) as it:
        headers = it.page.request.get(f"{hostile}/results?f=json").headers
        assert headers["content-type"] == "text/html" and "sandbox" in headers["content-security-policy"], headers
        it.page.goto(f"{hostile}/results?f=json")
        assert it.page.title() != "taken over"
        it.complaints = [told for told in it.complaints if "sandboxed" not in told and "Content Security Policy" not in told]


def plain(play):
    with browser(play, "phone", scripts=False) as it:
        page = it.page
        it.open("/processes/form")
        box(page, "Name required").fill("North Shore")
        box(page, "Levels, value 1").fill("1")
        page.get_by_role("button", name="More rows for Levels").click()
        box(page, "Levels, value 3").fill("3")
        expect(box(page, "Name required")).to_have_value("North Shore")
        box(page, "Options").fill("{nonsense")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("Options: This is not JSON")
        page.screenshot(path=pathlib.Path(SHOTS) / "plain-violation.png", full_page=True)
        box(page, "Options").fill('{"size": 1}')
        box(page, "Pause").fill("2")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
        # It asks again by itself.
        expect(page.locator(".headline .status")).to_contain_text("successful")
        page.get_by_role("link", name="See the results").click()
        expect(page.get_by_role("region", name="Levels")).to_contain_text("3")
        page.go_back()
        page.get_by_role("link", name="Remove this job").click()
        page.get_by_role("button", name="Remove this job").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("The job is gone")
        # A process that needs the token has a field for it.
        it.open("/processes/guarded")
        box(page, "Name required").fill("Guarded")
        page.locator("#token").fill("wrong")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.locator("#token")).to_have_accessible_description(re.compile("The token is wrong"))
        expect(page.locator("#token")).to_have_value("")
        assert "wrong" not in box(page, "Name required").input_value()
        page.locator("#token").fill(TOKEN)
        page.get_by_label("Wait, and show the results").check()
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("region", name="Name")).to_contain_text("Guarded")
        it.complaints = [told for told in it.complaints if "status of 40" not in told]


def protected(play):
    with browser(play) as it:
        page = it.page
        it.open("/jobs", 401)
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see this")
        it.sound("protected-signed-out")
        it.expected.add(403)
        page.locator("#token").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#token")).to_have_accessible_description(re.compile("wrong"))
        it.sound("protected-wrong")
        page.locator("#token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
        it.sound("protected-signed-in")
        # The form needs no token any more, and the job's page is seen.
        page.goto(f"{URL}/processes/guarded")
        expect(page.locator("#token")).to_be_hidden()
        box(page, "Name required").fill("Guarded")
        box(page, "Pause").fill("2")
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page).to_have_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
        expect(page.locator(".headline .status")).to_contain_text("successful")
        page.get_by_role("link", name="See the results").click()
        expect(page.get_by_role("region", name="Name")).to_contain_text("Guarded")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download Name").click()
        assert pathlib.Path(download.value.path()).read_text() == "Guarded"
        page.goto(execute(play, "picture", {}, TOKEN) + "/results")
        expect(page.get_by_role("img", name="Picture")).to_be_visible()
        expect(page.locator("main img")).to_have_js_property("naturalWidth", 8)
        assert TOKEN not in page.content()
        # What a container printed is no page of ours, whatever it looks like: it is saved, and takes the place of nothing.
        it.expected.add(401)
        hostile = execute(play, "hostile", {}, TOKEN)
        with page.expect_download() as download:
            page.goto(f"{hostile}/results/page")
        assert "taken over" in pathlib.Path(download.value.path()).read_text()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see this")
        # Another tab knows nothing of it, and neither does this one after signing out.
        other = it.context.new_page()
        assert other.goto(f"{URL}/jobs").status == 401
        other.close()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see this")
        assert page.evaluate("sessionStorage.length") == 0
        page.goto(f"{URL}/signin")
        page.locator("#token").fill(TOKEN)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("button", name="Sign out")).to_be_visible()
        page.goto(f"{URL}/jobs")
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")


def issuer(play):
    with browser(play) as it:
        page = it.page
        it.open("/jobs", 401)
        it.sound("issuer-signed-out")
        page.get_by_role("link", name="Sign in with 127.0.0.1").click()
        it.sound("issuer-sign-in")
        page.get_by_role("button", name="Sign in with 127.0.0.1").click()
        page.locator("input[name=username]").fill("test-user@127.0.0.1")
        page.locator("input[name=password]").fill("verysecure")
        page.keyboard.press("Enter")
        # Back where it began, and no code is left in sight.
        expect(page).to_have_url(f"{URL}/jobs")
        expect(page.get_by_role("heading", level=1)).to_have_text("Jobs")
        it.sound("issuer-signed-in")
        page.goto(f"{URL}/processes/guarded")
        expect(page.locator("#token")).to_be_hidden()
        box(page, "Name required").fill("Signed in")
        page.get_by_label("Wait, and show the results").check()
        page.get_by_role("button", name="Run", exact=True).click()
        expect(page.get_by_role("region", name="Name")).to_contain_text("Signed in")
        page.goto(f"{URL}/jobs")
        expect(page.get_by_role("cell", name="Guarded line")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to see this")
        # An answer that nobody asked for, and one that refuses.
        for answer in ("code=x&state=y", "error=access_denied&state=y"):
            it.open(f"/signin?{answer}")
            expect(page.get_by_role("alert")).to_contain_text("Signing in did not work")
            expect(page).to_have_url(f"{URL}/signin")
        assert page.evaluate("sessionStorage.length") == 0
        it.sound("issuer-refused")


with sync_playwright() as play:
    {"looks": looks, "form": form, "plain": plain, "protected": protected, "issuer": issuer}[PART](play)
print("done")
