"""The Messages API of Amazon Bedrock, Google Vertex AI and Microsoft Foundry, through the SDK's clients for them.

The clients take address and credentials from the settings of their cloud (`AWS_REGION`, `CLOUD_ML_REGION`,
`ANTHROPIC_FOUNDRY_RESOURCE`, ...). HOLDFAST_MODEL_BASE_URL and the key file win over them. The model id of an agent is
the one that the cloud uses.
"""

from collections.abc import AsyncIterator, Callable
from importlib import import_module
from typing import Any, ClassVar

import anthropic
import httpx2
from aiohttp import ClientError
from anthropic.lib.bedrock import AsyncAnthropicBedrock
from anthropic.lib.foundry import AsyncAnthropicFoundry
from anthropic.lib.vertex import AsyncAnthropicVertex

from holdfast.harness.models.anthropic import SdkBody, SdkModel, client_options
from holdfast.harness.models.anthropic_http import SdkHttpClient
from holdfast.harness.models.failures import Failures, Progress
from holdfast.harness.models.interface import Endpoint, ModelFailure
from holdfast.harness.models.streamed_model import ResponseBody
from holdfast.process.settings import BadSettings


class CredentialsUnavailable(Exception):
    """The library of the cloud has no credentials, or cannot renew them."""


class CloudModel(SdkModel):
    """A model behind one of the SDK's clients for a cloud."""

    ERRORS: ClassVar = (*SdkModel.ERRORS, CredentialsUnavailable)

    def __init__(self, endpoint: Endpoint, client: Any, http: SdkHttpClient) -> None:
        super().__init__(endpoint, client, http)
        if not endpoint.base_url:
            self._failures = Failures(Endpoint(base_url=str(client.base_url), key=endpoint.key, silence=self._silence))

    async def _send(self, body: dict[str, Any]) -> ResponseBody:
        try:
            return self._body(await self._post(self._headers, body=body))  # the client moves parts of it into the path
        except (anthropic.AnthropicError, ClientError, TimeoutError):
            raise
        except Exception as exc:  # botocore and google-auth have no base class in common
            raise CredentialsUnavailable(str(exc) or type(exc).__name__) from exc

    def _body(self, response: httpx2.Response) -> ResponseBody:
        return SdkBody(response)

    def _failure(self, exc: Exception, progress: Progress) -> ModelFailure | None:
        if isinstance(exc, CredentialsUnavailable):
            return self._failures.no_credentials(exc)
        return super()._failure(exc, progress)


class BedrockModel(CloudModel):
    """Amazon Bedrock. The key is a Bedrock API key; without one, requests are signed with the credentials of AWS."""

    def __init__(self, endpoint: Endpoint) -> None:
        _require("bedrock", "boto3", "botocore.eventstream")
        http = SdkHttpClient()
        given = {**_given(endpoint, "api_key"), **client_options(http)}
        super().__init__(endpoint, _made("bedrock", lambda: AsyncAnthropicBedrock(**given)), http)

    def _body(self, response: httpx2.Response) -> ResponseBody:
        return _BedrockBody(response, self._client)


class _BedrockBody(SdkBody):
    """A body of AWS's binary event stream, as the server-sent events that it carries."""

    def __init__(self, response: httpx2.Response, client: Any) -> None:
        self._client = client
        super().__init__(response)

    async def _decoded(self) -> AsyncIterator[bytes]:
        decoder = self._client._make_sse_decoder()  # noqa: SLF001
        try:
            async for event in decoder.aiter_bytes(self._response.aiter_bytes()):
                yield f"data: {event.data}\n\n".encode()
        except (*SdkModel.ERRORS, ValueError):
            raise
        except Exception as exc:  # botocore's, which cannot be named: it is not installed without the extra
            raise ValueError(str(exc) or type(exc).__name__) from exc


class VertexModel(CloudModel):
    """Google Vertex AI. The key is an access token; without one, the default credentials of Google are used."""

    def __init__(self, endpoint: Endpoint) -> None:
        if not endpoint.key:
            _require("vertex", "google.auth.transport.requests")
        http = SdkHttpClient()
        given = {**_given(endpoint, "access_token"), **client_options(http)}
        super().__init__(endpoint, _made("vertex", lambda: AsyncAnthropicVertex(**given)), http)


class FoundryModel(CloudModel):
    """Microsoft Foundry. The key, or else ANTHROPIC_FOUNDRY_API_KEY, is the key of the resource."""

    def __init__(self, endpoint: Endpoint) -> None:
        http = SdkHttpClient()
        given = {**_given(endpoint, "api_key"), **client_options(http)}
        super().__init__(endpoint, _made("foundry", lambda: AsyncAnthropicFoundry(**given)), http)


def _given(endpoint: Endpoint, key_name: str) -> dict[str, Any]:
    """Arguments of the client that the settings of Holdfast name; it takes the others from those of the cloud."""
    given = {"base_url": endpoint.base_url, key_name: endpoint.key}
    return {name: value for name, value in given.items() if value}


def _require(kind: str, *modules: str) -> None:
    """Raises BadSettings if an extra of the SDK is not installed."""
    for module in modules:
        try:
            import_module(module)
        except ImportError:
            text = f"HOLDFAST_MODEL: {kind} needs an extra of the SDK; pip install 'anthropic[{kind}]'"
            raise BadSettings(text) from None


def _made(kind: str, make: Callable[[], Any]) -> Any:
    """The client. Raises BadSettings if the settings of the cloud do not suffice."""
    try:
        return make()
    except (ValueError, RuntimeError, anthropic.AnthropicError) as exc:
        raise BadSettings(f"HOLDFAST_MODEL: {kind}: {exc}") from None
