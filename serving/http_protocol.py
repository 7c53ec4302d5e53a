"""What is no HTTP at all is answered as a problem too: the parser refuses it before any middleware sees a request."""

import secrets

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.problems import problem_response


class ProblemProtocol(HttpToolsProtocol):
    """The parser of requests, with its one answer of its own as problem details."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be parsed, and close the connection: nobody knows where the next request would begin."""
        request_id = secrets.token_hex(8)
        answer = problem_response(
            400,
            "Found bytes that are no HTTP request; send HTTP/1.1 without TLS, and a space in the address as %20.",
            path="/",
            request_id=request_id,
            headers={"X-Request-ID": request_id, "Connection": "close"},
        )
        lines = [b"HTTP/1.1 400 Bad Request", *(name + b": " + value for name, value in answer.raw_headers)]
        self.transport.write(b"\r\n".join([*lines, b"", bytes(answer.body)]))
        self.transport.close()
