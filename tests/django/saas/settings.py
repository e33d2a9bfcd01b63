"""A small SaaS with django-tenants and allauth, as a team writes it, behind Portico.

What differs from machine to machine comes from the environment:

SAAS_BASE         the base domain; tenants live at TENANT.SAAS_BASE
SAAS_DB_HOST      the folder of PostgreSQL's Unix socket, or a host
SAAS_DB_PORT      its port
SAAS_DB_NAME      the database (default: saas)
SAAS_DB_USER      the role (default: postgres)
SAAS_MAIL_DIR     where e-mails are written, one file each
SAAS_OLD_NAME     1: the middleware by the name that older tutorials have
SAAS_COOKIE_BASE  1: the mistake of many tutorials, a session cookie for all tenants
SAAS_PORTICO_KEYS the file of `tenants.signature.keys`: only requests that the edge has signed get in
"""

import os

BASE = os.environ.get("SAAS_BASE", "example.test")
SECRET_KEY = "for tests only, on loopback only: nothing here is worth a secret"
DEBUG = False

# What the edge makes unnecessary: it refuses foreign hosts, normalises Host and overwrites the client's
# X-Forwarded-*, so that Django may believe them. CSRF_TRUSTED_ORIGINS is not needed, USE_X_FORWARDED_HOST neither.
ALLOWED_HOSTS = ["." + BASE]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
# One hop: the edge.
ALLAUTH_TRUSTED_PROXY_COUNT = 1
if os.environ.get("SAAS_COOKIE_BASE"):
    SESSION_COOKIE_DOMAIN = "." + BASE

# Users and sessions are in each tenant's schema: whoever is known to one tenant is unknown to the next.
SHARED_APPS = [
    "django_tenants",
    "customers",
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
]
TENANT_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "notes",
]
INSTALLED_APPS = SHARED_APPS + [app for app in TENANT_APPS if app not in SHARED_APPS]
TENANT_MODEL = "customers.Client"
TENANT_DOMAIN_MODEL = "customers.Domain"
DATABASE_ROUTERS = ["django_tenants.routers.TenantSyncRouter"]
DATABASES = {
    "default": {
        "ENGINE": "django_tenants.postgresql_backend",
        "HOST": os.environ.get("SAAS_DB_HOST", "/run/postgresql"),
        "PORT": os.environ.get("SAAS_DB_PORT", "5432"),
        "NAME": os.environ.get("SAAS_DB_NAME", "saas"),
        "USER": os.environ.get("SAAS_DB_USER", "postgres"),
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MIDDLEWARE = [
    "django_tenants.middleware.main.TenantMainMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
if os.environ.get("SAAS_OLD_NAME"):
    MIDDLEWARE[0] = "django_tenants.middleware.TenantMiddleware"
if os.environ.get("SAAS_PORTICO_KEYS"):
    PORTICO_KEYS = os.environ["SAAS_PORTICO_KEYS"]
    MIDDLEWARE.insert(1, "portico_tenant.PorticoTenant")
ROOT_URLCONF = "saas.urls"
PUBLIC_SCHEMA_URLCONF = "saas.urls_public"
WSGI_APPLICATION = "saas.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
# Counters of bad logins: allauth keeps them here, apart by tenant.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "KEY_FUNCTION": "django_tenants.cache.make_key",
    }
}

AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
LOGIN_REDIRECT_URL = "/env/"
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = os.environ.get("SAAS_MAIL_DIR", "/tmp/saas-mail")
DEFAULT_FROM_EMAIL = "robot@" + BASE
# Quick, and good for nothing but tests: a real site keeps Django's default.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
}
