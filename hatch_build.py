"""Write the address of the repository into the metadata, if the environment of the build has it.

`BEDROCK_RFT_REPOSITORY`, such as `https://github.com/OWNER/NAME`, gives the project URLs, and makes the links of
README.md absolute at the tag of the version. Without it there are no URLs, and each link becomes text with its path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PATHS = {
    "Source": "",
    "Issues": "/issues",
    "Documentation": "/blob/v{}/docs/index.md",
    "Changelog": "/blob/v{}/CHANGELOG.md",
}


class RepositoryHook(MetadataHookInterface):
    """Set `urls` and `readme`."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set both for a source tree; for a source distribution hatchling has read them from its PKG-INFO."""
        metadata.setdefault("urls", {})
        if "readme" in metadata:
            return
        repository = os.environ.get("BEDROCK_RFT_REPOSITORY", "").rstrip("/")
        version = metadata["version"]

        def link(match: re.Match[str]) -> str:
            image, text, path = match.groups()
            if repository:
                return f"{image}[{text}]({repository}/{'raw' if image else 'blob'}/v{version}/{path})"
            return text if text == path else f"{text} (`{path}`)"

        readme = Path(self.root, "README.md").read_text(encoding="utf-8")
        text = re.sub(r"(!?)\[([^]]+)]\((?!\w+:)([^)\s]+)\)", link, readme)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
        if repository:
            metadata["urls"] = {name: f"{repository}{path.format(version)}" for name, path in _PATHS.items()}
