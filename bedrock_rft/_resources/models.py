"""Models that the endpoint serves."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bedrock_rft._resources.base import AsyncResource, Resource, blocking, blocking_iter, segment
from bedrock_rft._transport.transport import Request
from bedrock_rft.types.models import Model


class AsyncModels(AsyncResource):
    """`client.models`: base models and tuned models."""

    async def retrieve(self, model: Model | str) -> Model:
        """Return one model.

        Args:
            model: the model or its name, such as `openai.gpt-oss-20b`.

        Raises:
            NotFoundError: the endpoint does not serve the model.
        """
        return await self._send(Request("GET", f"/models/{segment(model, 'model')}"), Model)

    def list(self) -> AsyncIterator[Model]:
        """Iterate over all models."""
        return self._pages("/models", Model, {})


class Models(Resource):
    """`client.models`: base models and tuned models."""

    retrieve = blocking(AsyncModels.retrieve)
    list = blocking_iter(AsyncModels.list)
