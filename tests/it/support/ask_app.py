"""What an app answers that is asked for tenants: Portico's contract at /tenant, Caddy's at /ask.

The file in ASK_APP_ROWS is JSON: {"host": {"status": 200, "row": {…}, "etag": "\"1\"", "max_age": 60, "delay": 0.5}}, read
anew for each question; a host that is not in it is 404. Each question is a line of ASK_APP_CALLS: path, key, host,
If-None-Match, status. With ASK_APP_TOKEN, the file of a token, questions without it are 401.
"""

import json
import os
import time
from urllib.parse import parse_qsl


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/":
        return answer(start_response, "200 OK", [], b"ready")
    (key, host), = parse_qsl(environ["QUERY_STRING"], strict_parsing=True)
    if (path, key) not in (("/tenant", "host"), ("/ask", "domain")):
        return answer(start_response, "400 Bad Request", [], b"")
    with open(os.environ["ASK_APP_ROWS"], encoding="utf-8") as file:
        rule = json.load(file).get(host, {"status": 404})
    tag = environ.get("HTTP_IF_NONE_MATCH", "-")
    status = rule.get("status", 200)
    if not allowed(environ):
        status = 401
    elif status == 200 and tag == rule.get("etag"):
        status = 304
    note(f"{path} {key} {host} {tag} {status}")
    time.sleep(rule.get("delay", 0))
    headers = []
    if "etag" in rule:
        headers.append(("ETag", rule["etag"]))
    if "max_age" in rule:
        headers.append(("Cache-Control", f"max-age={rule['max_age']}"))
    body = json.dumps(rule["row"]).encode() if status == 200 and "row" in rule else b""
    return answer(start_response, f"{status} Told", headers, body)


def allowed(environ):
    path = os.environ.get("ASK_APP_TOKEN")
    if path is None:
        return True
    with open(path, encoding="utf-8") as file:
        return environ.get("HTTP_AUTHORIZATION") == f"Bearer {file.read().strip()}"


def note(line):
    # One write of one line: appended whole, whoever else writes.
    calls = os.open(os.environ["ASK_APP_CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(calls, f"{line}\n".encode())
    os.close(calls)


def answer(start_response, status, headers, body):
    if not status.startswith(("204", "304")):
        headers = [*headers, ("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(status, headers)
    return [body]
