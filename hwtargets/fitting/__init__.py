"""What mapping steps fit a network on, and how they round its weights by it."""
