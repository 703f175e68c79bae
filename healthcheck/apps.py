from django.apps import AppConfig


class HealthcheckConfig(AppConfig):
    name = "healthcheck"

    def ready(self) -> None:
        from healthcheck import checks  # noqa: F401  # registers them
