"""Translate graders that were written for OpenAI."""
