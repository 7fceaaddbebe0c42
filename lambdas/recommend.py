"""One user's list from the live table."""

from typing import Any

from lambdas import _cloud as cloud
from topx.errors import InputRejected, ListsNotReady, ListsRejected


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """{"user", "dataset"?} -> {"user", "run_id", "dataset", "items": [{"item_id", "score", "reason"}]}.

    An unknown user gets the list `popular`. Raises InputRejected for a call that cannot be answered and
    ListsNotReady before the first publication.
    """
    user, known = event.get("user"), cloud.datasets()
    dataset = event.get("dataset", known[0])
    if not isinstance(user, str) or not user:
        raise InputRejected(f"user is {user!r}; give the user's id as a text that is not empty")
    if dataset not in known:
        raise InputRejected(f"dataset is {dataset!r}; this stage has {', '.join(known)}")
    live = cloud.live(dataset)
    if live is None:
        raise ListsNotReady(f"{dataset} has no published lists yet; wait for the end of its first run")
    found = cloud.item(live.table, {"id": f"user:{user}"}) or cloud.item(live.table, {"id": "popular"})
    if found is None:
        raise ListsRejected(f"table {live.table} has no item `popular`; roll back to another run")
    items = [{**one, "score": float(one["score"])} for one in found["items"]]
    return {"user": user, "run_id": live.run_id, "dataset": dataset, "items": items}
