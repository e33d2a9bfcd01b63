"""Django middleware: believes a tenant only if Portico has signed the request. Stands behind TenantMainMiddleware."""
import base64, hmac, pathlib, re, time, urllib.parse

FORM = re.compile(r"v1;kid=([A-Za-z0-9_.-]{1,64});t=([0-9]{1,12});s=([A-Za-z0-9_-]{43})")

def read_keys(path):  # the file of tenants.signature.keys
    lines = (line.strip() for line in pathlib.Path(path).read_text().splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): key.strip().encode() for name, _, key in pairs}

def verify(keys, meta, target, now=None, window=30):  # the tenant, or None
    form = FORM.fullmatch(meta.get("HTTP_X_TENANT_SIGNATURE", ""))
    if not form or form[1] not in keys or abs((time.time() if now is None else now) - int(form[2])) > window:
        return None
    tenant, host, method, client, request_id = (meta.get(name, "") for name in (
        "HTTP_X_TENANT", "HTTP_HOST", "REQUEST_METHOD", "HTTP_X_REAL_IP", "HTTP_X_REQUEST_ID"))
    canon = "\n".join(("v1", form[2], tenant, host, method, target, client, request_id))
    mac = base64.urlsafe_b64encode(hmac.digest(keys[form[1]], canon.encode("latin-1"), "sha256"))
    return tenant if hmac.compare_digest(mac.rstrip(b"="), form[3].encode()) else None

def PorticoTenant(get_response):
    from django.conf import settings
    from django.http import HttpResponse
    keys = read_keys(settings.PORTICO_KEYS)
    def middleware(request):  # gunicorn and mod_wsgi have the target as it was sent; ASGI has its parts
        target = request.META.get("RAW_URI") or request.META.get("REQUEST_URI")
        targets = [target]
        if target is None:
            path, query = request.scope["raw_path"].decode("latin-1"), request.scope["query_string"].decode("latin-1")
            targets = [f"{path}?{query}"] if query else [path, f"{path}?"]
        tenant = next(filter(None, (verify(keys, request.META, target) for target in targets)), None)
        known = getattr(request, "tenant", None)
        if tenant is None or (known and urllib.parse.quote(known.schema_name, safe="~") != tenant):
            return HttpResponse(status=421)
        return get_response(request)
    return middleware
