"""The paths that Django answers; `roadmap.asgi` answers the others before they come here."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import path

from roadmap import account_pages, api, views
from roadmap.account_pages import limited

urlpatterns = [
    path("roadmaps/", views.mine, name="roadmaps"),
    path("roadmaps/new/", views.new, name="new_roadmap"),
    path("roadmaps/<uuid:roadmap_id>/", views.one, name="roadmap"),
    path("roadmaps/<uuid:roadmap_id>/review/", views.review, name="review_roadmap"),
    path("roadmaps/<uuid:roadmap_id>/cancel/", views.cancel, name="cancel_roadmap"),
    path("roadmaps/<uuid:roadmap_id>/retry/", views.retry, name="retry_roadmap"),
    path("roadmaps/<uuid:roadmap_id>/delete/", views.delete, name="delete_roadmap"),
    path("roadmaps/<uuid:roadmap_id>/export.md", views.export, name="export_roadmap"),
    path("roadmaps/<uuid:roadmap_id>/<int:number>/", views.lesson, name="lesson"),
    path("roadmaps/<uuid:roadmap_id>/<int:number>/learned/", views.learned, name="learned"),
    #
    path("api/v1/roadmaps", api.roadmaps, name="api_roadmaps"),
    path("api/v1/roadmaps/<uuid:roadmap_id>", api.roadmap, name="api_roadmap"),
    path("api/v1/roadmaps/<uuid:roadmap_id>/review", api.review, name="api_review"),
    path("api/v1/roadmaps/<uuid:roadmap_id>/cancel", api.cancel, name="api_cancel"),
    path("api/v1/roadmaps/<uuid:roadmap_id>/retry", api.retry, name="api_retry"),
    path("api/v1/roadmaps/<uuid:roadmap_id>/export.md", api.export, name="api_export"),
    path("api/v1/openapi.json", api.description, name="api_description"),
    #
    path("accounts/", account_pages.account, name="account"),
    path("accounts/login/", limited(account_pages.SignIn.as_view()), name="login"),
    path("accounts/logout/", LogoutView.as_view(next_page="/"), name="logout"),
    path("accounts/tokens/<int:token_id>/revoke/", account_pages.revoke, name="revoke_token"),
    path("accounts/password/", limited(account_pages.PasswordChange.as_view()), name="password_change"),
    path("accounts/password/reset/", limited(account_pages.PasswordReset.as_view()), name="password_reset"),
    path(
        "accounts/password/reset/sent/", account_pages.PasswordResetSent.as_view(), name="password_reset_done"
    ),
    path(
        "accounts/password/reset/<uidb64>/<token>/",
        account_pages.PasswordResetConfirm.as_view(),
        name="password_reset_confirm",
    ),
    #
    path("admin/login/", limited(admin.site.login)),  # in place of the one in the next line
    path("admin/", admin.site.urls),
]

handler400 = "roadmap.errors.bad_request"
handler403 = "roadmap.errors.forbidden"
handler404 = "roadmap.errors.not_found"
handler500 = "roadmap.errors.server_error"
