"""The pages of bad moments need nothing: no context, no request, no database."""

import pytest
from django.template.loader import render_to_string
from django.utils import translation


@pytest.mark.parametrize("status", [400, 403, 404, 500, 503])
@pytest.mark.parametrize(("language", "back"), [("en", "Go to the first page"), ("de", "Zur Startseite")])
def test_an_error_page_renders_from_nothing(status: int, language: str, back: str) -> None:
    with translation.override(language):
        page = render_to_string(f"{status}.html")
    assert page.count("<h1>") == 1
    assert f'<html lang="{language}">' in page
    assert back in page
