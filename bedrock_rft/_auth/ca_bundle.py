"""Certificate authorities in a folder, for HTTP libraries that read a file only."""

from __future__ import annotations

import atexit
import contextlib
import functools
import re
import ssl
import tempfile
from pathlib import Path

from bedrock_rft.errors import ConfigurationError

_CERTIFICATE = re.compile(
    r"-----BEGIN (?:TRUSTED )?CERTIFICATE-----.+?-----END (?:TRUSTED )?CERTIFICATE-----", re.DOTALL
)


def read_ca_folder(folder: Path) -> str:
    """Return all valid PEM certificates in the files of a folder, or raise `ConfigurationError` if there are none."""
    # All files are read, because OpenSSL itself finds only those with the names that `openssl rehash` gives.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    certificates = dict[str, None]()
    for file in sorted(folder.iterdir()):
        text = ""
        with contextlib.suppress(OSError):  # a folder, or a link to nothing
            text = file.read_text(encoding="latin-1")
        certificates.update(dict.fromkeys(filter(functools.partial(_is_valid, context), _CERTIFICATE.findall(text))))
    if not certificates:
        raise ConfigurationError(
            f"The CA folder {folder} contains no PEM certificates that can be read. Check ca_bundle= or AWS_CA_BUNDLE."
        )
    return "\n".join(certificates) + "\n"


def _is_valid(context: ssl.SSLContext, certificate: str) -> bool:
    try:
        context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        return False
    return True


@functools.cache
def ca_file(ca_bundle: str) -> str:
    """Return the path of a PEM file with the authorities. For a folder, the file is deleted when the process ends."""
    path = Path(ca_bundle)
    if not path.is_dir():
        return ca_bundle
    with tempfile.NamedTemporaryFile(
        "w", prefix="bedrock-rft-ca-", suffix=".pem", delete=False, encoding="ascii"
    ) as file:
        file.write(read_ca_folder(path))
    atexit.register(Path(file.name).unlink, missing_ok=True)
    return file.name
