"""For uvicorn: Django for HTTP, and a WebSocket that tells what it was opened with."""

import json
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "saas.settings")
django = get_asgi_application()


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
    else:
        await django(scope, receive, send)


async def websocket(scope, receive, send):
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]]
    seen = {"scheme": scope["scheme"], "client": scope["client"][0], "headers": headers}
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": json.dumps(seen)})
    await send({"type": "websocket.close"})
