"""Tests of the room that judges and shows."""
