"""Pages that sign a browser in and out. They are for people, so the description of the interface leaves them out."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from fastapi import APIRouter, Request, Response

from serving.auth.gate import Gate, is_direct
from serving.auth.sessions import is_of_another_site, is_tls, set_cookie
from serving.pages.sign_in import HEADERS, language_of, sign_in_page

METHODS: Final[Mapping[str, tuple[str, ...]]] = {"/sign-in": ("GET", "POST"), "/sign-out": ("POST",)}


def sign_in_routes(gate: Gate) -> APIRouter:
    """`/sign-in` and `/sign-out`."""
    sessions = gate.sessions
    routes = APIRouter(default_response_class=Response, include_in_schema=False)

    @routes.get("/sign-in")
    async def show(request: Request) -> Response:
        session = sessions.read(_headers(request))
        return _page(sign_in_page(_language(request), session=session, is_open=is_open))

    @routes.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        headers, lang = _headers(request), _language(request)
        if is_of_another_site(headers):
            return _page(sign_in_page(lang, is_open=is_open, problem="other_site"), 403)
        if not _is_private(request, headers):
            return _page(sign_in_page(lang, is_open=is_open, problem="no_tls"), 403)
        key = sessions.keys.find((await _field(request, "key")).strip().encode("utf-8", "surrogateescape"))
        if is_open:
            return _page(sign_in_page(lang, is_open=is_open), 401)
        if key is None:
            gate.metrics.refused("key")
            return _page(sign_in_page(lang, problem="wrong"), 401)
        return _onwards(request, sessions.begin(key), lang)

    @routes.post("/sign-out")
    async def sign_out(request: Request) -> Response:
        headers = _headers(request)
        session = sessions.read(headers)
        is_foreign = is_of_another_site(headers)  # its form comes without the cookie, and would still end the session
        if is_foreign or (session is not None and not session.may_write(await _field(request, "csrf"))):
            return _page(sign_in_page(_language(request), session=session, problem="other_site"), 403)
        return _onwards(request, "", _language(request))

    is_open = sessions.keys.is_open
    return routes


def _headers(request: Request) -> Mapping[bytes, bytes]:
    return dict(reversed(request.scope["headers"]))


def _language(request: Request) -> str:
    return language_of(request.query_params.get("lang"), request.headers.get("accept-language", ""))


def _is_private(request: Request, headers: Mapping[bytes, bytes]) -> bool:
    """Whether nobody between the browser and the service can read a key: over TLS, or on this machine."""
    return is_tls(request.scope["scheme"], headers) or is_direct(request.scope.get("client"), headers)


async def _field(request: Request, name: str) -> str:
    """A field of a form; empty where there is none, and of a form with more fields than any of these pages sends."""
    try:
        fields = parse_qs((await request.body()).decode("utf-8", "surrogateescape"), max_num_fields=10)
    except ValueError:
        return ""
    return fields.get(name, [""])[0]


def _page(html: str, status: int = 200) -> Response:
    return Response(html, status, HEADERS, "text/html; charset=utf-8")


def _onwards(request: Request, cookie: str, lang: str) -> Response:
    """To the page itself, so that loading it again sends no form again."""
    is_secure = is_tls(request.scope["scheme"], _headers(request))
    headers = {**HEADERS, "Location": f"/sign-in?lang={lang}", "Set-Cookie": set_cookie(cookie, is_secure=is_secure)}
    return Response(status_code=303, headers=headers)
