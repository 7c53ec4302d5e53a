"""Which model serves, and how an operator changes it without a restart."""

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request, Response

from serving.dependencies import Dependencies, strict_router, struct_response, who
from serving.openapi import Description, refused, response
from serving.problems import Problem
from serving.responses import Model, ModelList
from serving.swap import models_in

_RESPONSES: Final[dict[int | str, Description]] = {200: response(ModelList, "What is served, and what can be.")}
_Version = Annotated[str, Path(pattern="^[0-9a-f]{12}$")]
_OTHER: Final = refused(409, "Nothing was activated, or another activation is at work.")


def model_routes(deps: Dependencies) -> APIRouter:
    """`/v1/models`."""
    routes = strict_router("/v1/models", "models", _RESPONSES | _OTHER)

    @routes.get("", summary="The model in service, and others")
    def list_models(request: Request) -> Response:
        """Artifacts in the folder that `--models` names, the newest first."""
        return struct_response(_listed(deps, request))

    @routes.post("/{version}/activate", summary="Serve another model")
    def activate_model(request: Request, version: _Version) -> Response:
        """
        Answers when the model serves. Requests that are being answered end with the model they began with. Other
        processes on the same state begin to load it within a second, and a restart serves it too. 422 for an artifact
        that is damaged or of another format: then the old model serves on.
        """
        if not deps.models.activate(version, deps.clock(), who(request)):
            where = deps.models.folder
            expected = "start the service with --models DIR" if where is None else "GET /v1/models lists them"
            raise Problem(404, f"Found no artifact of version {version}; {expected}.")
        return struct_response(_listed(deps, request))

    @routes.post("/rollback", summary="Serve the model before")
    def rollback_model(request: Request) -> Response:
        """Undoes the last activation; a second one undoes the first. 409 where nothing was activated."""
        deps.models.rollback(deps.clock(), who(request))
        return struct_response(_listed(deps, request))

    return routes


def _listed(deps: Dependencies, request: Request) -> ModelList:
    return ModelList(
        request_id=request.state.request_id,
        active=deps.models.version,
        previous=deps.models.previous(),
        models=tuple(
            Model(
                version=model.version,
                created_at=model.manifest.created_at,
                cutoff=model.manifest.cutoff,
                data_fingerprint=model.manifest.data_fingerprint,
            )
            for model in models_in(deps.models.folder)
        ),
    )
