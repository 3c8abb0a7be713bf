"""Monitoring of services: their condition, logs, metrics and collected data."""
