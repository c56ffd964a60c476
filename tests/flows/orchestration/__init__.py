"""Tests of the flows that Prefect conducts."""
