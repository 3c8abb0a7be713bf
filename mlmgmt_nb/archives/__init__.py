"""Extraction of untrusted archives: inside one folder, with limits on members, bytes and ratio."""
