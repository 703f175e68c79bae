"""No tables: only what the admin needs to list a page and to give the permission to see it."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class Connection(models.Model):  # noqa: DJ008  # there is never one to print
    """The connections on the server; the row of this name is never stored."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        verbose_name = _("connection")
        verbose_name_plural = _("connections")
