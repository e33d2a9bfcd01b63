"""Tenants as in the tutorial of django-tenant-schemas: the host is a column of theirs (`domain_url`)."""

from django.db import models
from tenant_schemas.models import TenantMixin


class Client(TenantMixin):
    name = models.CharField(max_length=100)
    paid_until = models.DateField()
    on_trial = models.BooleanField()
    created_on = models.DateField(auto_now_add=True)

    auto_create_schema = True
    auto_drop_schema = True
