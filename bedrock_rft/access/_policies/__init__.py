"""IAM policies for RFT."""
