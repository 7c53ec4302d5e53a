"""Which experiments run, and how an operator kills one everywhere."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from recsys.clock import to_text
from recsys.experiments.payload import coverage
from serving import shared
from serving.dependencies import Dependencies, strict_router, struct_response, who
from serving.openapi import Description, response
from serving.problems import Problem
from serving.reports import ExperimentInForce, ExperimentList, KilledBy

_RESPONSES: Final[dict[int | str, Description]] = {200: response(ExperimentList, "The experiments in force.")}
_Key = Annotated[str, Path(pattern="^[a-z0-9][a-z0-9-]{0,79}$")]


def experiment_routes(deps: Dependencies) -> APIRouter:
    """`/v1/experiments`."""
    routes = strict_router("/v1/experiments", "experiments", _RESPONSES)

    @routes.get("", summary="The experiments in force")
    def list_experiments(request: Request) -> Response:
        """Those of the files or of the published rules, and who killed which."""
        return struct_response(_listed(deps, request))

    @routes.post("/{key}/kill", summary="Kill an experiment everywhere")
    def kill_experiment(request: Request, key: _Key) -> Response:
        """
        From now on everybody gets the default, in this service; within a second in every other one on the same stores.
        It survives restarts. To kill it twice changes nothing. Only `sanad experiment revive` undoes it.
        """
        known = sorted(experiment.key for experiment in deps.models.experiments().experiments)
        if key not in known:
            raise Problem(404, f"Found no experiment {key!a}, expected one of: {', '.join(known) or 'none is here'}.")
        stores, at = deps.engine().stores, deps.clock()
        shared.kill(stores, key, at, who(request))
        deps.models.kill(frozenset(shared.kills_of(stores.controllers)), at)
        return struct_response(_listed(deps, request))

    return routes


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
