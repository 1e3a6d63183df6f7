"""Files: read once, written in one step, and told apart from damaged ones."""
