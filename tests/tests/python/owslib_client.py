"""What a user of OWSLib does: list, describe, execute in both modes, read status and results.

Arguments: the landing page's URL; a process that answers with its inputs; a process that needs the token; the token.
"""

import sys
import time

from owslib.ogcapi.processes import Processes
from owslib.util import http_get

LANDING, ECHO, PROTECTED, TOKEN = sys.argv[1:5]
INPUTS = {"echoInput": "Ahoy", "arrayInput": [1, 2], "pause": 0}
WAIT = 60


def main():
    service = Processes(LANDING)
    relations = {link["rel"] for link in service.links}
    assert {"self", "service-desc"} <= relations, relations
    assert service.api()["openapi"].startswith("3.0"), "the definition is found by its link"
    assert isinstance(service.conformance()["conformsTo"], list)

    ids = [process["id"] for process in service.processes()]
    assert ECHO in ids and PROTECTED in ids, ids
    description = service.process(ECHO)
    assert description["id"] == ECHO, description
    assert "echoInput" in description["inputs"], description

    # OWSLib says `Prefer: respond-sync`, and asks for a document.
    document = service.execute(ECHO, inputs=INPUTS)
    assert document["echoInput"] == "Ahoy", document
    assert document["arrayInput"] == [1, 2], document
    some = service.execute(ECHO, inputs=INPUTS, outputs={"echoInput": {}})
    assert list(some) == ["echoInput"], some

    job = service.execute(ECHO, inputs=INPUTS, async_=True)
    assert job["jobID"] and job["type"] == "process", job
    location = service.response_headers["Location"]
    assert location.endswith("/jobs/" + job["jobID"]), location
    status = ended(location)
    assert status["status"] == "successful", status
    assert all(value is not None for value in status.values()), status
    results = [link["href"] for link in status["links"] if link["rel"].endswith("/results")]
    assert len(results) == 1, status["links"]
    assert http_get(results[0]).json() == document, "both modes answer the same"

    try:
        service.execute(ECHO, inputs={})
        raise AssertionError("a missing input was taken")
    except RuntimeError as refused:
        assert "echoInput" in str(refused), refused
    try:
        service.process("no-such-process")
        raise AssertionError("there is no such process")
    except RuntimeError as refused:
        assert "no-such-process" in str(refused), refused

    try:
        service.execute(PROTECTED, inputs=INPUTS)
        raise AssertionError("the token was not asked for")
    except RuntimeError as refused:
        assert "token" in str(refused), refused
    authorized = Processes(LANDING, headers={"Authorization": "Bearer " + TOKEN})
    assert authorized.execute(PROTECTED, inputs=INPUTS)["echoInput"] == "Ahoy"
    print("all of it worked")


def ended(location):
    """The status document of the job once it has ended; before it has, there is a link to monitor it by."""
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        status = http_get(location).json()
        if status["status"] not in ("accepted", "running"):
            return status
        assert any(link["rel"] == "monitor" for link in status["links"]), status
        time.sleep(0.1)
    raise AssertionError("the job does not end")


main()
