"""Recommend: one user's list from the live table."""

import json
from typing import Any

import pytest

from lambdas import recommend
from tests.doors.world import World, event
from topx.errors import InputRejected, ListsNotReady

RUN = "20261124-100000-42b83240"


@pytest.fixture
def published(aws: World) -> World:
    aws.table("topx-dev-ratings-run", "id")
    for key, items in {
        "user:u1": [("i1", "1.5"), ("i2", "-0.25")],
        "user:empty": [],
        "popular": [("i3", "12")],
    }.items():
        entries = [
            {"M": {"item_id": {"S": item}, "score": {"N": score}, "reason": {"S": "factors"}}}
            for item, score in items
        ]
        aws.dynamodb.put_item(
            TableName="topx-dev-ratings-run", Item={"id": {"S": key}, "items": {"L": entries}}
        )
    live = {
        "run_id": RUN,
        "table": "topx-dev-ratings-run",
        "content": "c",
        "sequence": 3,
        "published_at": "then",
    }
    aws.set_ledger(live=live)
    return aws


def run(**given: Any) -> dict[str, Any]:
    return recommend.handler(given or event("recommend"), None)


def test_a_known_user_gets_the_own_list_as_plain_json(published: World) -> None:
    answer = run()
    assert json.loads(json.dumps(answer)) == {
        "user": "u1",
        "run_id": RUN,
        "dataset": "ratings",
        "items": [
            {"item_id": "i1", "score": 1.5, "reason": "factors"},
            {"item_id": "i2", "score": -0.25, "reason": "factors"},
        ],
    }


def test_an_unknown_user_gets_the_popular_list(published: World) -> None:
    assert [one["item_id"] for one in run(user="nobody")["items"]] == ["i3"]


def test_a_user_who_has_seen_all_gets_an_empty_list(published: World) -> None:
    assert run(user="empty")["items"] == []


def test_a_user_called_popular_is_not_the_popular_list(published: World) -> None:
    published.dynamodb.put_item(
        TableName="topx-dev-ratings-run", Item={"id": {"S": "user:popular"}, "items": {"L": []}}
    )
    assert run(user="popular")["items"] == []


@pytest.mark.parametrize("user", [None, "", 42, ["u1"]])
def test_a_call_without_a_user_says_so(published: World, user: Any) -> None:
    with pytest.raises(InputRejected, match="give the user's id as a text"):
        run(user=user)


def test_an_unknown_dataset_is_refused(published: World) -> None:
    with pytest.raises(InputRejected, match="this stage has ratings, books"):
        run(user="u1", dataset="films")


def test_before_the_first_publication_it_says_what_is_missing(published: World) -> None:
    with pytest.raises(ListsNotReady, match="books has no published lists yet"):
        run(user="u1", dataset="books")
