"""Deploy and destroy reward Lambdas."""
