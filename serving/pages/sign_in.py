"""The page that signs a browser in, as HTML. It holds no script, and its one style is named by its hash."""

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

import msgspec

from recsys.clock import to_text
from serving.auth.sessions import Session

_HERE: Final = files("serving.pages")
_STYLE: Final = (_HERE / "page.css").read_text("utf-8")
_TEMPLATE: Final = Template((_HERE / "sign_in.html").read_text("utf-8"))
TEXTS: Final = msgspec.json.decode((_HERE / "sign_in.json").read_bytes(), type=dict[str, dict[str, str]])
_NAMES: Final = {"en": "English", "fr": "Français", "ar": "العربية"}
_FALLBACK: Final = "en"
_RIGHT_TO_LEFT: Final = ("ar",)

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'sha256-"
        + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
        + "'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def language_of(wanted: str | None, accepted: str) -> str:
    """The language that a link asks for, else the first one of the browser that there is."""
    if wanted in TEXTS:
        return wanted
    tags = (part.partition(";")[0].strip().lower().partition("-")[0] for part in accepted.split(","))
    return next((tag for tag in tags if tag in TEXTS), _FALLBACK)


def sign_in_page(lang: str, *, session: Session | None = None, is_open: bool = False, problem: str = "") -> str:
    """The page for a visitor, or for whoever is signed in. `problem` names a sentence of `TEXTS`."""
    say = {name: escape(text) for name, text in TEXTS[lang].items()}
    links = " ".join(
        f'<a href="/sign-in?lang={tag}" lang="{tag}" hreflang="{tag}">{_NAMES[tag]}</a>' for tag in TEXTS if tag != lang
    )
    alert = f'<p role="alert">{say[problem]}</p>' if problem else ""
    content = f"<p>{say['open']}</p>" if is_open else _form(say, lang) if session is None else _standing(say, session)
    return _TEMPLATE.substitute(
        lang=lang, dir="rtl" if lang in _RIGHT_TO_LEFT else "ltr", title=say["title"], languages=say["languages"],
        links=links, style=_STYLE, csrf="" if session is None else session.csrf, content=alert + content,
    )  # fmt: skip


def _form(say: Mapping[str, str], lang: str) -> str:
    return (
        f'<form method="post" action="/sign-in?lang={lang}"><label for="key">{say["key"]}</label>'
        '<input id="key" name="key" type="password" dir="ltr" autocomplete="off" required maxlength="200" autofocus>'
        f"<p>{say['hint']}</p><button>{say['sign_in']}</button></form>"
    )


def _standing(say: Mapping[str, str], session: Session) -> str:
    key = session.key
    return (
        f"<p>{say['signed_in']} <bdi>{escape(key.name)}</bdi>.<br>{say['scopes']}: <bdi>{', '.join(key.scopes)}</bdi>."
        f"<br>{say['until']}: <bdi>{to_text(session.until)}</bdi></p>"
        f'<form method="post" action="/sign-out"><input type="hidden" name="csrf" value="{session.csrf}">'
        f"<button>{say['sign_out']}</button></form>"
    )
