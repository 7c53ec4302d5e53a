"""The addresses of the service by subject. Each function makes a router over the dependencies that it is given."""

from serving.routes.audit import audit_routes
from serving.routes.bulk import bulk_routes
from serving.routes.creators import creator_routes
from serving.routes.experiments import experiment_routes
from serving.routes.explain import explain_routes, policy_routes
from serving.routes.feed import feed_routes
from serving.routes.gorse import gorse_routes
from serving.routes.health import health_routes
from serving.routes.lists import family_routes, list_routes
from serving.routes.models import model_routes
from serving.routes.operator import operator_routes
from serving.routes.prosocial import prosocial_routes
from serving.routes.records import item_routes, user_routes
from serving.routes.rights import rights_routes

__all__ = [
    "audit_routes",
    "bulk_routes",
    "creator_routes",
    "experiment_routes",
    "explain_routes",
    "family_routes",
    "feed_routes",
    "gorse_routes",
    "health_routes",
    "item_routes",
    "list_routes",
    "model_routes",
    "operator_routes",
    "policy_routes",
    "prosocial_routes",
    "rights_routes",
    "user_routes",
]
