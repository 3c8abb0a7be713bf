"""Scoring tests: send cases to a service, compare the answers, measure under load, report."""
