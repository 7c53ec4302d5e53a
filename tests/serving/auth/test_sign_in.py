"""A browser signs in with a key: a cookie that no script reads, a token for each write, and pages without scripts."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from recsys.clock import HOUR, SECOND
from serving.auth.keys import Keyring, ServiceKey, change_keys, new_key
from serving.auth.sessions import COOKIE, LIFE_MS, Sessions
from serving.pages.sign_in import HEADERS, TEXTS, sign_in_page
from tests.serving.conftest import NOON, Open

SITE = "http://127.0.0.1:8000"
Browser = Callable[..., TestClient]


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key for the catalogue and the audit log."""
    text, kept = new_key("moderation", ["catalogue", "audit"], None, NOON)
    change_keys(tmp_path / "keys.json", lambda keys: (kept,))
    return text


@pytest.fixture
def browser(open_service: Open, tmp_path: Path, key: str) -> Iterator[TestClient]:
    """A browser that comes over TLS by a proxy."""
    with open_service(key_file=tmp_path / "keys.json") as client:
        client.headers |= {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "Origin": SITE}
        client.base_url = SITE.replace("http:", "https:")
        client.headers["Origin"] = str(client.base_url).rstrip("/")
        yield client


def sign_in(browser: TestClient, key: str) -> str:
    """The token for writes of a new session."""
    page = browser.post("/sign-in", data={"key": key})
    assert page.status_code == 200, page.text
    found = re.search(r'name="csrf-token" content="([0-9a-f]{64})"', page.text)
    assert found is not None
    return found[1]


def test_a_key_becomes_a_cookie_that_opens_what_the_key_opens(browser: TestClient, key: str) -> None:
    assert browser.get("/v1/audit").status_code == 401
    answer = browser.post("/sign-in", data={"key": key}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/", f"Max-Age={8 * 3_600}"} <= set(cookie.split("; "))
    assert key not in cookie
    assert browser.get("/v1/audit").status_code == 200
    assert browser.get("/v1/users/u0/export").status_code == 403
    page = browser.get("/sign-in").text
    assert "moderation" in page and "catalogue, audit" in page and key not in page


def test_a_write_needs_the_token_of_its_session(browser: TestClient, key: str) -> None:
    token = sign_in(browser, key)
    other = sign_in(browser, key)  # of a later session
    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": token}, {"X-CSRF-Token": "é"}):
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        assert browser.delete("/v1/items/v1", headers=encoded).status_code == 403
    foreign = {"X-CSRF-Token": other, "Origin": "https://evil.example"}
    assert browser.delete("/v1/items/v1", headers=foreign).status_code == 403
    assert browser.delete("/v1/items/v1", headers={"X-CSRF-Token": other}).json()["is_hidden"] is True
    rows = browser.get("/v1/audit").json()["entries"]
    assert [row["who"] for row in rows if row["what"]["action"] == "takedown"] == ["moderation"]


def test_a_key_beside_a_cookie_counts_alone(browser: TestClient, key: str) -> None:
    sign_in(browser, key)
    assert browser.get("/v1/audit", headers={"X-API-Key": "wrong"}).status_code == 401
    assert browser.delete("/v1/items/v1", headers={"X-API-Key": key}).status_code == 200


def test_signing_out_ends_the_session_and_needs_the_token(browser: TestClient, key: str) -> None:
    token = sign_in(browser, key)
    assert browser.post("/sign-out", data={"csrf": "0" * 64}).status_code == 403
    assert browser.get("/v1/audit").status_code == 200
    assert browser.post("/sign-out", data={"csrf": token}).status_code == 200
    assert COOKIE not in browser.cookies and browser.get("/v1/audit").status_code == 401


@pytest.mark.parametrize("given_key", ["", "wrong", "x" * 201, "\u0000", "مفتاح", "%"])
def test_a_wrong_key_signs_nobody_in(browser: TestClient, key: str, given_key: str) -> None:
    answer = browser.post("/sign-in?lang=fr", data={"key": given_key})
    assert answer.status_code == 401 and "set-cookie" not in answer.headers
    assert 'role="alert"' in answer.text and TEXTS["fr"]["wrong"].split()[0] in answer.text
    assert browser.post("/sign-in", data={"other": key}).status_code == 401
    assert browser.post("/sign-in", content=b"\xff\xfe" * 100).status_code == 401
    assert browser.post("/sign-in", content=b"x" * 5_000).status_code == 413


def test_a_form_of_another_site_signs_nobody_in(browser: TestClient, key: str) -> None:
    for origin in ("https://evil.example", "null"):
        answer = browser.post("/sign-in", data={"key": key}, headers={"Origin": origin})
        assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_no_key_is_taken_where_others_can_read_it(browser: TestClient, key: str) -> None:
    plain = {"X-Forwarded-Proto": "http", "Origin": SITE}
    answer = browser.post(f"{SITE}/sign-in", data={"key": key}, headers=plain)
    assert answer.status_code == 403 and "https" in answer.text and "set-cookie" not in answer.headers


def test_a_revoked_key_ends_what_it_signed_in() -> None:
    kept = ServiceKey(name="app", digest="a" * 64, scopes=("feed",))
    ring, at = Keyring([kept], is_open=False), NOON
    sessions = Sessions(ring, lambda: b"s" * 32, lambda: at)
    headers = {b"cookie": f"a=b; {COOKIE}={sessions.begin(kept)}".encode()}
    found = sessions.read(headers)
    assert found is not None and found.key is kept and found.until == NOON + LIFE_MS
    at = NOON + LIFE_MS - SECOND
    assert sessions.read(headers) is not None
    at += SECOND
    assert sessions.read(headers) is None
    at = NOON
    ring.replace([])
    assert sessions.read(headers) is None
    assert LIFE_MS <= 12 * HOUR


@given(st.data())
def test_no_other_cookie_is_a_session(data: st.DataObject) -> None:
    kept = ServiceKey(name="app", digest="a" * 64, scopes=("feed",))
    sessions = Sessions(Keyring([kept], is_open=False), lambda: b"s" * 32, lambda: NOON)
    good = sessions.begin(kept)
    place = data.draw(st.integers(0, len(good) - 1))
    letter = data.draw(
        st.characters(min_codepoint=33, max_codepoint=126).filter(lambda c: c not in good[place] + ';,"\\')
    )
    forged = data.draw(st.sampled_from([good[:place], good[:place] + letter + good[place + 1 :], good + letter]))
    assert sessions.read({b"cookie": f"{COOKIE}={forged}".encode()}) is None
    raw = data.draw(st.binary(max_size=60))
    assert sessions.read({b"cookie": raw}) is None
    other = Sessions(sessions.keys, lambda: b"t" * 32, lambda: NOON)
    assert other.read({b"cookie": f"{COOKIE}={good}".encode()}) is None


class Elements(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("lang", ["en", "fr", "ar"])
def test_the_page_speaks_three_languages_without_scripts(browser: TestClient, lang: str) -> None:
    answer = browser.get("/sign-in", headers={"Accept-Language": f"xx, {lang}-MA;q=0.8"})
    elements = Elements(answer.text).found
    [html] = [found for tag, found in elements if tag == "html"]
    assert (html["lang"], html["dir"]) == (lang, "rtl" if lang == "ar" else "ltr")
    assert set(TEXTS) == {"en", "fr", "ar"} and len({frozenset(texts) for texts in TEXTS.values()}) == 1
    assert "script" not in answer.text.lower() and not [n for _, found in elements for n in found if n[:2] == "on"]
    labels = {found["for"] for tag, found in elements if tag == "label"}
    assert {found["id"] for tag, found in elements if tag == "input"} == labels == {"key"}
    assert {found["hreflang"] for tag, found in elements if tag == "a"} == set(TEXTS) - {lang}


def test_the_policy_of_the_page_allows_its_one_style_and_nothing_else(browser: TestClient) -> None:
    answer = browser.get("/sign-in")
    style = re.search("<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "style-src": f"'sha256-{digest}'", "form-action": "'self'",
        "frame-ancestors": "'none'", "base-uri": "'none'",
    }  # fmt: skip
    assert HEADERS["X-Frame-Options"] == "DENY" and answer.headers["cache-control"] == "no-store"
    assert browser.put("/sign-in").headers["allow"] == "GET, POST"


def test_what_a_page_quotes_is_no_html() -> None:
    kept = ServiceKey(name="<b>&\"'", digest="a" * 64, scopes=("feed",))
    sessions = Sessions(Keyring([kept], is_open=False), lambda: b"s" * 32, lambda: NOON)
    session = sessions.read({b"cookie": f"{COOKIE}={sessions.begin(kept)}".encode()})
    assert "<b>" not in sign_in_page("en", session=session)


def test_without_keys_nobody_needs_to_sign_in_and_no_other_site_may_write(open_service: Open) -> None:
    with open_service() as client:
        assert "No service keys are set" in client.get("/sign-in").text
        assert "set-cookie" not in client.post("/sign-in", data={"key": "x"}).headers
        for origin, status in (("http://evil.example", 403), ("null", 403), (SITE, 409)):
            assert client.post("/v1/models/rollback", headers={"Origin": origin}).status_code == status


PICTURES = ("/v1/feed/u0?size=5", "/api/recommend/u0?n=5", "/v1/f%65ed/u0")


@pytest.mark.parametrize("path", PICTURES)
def test_a_picture_in_a_page_of_another_site_is_no_page_of_a_person(path: str, open_service: Open) -> None:
    """It names no Origin, and a page that is asked for counts."""
    with open_service(faces=("gorse",)) as client:
        for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            assert client.get(path, headers={"Sec-Fetch-Site": site}).status_code == status, site
        assert (
            client.get("/v1/families/u0/together?child_id=u1", headers={"Sec-Fetch-Site": "cross-site"}).status_code
            == 403
        )
        for read in ("/", "/openapi.json", "/v1/policies"):
            assert client.get(read, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_form_of_another_site_ends_no_session(browser: TestClient, key: str) -> None:
    """The browser keeps the cookie back, and would take the one that ends it."""
    answer = browser.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_a_page_of_a_neighbouring_host_asks_for_no_page_with_the_cookie(open_service: Open, tmp_path: Path) -> None:
    text, kept = new_key("feeds", ["feed"], None, NOON)
    change_keys(tmp_path / "keys.json", lambda keys: (kept,))
    with open_service(key_file=tmp_path / "keys.json") as client:
        sign_in(client, text)
        assert client.get("/v1/feed/u0").status_code == 200
        foreign = {"Sec-Fetch-Site": "same-site"}
        assert client.get("/v1/feed/u0", headers=foreign).status_code == 403
        assert client.get("/v1/feed/u0", headers={**foreign, "X-API-Key": text}).status_code == 200


def test_a_key_that_was_guessed_at_the_page_is_counted(browser: TestClient, key: str) -> None:
    def n_refused() -> float:
        lines = browser.get("/metrics", headers={"X-API-Key": key}).text.splitlines()
        return sum(
            float(line.split()[-1]) for line in lines if line.startswith('sanad_callers_refused_total{why="key"')
        )

    for _ in range(3):
        assert browser.post("/sign-in", data={"key": "sanad_guess"}).status_code == 401
    assert n_refused() == 3


def test_a_form_of_many_fields_is_a_wrong_key(browser: TestClient) -> None:
    answer = browser.post("/sign-in", data={f"field{n}": "x" for n in range(20)})
    assert answer.status_code == 401 and "<form" in answer.text


@contextmanager
def asked_from(
    origin: str, open_service: Open, tmp_path: Path, *named: str
) -> Iterator[tuple[TestClient, dict[str, str]]]:
    with open_service(key_file=tmp_path / "keys.json", cors_origins=named) as client:
        yield client, {"Origin": origin, "Access-Control-Request-Method": "POST"}


def test_scripts_of_other_sites_may_call_only_where_they_are_named(
    open_service: Open, tmp_path: Path, key: str
) -> None:
    named = "https://app.example.org"
    with asked_from(named, open_service, tmp_path) as (client, headers):
        answer = client.options("/v1/feed", headers=headers)
        assert answer.status_code in (401, 405) and "access-control-allow-origin" not in answer.headers
    for origin, is_allowed in ((named, True), ("https://evil.example", False)):
        with asked_from(origin, open_service, tmp_path, named) as (client, headers):
            answer = client.options("/v1/feed", headers=headers)
            assert (answer.headers.get("access-control-allow-origin") == named) is is_allowed
            assert "access-control-allow-credentials" not in answer.headers
            read = client.get("/v1/audit", headers={"Origin": origin, "X-API-Key": key})
            assert (read.headers.get("access-control-allow-origin") == named) is is_allowed
