"""Every exception of ours, as one tree.

Exception
├── LookalikeError            something went wrong that a person is told of in one sentence
│   ├── ConfigurationError    a setting is wrong: the process must not start
│   │   └── CollectionExistsError  a collection cannot be created: there is one of this name
│   ├── UnknownCollectionError  there is no collection of this name
│   ├── RejectedError         this message or query is at fault: recorded with a stable reason, never retried
│   ├── DependencyError       something we rely on failed: back off and retry for ever
│   │   └── NewerVersionError  a newer version wrote it: it waits until this program is upgraded
│   ├── IndexDamagedError     files on disk are not what their manifest says: stay on the last good generation
│   ├── HistoryGoneError      an earlier time is asked for whose records are not kept any more
│   ├── TableTakenError       another indexer writes the table of embeddings by now
│   ├── TopicReplacedError    the topic was deleted and created again while it was being read
│   ├── BackupError           a backup cannot be written, or cannot be restored as it is
│   ├── AddressError          an address that a stranger named cannot be asked, or did not answer as it should
│   └── StartError            a program that `stack` started ended, or was not ready in time
├── StoppedError              the process was told to end while it waited for a dependency
├── ProcessEndedError         a confined child ended on what it was asked: it is asked again, one image at a time
├── ProblemError              the API answers a request with a problem
└── ApiError                  the API refused its client, or could not be reached

Those that many modules raise are defined here, the others where they are raised. Any other exception is a bug and ends
the process.
"""


class LookalikeError(Exception):
    """Base of all errors that this project raises on purpose."""


class ConfigurationError(LookalikeError):
    """A setting is missing, malformed or contradicts what is running."""


class CollectionExistsError(ConfigurationError):
    """There is a collection of this name already."""


class UnknownCollectionError(LookalikeError):
    """There is no collection of this name, or it is being dropped."""


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
        dependency: ``kafka``, ``cassandra``, the child: ``decoder``, ``explainer`` or ``trial``, or ``indexer``.
        detail: what was being done and what came back.
    """

    def __init__(self, dependency: str, detail: str) -> None:
        super().__init__(f"{dependency}: {detail}")
        self.dependency = dependency
        self.detail = detail


class NewerVersionError(DependencyError):
    """What was read is of a newer version than this program knows. It is never passed over: it waits for a newer program.

    Args:
        what: was read, to begin a sentence's middle with.
        version: of it.
        known: the newest that this program knows.
    """

    def __init__(self, dependency: str, what: str, version: int, known: int) -> None:
        super().__init__(
            dependency,
            f"{what} is of version {version}, this program knows up to {known}. Nothing behind it is read until this program is "
            "upgraded; see «Upgrade» in docs/operations.md.",
        )


class IndexDamagedError(LookalikeError):
    """A generation's files are missing, cut short or altered, or belong to another encoder."""


class TopicReplacedError(LookalikeError):
    """The topic that was being read no longer exists under its id."""
