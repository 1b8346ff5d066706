"""The Java and the Maven that the servers need, or a message that says what to install."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from contract.errors import ConfigurationError

JAVA_VERSION = 17

_INSTALL_JAVA = (
    f"Install OpenJDK {JAVA_VERSION} (Debian, Ubuntu: apt install openjdk-{JAVA_VERSION}-jre-headless; "
    f"macOS: brew install openjdk@{JAVA_VERSION}) and set JAVA_HOME to its folder."
)
_INSTALL_MAVEN = "Install it (Debian, Ubuntu: apt install maven; macOS: brew install maven) and run this again."


def find_java() -> str:
    """Path of a Java 17: Cassandra 5.0 runs on no later one, Kafka 4 on no earlier one.

    Raises:
        ConfigurationError: there is none, or it is of another version.
    """
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=str(Path(home, "bin"))) if home else shutil.which("java")
    if java is None:
        place = (
            f"JAVA_HOME={home} holds no bin/java" if home else "JAVA_HOME is not set and there is no `java` on the PATH"
        )
        raise ConfigurationError(f"Kafka and Cassandra need Java {JAVA_VERSION}, but {place}. {_INSTALL_JAVA}")
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr)
    if found is None or int(found[1]) != JAVA_VERSION:
        version = f"Java {found[1]}" if found else "no working Java"
        raise ConfigurationError(
            f"Kafka and Cassandra need Java {JAVA_VERSION}, but {java} is {version}. {_INSTALL_JAVA}"
        )
    return java


def find_maven() -> str:
    """Path of Maven, which fetches the servers' jars once.

    Raises:
        ConfigurationError: there is none.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise ConfigurationError(
            f"Maven fetches Kafka and Cassandra, but there is no `mvn` on the PATH. {_INSTALL_MAVEN}"
        )
    return maven
