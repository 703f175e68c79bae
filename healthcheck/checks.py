"""System checks, registered when the application is ready."""
