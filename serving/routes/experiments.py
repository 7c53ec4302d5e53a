"""Which experiments run, and how an operator kills one everywhere."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request, Response

from recsys.clock import to_text
from recsys.errors import ConfigError
from recsys.experiments.checks import KEY_PATTERN
from recsys.experiments.payload import coverage
from recsys.messages import FeedRequest
from serving import shared
from serving.body_fields import Id
from serving.dependencies import Dependencies, strict_router, struct_response, who
from serving.openapi import Description, ok, refused, response
from serving.problems import Problem
from serving.reports import ExperimentAssignment, ExperimentInForce, ExperimentList, KilledBy

_RESPONSES: Final[dict[int | str, Description]] = {200: response(ExperimentList, "The experiments in force.")}
_SHARED: Final = refused(409, "Rules are shared, or the service has no files.")
_Key = Annotated[str, Path(pattern=f"^{KEY_PATTERN}$")]


def experiment_routes(deps: Dependencies) -> APIRouter:
    """`/v1/experiments`."""
    routes = strict_router("/v1/experiments", "experiments", _RESPONSES)

    @routes.get("", summary="The experiments in force")
    def list_experiments(request: Request) -> Response:
        """Those of the files or of the published rules, and who killed which."""
        return struct_response(_listed(deps, request))

    @routes.post("/reload", summary="Read policy and experiments again", responses=_SHARED)
    def reload_experiments(request: Request) -> Response:
        """
        Answers with what is in force then. 422 with every problem where the files cannot be used: those before stay in
        force. A service does it by itself when its files change.
        """
        if deps.reload_rules is None:
            raise Problem(409, "Found a service without files of rules; start it with sanad serve.")
        try:
            deps.reload_rules()
        except ConfigError as error:
            raise Problem(422, "; ".join(error.problems)) from error
        return struct_response(_listed(deps, request))

    @routes.get("/{key}/assignment", summary="The variant of a person", responses=ok(ExperimentAssignment))
    def get_assignment(request: Request, key: _Key, user_id: Annotated[Id, Query()]) -> Response:
        """
        The variant that a page would have now, by what is known of the person; null for somebody who is not in the
        experiment. Nothing is written, and nobody counts as exposed.
        """
        _check_key(deps, key)
        context = deps.engine().context(FeedRequest(user_id=user_id), deps.clock())
        variant = context.assignment.variants.get(key)
        told = ExperimentAssignment(request_id=request.state.request_id, key=key, user_id=user_id, variant=variant)
        return struct_response(told)

    @routes.post("/{key}/kill", summary="Kill an experiment everywhere")
    def kill_experiment(request: Request, key: _Key) -> Response:
        """
        From now on everybody gets the default, in this service; within a second in every other one on the same stores.
        It survives restarts. To kill it twice changes nothing. Only `sanad experiment revive` undoes it.
        """
        _check_key(deps, key)
        stores, at = deps.engine().stores, deps.clock()
        shared.kill(stores, key, at, who(request))
        deps.models.kill(lambda: frozenset(shared.kills_of(stores.controllers)), at)
        return struct_response(_listed(deps, request))

    return routes


def _check_key(deps: Dependencies, key: str) -> None:
    known = sorted(experiment.key for experiment in deps.models.experiments().experiments)
    if key not in known:
        raise Problem(404, f"Found no experiment {key!a}, expected one of: {', '.join(known) or 'none is here'}.")


def _listed(deps: Dependencies, request: Request) -> ExperimentList:
    resources, at = deps.engine().resources, deps.clock()
    kills = shared.kills_of(deps.engine().stores.controllers)
    return ExperimentList(
        request_id=request.state.request_id,
        version=resources.experiments.version,
        experiments=tuple(
            ExperimentInForce(
                key=experiment.key,
                status=experiment.status,
                layer=experiment.layer,
                is_live=experiment.is_live,
                coverage=coverage(experiment, at),
                killed=KilledBy(to_text(kills[experiment.key].at), kills[experiment.key].who)
                if experiment.key in kills
                else None,
            )
            for experiment in resources.experiments.experiments
        ),
    )
