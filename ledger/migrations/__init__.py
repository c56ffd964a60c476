"""Alembic's place: one file per change of the tables, numbered and named by what it does."""
