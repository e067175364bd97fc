"""Shared building blocks: errors, text, redaction, findings, logging, warnings."""
