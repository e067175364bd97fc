"""Deploy reward functions to Lambda and destroy them."""
