"""An application that believes signed requests only, and sets cookies for all tenants as careless ones do."""

import json
import os

from portico_tenant import read_keys, verify

KEYS = read_keys(os.environ["PORTICO_TEST_KEYS"])


def application(environ, start_response):
    environ["wsgi.input"].read()
    path = environ["PATH_INFO"]
    if path == "/ready":
        return answer(start_response, "200 OK", {})
    tenant = verify(KEYS, environ, environ["RAW_URI"])
    if tenant is None:
        return answer(start_response, "403 Forbidden", {})
    headers = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
    seen = {"tenant": tenant, "method": environ["REQUEST_METHOD"], "target": environ["RAW_URI"], "headers": headers}
    cookies = []
    if path == "/login":
        cookies = [
            "sessionid=s3cret; Domain=.example.test; HttpOnly; Path=/; Secure",
            "csrftoken=t; domain=EXAMPLE.TEST; Path=/",
            "plain=1; Path=/",
            "foreign=1; Domain=example.org",
        ]
    return answer(start_response, "200 OK", seen, cookies)


def answer(start_response, status, value, cookies=()):
    body = json.dumps(value).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers + [("Set-Cookie", cookie) for cookie in cookies])
    return [body]
