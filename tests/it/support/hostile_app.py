"""Judges every request as an app sees it: WSGI (gunicorn) as `application`, ASGI (uvicorn) as `asgi`.

A request for /TENANT/NUMBER is answered with its own path in X-Echo; what is wrong with it stands in X-Sin, with status 500.
/sins  JSON: how many requests there were, and each sin with its count and an example
"""

import json
import threading

DOMAIN = ".example.test"
TENANTS = {"acme", "globex", "initech", "umbrella-corp", "t7", "xn--bcher-kva"}
OWN = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "x-real-ip": "127.0.0.1"}
SET_BY_EDGE = {"x-tenant", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-real-ip",
               "x-request-id"}
NEVER = {"forwarded", "x-scheme", "x-url-scheme", "x-original-url", "x-original-uri", "x-original-host", "x-rewrite-url",
         "x-client-ip", "x-cluster-client-ip", "true-client-ip", "cf-connecting-ip", "client-ip", "front-end-https",
         "proxy", "script-name", "path-info", "remote-user", "remote-addr", "server-name", "server-port", "expect",
         "upgrade", "keep-alive", "proxy-connection", "x-hop", "transfer-encoding-", "x-forwarded"}

lock = threading.Lock()
seen = 0
sins = {}


def fold(name):
    return "".join(char if char.isalnum() else "-" for char in name.lower())


def judge(path, headers, scheme, script_name):
    """The sins of a request; `headers` are pairs of text."""
    found = []
    parts = path.split("/")
    if len(parts) != 3 or parts[1] not in TENANTS or not parts[2].isdigit():
        return ["unknown-path"]
    tenant = parts[1]
    tenants = [value for name, value in headers if fold(name) == "x-tenant"]
    if tenants != [tenant]:
        found.append("tenant")
    if script_name:
        found.append("script-name")
    if scheme != "https":
        found.append("scheme")
    hosts = [value for name, value in headers if fold(name) == "host"]
    if len(hosts) != 1 or hosts[0].split(":")[0] != tenant + DOMAIN:
        found.append("host")
    for name, value in headers:
        folded = fold(name)
        if folded in OWN and value != OWN[folded]:
            found.append("own-" + folded)
        if folded in NEVER or (folded.startswith("x-tenant-") and folded != "x-tenants"):
            found.append("never-" + folded)
        if folded.startswith("x-forwarded-") and folded not in SET_BY_EDGE:
            found.append("never-" + folded)
    for name in SET_BY_EDGE:
        if sum(fold(other) == name for other, _ in headers) != 1:
            found.append("count-" + name)
    return found


def verdict(path, headers, scheme, script_name):
    """Status and headers of the answer."""
    global seen
    found = judge(path, headers, scheme, script_name)
    with lock:
        seen += 1
        for sin in found:
            count, example = sins.get(sin, (0, None))
            sins[sin] = (count + 1, example or f"{path} {headers}")
    answer = [("X-Echo", path), ("Content-Length", "0")]
    if found:
        answer.append(("X-Sin", ",".join(found)))
    return ("500 Sin" if found else "200 OK"), answer


def report():
    with lock:
        return json.dumps({"seen": seen, "sins": sins}).encode()


def application(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/sins":
        body = report()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]
    while environ["wsgi.input"].read(65536):
        pass
    headers = [(name[5:].replace("_", "-"), value) for name, value in environ.items() if name.startswith("HTTP_")]
    status, answer = verdict(path, headers, environ["wsgi.url_scheme"], environ["SCRIPT_NAME"])
    start_response(status, answer)
    return []


async def asgi(scope, receive, send):
    if scope["type"] != "http":
        return
    body, status, answer = b"", "200 OK", None
    if scope["path"] == "/sins":
        body = report()
        answer = [("Content-Length", str(len(body)))]
    else:
        while (await receive()).get("more_body"):
            pass
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        status, answer = verdict(scope["path"], headers, scope["scheme"], scope.get("root_path", ""))
    raw = [(name.lower().encode(), value.encode()) for name, value in answer]
    await send({"type": "http.response.start", "status": int(status.split()[0]), "headers": raw})
    await send({"type": "http.response.body", "body": body})
