"""Files in the state folder: artifacts, logs, collected data."""
