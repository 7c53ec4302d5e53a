"""
One request, from question to answer: plan, slate, validate, reserve.

`build_engine` puts an engine together; `feed` answers a request and reserves its page; `Engine.plan` gives the page
without reserving it.
"""

from recsys.feed.build import build_engine
from recsys.feed.context import EngineResources, RequestContext
from recsys.feed.engine import Engine, Page, feed, safe_page
from recsys.feed.plan import Plan
from recsys.feed.query import Query
from recsys.feed.record import Decision

__all__ = [
    "Decision",
    "Engine",
    "EngineResources",
    "Page",
    "Plan",
    "Query",
    "RequestContext",
    "build_engine",
    "feed",
    "safe_page",
]
