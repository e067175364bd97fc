"""`python -m bedrock_rft` is the command `bedrock-rft`."""

from __future__ import annotations

from bedrock_rft._cli import main

if __name__ == "__main__":
    main()
