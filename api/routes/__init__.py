"""The routes, and how each reads what it was asked."""
