"""Connections that do not wait for ever: uvicorn's HTTP protocol with bounds on headers, time and number.

uvicorn itself bounds neither the size of headers nor the time in which they come.
"""

import json
from asyncio import Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from intents.service.limits import Limits

HEADERS = 32 << 10  # bytes of a request's line and headers


def bounded(limits: Limits) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, held to `limits`.

    A client that takes too long over its headers is answered with 408. One that has sent its request has `body`'s time
    for the rest, and as long again to read the answer; then the connection is cut. So is one that neither ends nor
    begins a request, whatever else it sends: uvicorn's own timeout between requests ends with any byte.
    """

    class Bounded(HttpToolsProtocol):
        _deadline: Any = None
        _headers = 0  # bytes so far, while they come
        _mixed = False  # what came last holds the end of one request and perhaps the begin of another
        _refused = False
        _reading = True  # headers; so no request before the first has to be whole
        _whole = True  # the request that was begun last

        def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                self._refuse(503, f"too many connections; allowed: {limits.connections}", b"retry-after: 1\r\n")
                return
            self._arm(limits.seconds, self._late)

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._refused or self.transport.is_closing():
                return
            self._mixed = False
            super().data_received(data)
            if self._reading and not self._refused:
                self._headers += 0 if self._mixed else len(data)
                if self._headers > HEADERS:
                    self._refuse(431, f"the headers are too large; allowed: {HEADERS} bytes")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._reading, self._whole, self._headers = True, False, 0
            self._arm(limits.seconds, self._late)

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            self._reading = False
            self._arm(limits.seconds * 2 + 1, self._cut)

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._whole = self._mixed = True
            if self.cycle.response_complete:  # refused before its body was whole
                self._rest()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self._reading:  # of a request that was sent after this one
                self._arm(limits.seconds, self._late)
            elif not self.cycle.response_complete:  # that one is being answered
                self._arm(limits.seconds * 2 + 1, self._cut)
            elif self._whole:
                self._rest()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, f"this is not HTTP that can be read: {msg}")

        def _arm(self, seconds: float, then: Any) -> None:
            self._disarm()
            self._deadline = self.loop.call_later(seconds, then)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _rest(self) -> None:
            """Until the next request: uvicorn closes sooner, unless bytes come or what it wrote is not read."""
            self._arm(self.timeout_keep_alive + limits.seconds, self.transport.abort)

        def _late(self) -> None:
            self._refuse(408, f"the headers did not come whole; allowed: {limits.seconds} seconds")

        def _cut(self) -> None:
            self.cycle.disconnected = True  # else it would write until the loop has noticed
            self.transport.abort()

        def _refuse(self, status: int, message: str, headers: bytes = b"") -> None:
            """Answer without the application, and close; if answers are on their way, close after them instead."""
            self._refused = True
            if self.cycle is not None and not self.cycle.response_complete:
                reading = not self._reading and not self._whole and not self.pipeline
                if not reading or self.cycle.response_started:
                    self.cycle.keep_alive = False
                    self._arm(limits.seconds * 2 + 1, self._cut)
                    return
                self.cycle.disconnected = True  # the application waits for a body that does not come
                self.cycle.message_event.set()
            content = json.dumps({"error": message}).encode()
            self.transport.write(
                b"%scontent-type: application/json\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
                % (STATUS_LINE[status], len(content), headers, content)
            )
            self.transport.close()
            self._arm(limits.seconds, self.transport.abort)  # if what was written before is not read

    return Bounded
