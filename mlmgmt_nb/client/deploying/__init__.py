"""Deployments: from models and files to a running service, and back if that fails."""
