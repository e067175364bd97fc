"""The models that the endpoint serves."""

from __future__ import annotations

from collections.abc import AsyncIterator

from bedrock_rft._resources.base import AsyncResource, Resource, blocking, blocking_iter, segment
from bedrock_rft._transport.transport import Request
from bedrock_rft.types.models import Model

__all__ = ["AsyncModels", "Models"]


class AsyncModels(AsyncResource):
    """`client.models`: base models, and the ones that were tuned."""

    async def retrieve(self, model: Model | str) -> Model:
        """One model.

        Args:
            model: the model or its name, such as `openai.gpt-oss-20b`.

        Raises:
            NotFoundError: the endpoint does not serve it.
        """
        return await self._send(Request("GET", f"/models/{segment(model, 'model')}"), Model)

    def list(self) -> AsyncIterator[Model]:
        """Every model."""
        return self._pages("/models", Model, {})


class Models(Resource):
    """`client.models`: base models, and the ones that were tuned."""

    retrieve = blocking(AsyncModels.retrieve)
    list = blocking_iter(AsyncModels.list)
