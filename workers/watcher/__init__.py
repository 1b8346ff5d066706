"""The watcher: tells which records match a watch, and sends that to webhooks."""
