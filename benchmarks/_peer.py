"""Print the versions of Python and of the OpenAI SDK as JSON."""

from __future__ import annotations

import json
import platform


def main() -> None:
    """Print the versions as JSON."""
    import openai

    bedrock = hasattr(openai, "BedrockOpenAI")
    print(json.dumps({"openai": openai.__version__, "bedrock": bedrock, "python": platform.python_version()}))


if __name__ == "__main__":
    main()
