"""The paths of the bare domain, which is no tenant's."""

from django.urls import path

from saas.views import env, health

urlpatterns = [path("env/", env), path("healthz/", health)]
