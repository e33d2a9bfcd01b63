"""What the app has understood of a request."""

from allauth.core.internal.httpkit import get_client_ip
from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def env(request):
    """Tenant, user, client and URL as Django sees them, and every header as it came."""
    return JsonResponse(
        {
            "tenant": request.tenant.schema_name,
            "user": request.user.email if request.user.is_authenticated else None,
            "url": request.build_absolute_uri(),
            "secure": request.is_secure(),
            "script_name": request.META.get("SCRIPT_NAME", ""),
            "path": request.path_info,
            "client": get_client_ip(request),
            "headers": {key: value for key, value in request.META.items() if key.startswith("HTTP_")},
        }
    )


def health(request):
    """For the edge's probes, which ask for a host of the site as everybody does."""
    return HttpResponse(f"fine: {request.tenant.schema_name}\n", content_type="text/plain")
