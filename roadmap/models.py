"""The roadmaps' tables."""
