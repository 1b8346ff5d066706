"""Publish images to lookalike and find similar ones, over HTTP and with the standard library alone.

from lookalike_client import Client
answer = Client("http://127.0.0.1:8000").search_file(Path("digit.png"), k=3)
for match in answer.matches:
    print(match.id, match.distance, match.metadata)
"""

from lookalike_client.answers import Answer, Answers, Covered, Edit, Effort, Neighbour, Outline, Sort, Written
from lookalike_client.client import Client
from lookalike_client.problems import ApiError
from lookalike_client.watches import Matched, Watched

__all__ = [
    "Answer",
    "Answers",
    "ApiError",
    "Client",
    "Covered",
    "Edit",
    "Effort",
    "Matched",
    "Neighbour",
    "Outline",
    "Sort",
    "Watched",
    "Written",
]
