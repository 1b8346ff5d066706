"""Where the API may listen, and how: checked before it does."""

import ipaddress
import ssl
from pathlib import Path
from typing import TypedDict

from api.access.key_file import KeyFile
from contract.errors import ConfigurationError
from contract.settings import Settings


class TlsOptions(TypedDict, total=False):
    """Uvicorn's options for TLS."""

    ssl_certfile: Path
    ssl_keyfile: Path


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach an API that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_listening(settings: Settings) -> None:
    """Refuse to listen where strangers come by, as long as there is no key.

    Raises:
        ConfigurationError: there is none, or the keys cannot be read.
    """
    keyring = KeyFile(settings.keys_file).current()
    if not is_loopback(settings.api_host) and not keyring.are_needed:
        raise ConfigurationError(
            f"LOOKALIKE_API_HOST={settings.api_host}: others than this machine would reach the API, and there is no key in "
            f"LOOKALIKE_KEYS_FILE={settings.keys_file}, so anybody could read and delete everything. Make one first: "
            "`lookalike keys create me --scopes search,publish,admin`. Or listen on 127.0.0.1."
        )


def tls_options(settings: Settings) -> TlsOptions:
    """What makes Uvicorn speak TLS; nothing where the settings name no certificate.

    Raises:
        ConfigurationError: certificate and key cannot be used together.
    """
    certificate, key = settings.api_tls_certificate_file, settings.api_tls_key_file
    if certificate is None and key is None:
        return {}
    if certificate is None or key is None:
        missing = "LOOKALIKE_API_TLS_CERTIFICATE_FILE" if certificate is None else "LOOKALIKE_API_TLS_KEY_FILE"
        raise ConfigurationError(f"{missing} is not set. TLS needs both a certificate and its key.")
    try:
        # A password would be asked for on the terminal otherwise.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"LOOKALIKE_API_TLS_CERTIFICATE_FILE={certificate} and LOOKALIKE_API_TLS_KEY_FILE={key} cannot be used: {error}. "
            "Name a certificate with its chain and its key, both as PEM, the key without a password."
        ) from error
    return {"ssl_certfile": certificate, "ssl_keyfile": key}
