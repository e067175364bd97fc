"""Typed reinforcement fine-tuning of open-weight models on Amazon Bedrock."""
