"""The same site with django-tenant-schemas, the package that django-tenants was made from: one host in the tenant's row."""

from saas.settings import *  # noqa: F403

SHARED_APPS = ["tenant_schemas", "schemas.customers", *SHARED_APPS[2:]]  # noqa: F405
INSTALLED_APPS = SHARED_APPS + [app for app in TENANT_APPS if app not in SHARED_APPS]  # noqa: F405
DATABASE_ROUTERS = ["tenant_schemas.routers.TenantSyncRouter"]
DATABASES["default"]["ENGINE"] = "tenant_schemas.postgresql_backend"  # noqa: F405
MIDDLEWARE = ["tenant_schemas.middleware.TenantMiddleware", *MIDDLEWARE[1:]]  # noqa: F405
CACHES["default"]["KEY_FUNCTION"] = "tenant_schemas.cache.make_key"  # noqa: F405
