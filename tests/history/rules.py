"""The rules that a history must keep, each with what it says; a finding names the rule that was broken, and where."""

from typing import NamedTuple

RULES = {
    "lost": "A record that was confirmed is in the topic where Kafka said, as it was sent, and the index comes to cover it.",
    "never-sent": "What is in the topic, in an answer or told to a watch was sent.",
    "twice": "A record that was sent once is in the topic once, and an image is in an answer once.",
    "rejected": "Rejected are exactly the records that are bad, each with its reason, and they are counted.",
    "deleted": "An image whose deletion is covered is not found.",
    "stale": "A match is the record that its id means at the coverage, and never one that was replaced.",
    "ahead": "Coverage ends before what was not sent yet, and no match comes from beyond it.",
    "backwards": "For one client, neither offsets nor generations go back.",
    "too-early": "An answer covers what `min_offsets`, `as_of` and `generation` ask for; a refusal says so truly.",
    "generation": "A generation of an index is the same in every answer.",
    "content": "Answers with the same offsets have the same content digest, whatever folder they come from.",
    "other-log": "An answer is of the collection that was asked.",
    "count": "`count` and `matched` are the numbers of images that the coverage names, and of those the filter holds for.",
    "filter": "A match is an image that the filter holds for.",
    "distance": "A match's distance is the Euclidean one in float64, and not beyond `max_distance`.",
    "ties": "Matches are ordered by distance, those of equal distance by id.",
    "missing": "Nothing is missing: the matches are those of brute force over everything that the coverage names.",
    "metadata": "A match has the metadata and the time of its record.",
    "original": "The original of a match is what was sent, as long as nothing replaced or deleted it.",
    "refused": "A question that can be answered is answered, or put off with 412, 429 or 503.",
    "watch-start": "A watch begins between the last record before it was created and the first one after.",
    "told-wrongly": "A watch is told only of what lies within its distance and filter, from its start on.",
    "told-twice": "A watch is told of a record once; a repeat, after a fault, has the same id.",
    "not-told": "A watch is told of every record that matches it.",
}


class Finding(NamedTuple):
    """A rule that was broken, where, and how."""

    rule: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.what}"
