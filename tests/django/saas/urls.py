"""The paths of a tenant's site."""

from django.urls import include, path

from notes.views import notes
from saas.views import env, health

urlpatterns = [
    path("env/", env),
    path("healthz/", health),
    path("notes/", notes),
    path("accounts/", include("allauth.urls")),
]
