"""What every process agrees on: settings, messages, errors, telemetry. Imports nothing of ours."""
