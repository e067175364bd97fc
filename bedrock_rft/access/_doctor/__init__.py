"""Check whether the identity, the endpoint and the reward are ready for a job."""
