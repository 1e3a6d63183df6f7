"""Bundled networks and their data, and the script that makes them (see README.md here)."""
