"""The forms of the pages. What they send is judged by the door, as what the API sends is."""

from django import forms
from django.utils.translation import gettext_lazy as _

from roadmap.models import Roadmap, Token, storable


class BriefForm(forms.ModelForm):
    """What somebody wants to learn, and what they have for it."""

    class Meta:
        model = Roadmap
        fields = ["goal", "level", "hours_per_week", "weeks", "language"]
        widgets = {"goal": forms.Textarea({"rows": 3})}
        labels = {
            "goal": _("What do you want to learn?"),
            "level": _("What do you know already?"),
            "hours_per_week": _("Hours a week"),
            "weeks": _("Weeks"),
            "language": _("Language of the lessons"),
        }
        help_texts = {
            "goal": _("In your own words: what you want to be able to do in the end."),
            "level": _("Such as: nothing yet, or: some SQL, no administration."),
            "language": _("Empty: English."),
        }


class ReviewForm(forms.Form):
    """The owner's word on an outline."""

    decision = forms.CharField(widget=forms.HiddenInput)
    feedback = forms.CharField(
        label=_("What should change?"),
        required=False,
        widget=forms.Textarea({"rows": 4}),
        help_text=_("Such as: less theory, add backups, start with what I can use at work."),
    )


class TokenForm(forms.ModelForm):
    """A new token's name."""

    class Meta:
        model = Token
        fields = ["name"]
        labels = {"name": _("What is it for?")}
        help_texts = {"name": _("So that you know it again when you want to revoke it.")}

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        storable(name)
        return name
