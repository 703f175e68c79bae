"""The waitlist: one row for each address."""

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class Entry(models.Model):
    """A person who joined. Rows are written by `waitlist.joins`, which never updates one that is there."""

    email = models.CharField(_("e-mail address"), max_length=254, help_text=_("As it was typed."))
    normalised = models.CharField(
        _("normalised address"),
        max_length=254,
        unique=True,
        editable=False,
        help_text=_("What two spellings of one address have in common."),
    )
    source = models.CharField(_("source"), max_length=64, blank=True)
    language = models.CharField(_("language"), max_length=16, blank=True)
    joined_at = models.DateTimeField(_("joined"), db_default=Now(), editable=False)
    invited_at = models.DateTimeField(_("invited"), null=True, blank=True)

    class Meta:
        verbose_name = _("entry")
        verbose_name_plural = _("entries")
        ordering = ["-joined_at", "-id"]
        indexes = [
            models.Index(fields=["-joined_at", "-id"], name="entry_joined"),
            models.Index(fields=["source"], name="entry_source"),
        ]

    def __str__(self) -> str:
        return self.email
