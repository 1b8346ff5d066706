"""Everything that can go wrong, as one tree.

LookalikeError
├── ConfigurationError    a setting is wrong: the process must not start
├── RejectedError         this message or query is at fault: recorded with a stable reason, never retried
├── DependencyError       something we rely on failed: back off and retry for ever
├── IndexDamagedError     files on disk are not what their manifest says: stay on the last good generation
└── TopicReplacedError    the topic was deleted and created again while it was being read

Any other exception is a bug and ends the process.
"""


class LookalikeError(Exception):
    """Base of all errors that this project raises on purpose."""


class ConfigurationError(LookalikeError):
    """A setting is missing, malformed or contradicts what is running."""


class RejectedError(LookalikeError):
    """The message or query itself is at fault.

    Args:
        reason: stable code such as ``truncated``, fit for a header, a metric label and a test.
        detail: one sentence for people, with the values.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class DependencyError(LookalikeError):
    """Kafka, Cassandra or a child process did not do what was asked; asking again later may work.

    Args:
        dependency: ``kafka``, ``cassandra``, or the child: ``decoder``, ``explainer`` or ``trial``.
        detail: what was being done and what came back.
    """

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency}: {detail}")
        self.dependency = dependency
        self.detail = detail


class IndexDamagedError(LookalikeError):
    """A generation's files are missing, cut short or altered, or belong to another encoder."""


class TopicReplacedError(LookalikeError):
    """The topic that was being read no longer exists under its id."""
