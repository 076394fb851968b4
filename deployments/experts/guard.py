"""The door of an expert: only the Router of the same cluster may pass."""

from __future__ import annotations

import hmac

from deployments.asgi import ASGIApp, Receive, Response, Scope, Send
from deployments.internal_token import TOKEN_HEADER
from deployments.openai import ApiError

__all__ = ["TokenGuard"]


class TokenGuard:
    """ASGI middleware that refuses requests without the internal token.

    Args:
        app: the application behind the door.
        token: the deployment's internal token.
    """

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self.app = app
        self._token = token.encode()
        self._header = TOKEN_HEADER.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 401."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        shown = next((value for name, value in scope["headers"] if name == self._header), b"")
        if hmac.compare_digest(shown, self._token):
            await self.app(scope, receive, send)
            return
        error = ApiError(401, "Experts are internal: send the request to /v1 instead.", code="internal_endpoint")
        await Response(send).error(error)
