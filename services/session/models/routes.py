"""`/v1/models`: what is known of models (`process/models.toml`, and the operator's file over it).

A model that is listed is one whose facts are known. Whether the endpoint serves it, only the endpoint knows.
"""

from holdfast.process.model_facts import ModelCatalogue
from holdfast.session.http.errors import not_found
from holdfast.session.http.routing import Call, Route
from holdfast.session.models.schema import ListQuery, ModelInfo, ModelPage, page, to_api


class ModelHandlers:
    def __init__(self, catalogue: ModelCatalogue) -> None:
        self._catalogue = catalogue

    async def list_models(self, call: Call) -> ModelPage:
        """List the models of which something is known; retired ones only if they are asked for."""
        return page(self._catalogue.listed, call.query)

    async def retrieve(self, call: Call) -> ModelInfo:
        """Retrieve a model by its id, also with its date, or as the clouds write it."""
        listed = self._catalogue.name(call.path["model_id"])
        if listed is None:
            raise not_found("model")
        return to_api(listed, self._catalogue.facts(listed))


def routes(catalogue: ModelCatalogue) -> list[Route]:
    handlers = ModelHandlers(catalogue)
    return [
        Route(method="GET", path="/v1/models", handle=handlers.list_models, query=ListQuery, answer=ModelPage),
        Route(method="GET", path="/v1/models/{model_id}", handle=handlers.retrieve, answer=ModelInfo),
    ]
