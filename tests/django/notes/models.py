"""What tenants must never see of each other."""

from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=200)
