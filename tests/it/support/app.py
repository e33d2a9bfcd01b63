"""The upstream application of the tests: tells what reached it.

/          JSON: method, path, query, scheme, remote address and port, what the PROXY protocol said, every HTTP_* variable,
           length of the body
/big?n=    n bytes, streamed in pieces without a Content-Length
/echo      the body as it came
/slow?s=   answers after s seconds
/note?n=   answers n; a POST is noted down before, in the file that PORTICO_TEST_LEDGER names
"""

import json
import os
import time
from urllib.parse import parse_qs

PIECE = 65536


def application(environ, start_response):
    path = environ["PATH_INFO"]
    query = parse_qs(environ["QUERY_STRING"])
    if path == "/big":
        start_response("200 OK", [("Content-Type", "application/octet-stream")])
        return big(int(query["n"][0]))
    body = environ["wsgi.input"].read()
    if path == "/echo":
        return answer(start_response, environ.get("CONTENT_TYPE", "application/octet-stream"), body)
    if path == "/note":
        if environ["REQUEST_METHOD"] == "POST":
            note(query["n"][0])
        return answer(start_response, "text/plain", query["n"][0].encode())
    if path == "/slow":
        time.sleep(float(query["s"][0]))
    seen = {
        "method": environ["REQUEST_METHOD"],
        "script_name": environ["SCRIPT_NAME"],
        "path": path,
        "query": environ["QUERY_STRING"],
        "scheme": environ["wsgi.url_scheme"],
        "protocol": environ["SERVER_PROTOCOL"],
        "remote_addr": environ["REMOTE_ADDR"],
        "remote_port": environ.get("REMOTE_PORT"),
        "proxy_protocol": environ.get("PROXY_PROTOCOL"),
        "proxy_addr": environ.get("PROXY_ADDR"),
        "proxy_port": environ.get("PROXY_PORT"),
        "headers": {name: value for name, value in environ.items() if name.startswith("HTTP_")},
        "body_length": len(body),
    }
    return answer(start_response, "application/json", json.dumps(seen, indent=1).encode())


def note(number):
    # One write of one line: appended whole, whoever else writes, and not lost if the process is killed after it.
    ledger = os.open(os.environ["PORTICO_TEST_LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, f"{number}\n".encode())
    os.close(ledger)


def answer(start_response, content_type, body):
    start_response("200 OK", [("Content-Type", content_type), ("Content-Length", str(len(body)))])
    return [body]


def big(length):
    while length > 0:
        piece = min(length, PIECE)
        yield b"x" * piece
        length -= piece
