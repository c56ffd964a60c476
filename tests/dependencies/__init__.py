"""The room that judges what programs want to import."""
