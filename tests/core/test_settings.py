"""Settings: one model, checked once, every problem at once."""

import dataclasses

import boto3
import pytest

from topx.errors import SettingsRejected
from topx.fields import as_json, merged, rows
from topx.settings import JOBS, Deploy, Run, instance_types, load_deploy, load_run


def test_nothing_given_is_complete() -> None:
    assert load_deploy({}) == Deploy()
    assert load_run({}) == Run()


def test_json_and_back_is_the_same() -> None:
    deploy = load_deploy({"stage": "prod", "run": {"rank": {"x": 20}, "data": {"columns": {"user": 3}}}})
    assert deploy.run.rank.x == 20
    assert load_deploy(as_json(deploy)) == deploy


def test_every_problem_is_reported_at_once() -> None:
    given = {
        "stge": "prod",
        "datasets": ["My Data"],
        "run": {
            "rank": {"x": 0, "lenght": 3},
            "train_factors": {"epochs": 1.5, "factors_lr": True},
            "encode": {"recipe": "clasic", "split": "time"},
        },
        "instance_types": {"train_factors": ["ml.t2.micro"], "repackage": [], "train": ["ml.m5.large"]},
    }
    with pytest.raises(SettingsRejected) as caught:
        load_deploy(given)
    message = str(caught.value)
    for part in (
        "stge does not exist; did you mean stage?",
        'datasets is ["My Data"]; "My Data" does not fit',
        "run.rank.x is 0; choose 1 to 1,000",
        "run.rank.lenght does not exist",
        "run.train_factors.epochs is 1.5; give a whole number",
        "run.train_factors.factors_lr is true; give a number",
        'run.encode.recipe is "clasic"; choose one of "default", "classic", "regression"',
        "run.encode.split is 'time' but time_cut is unset",
        "instance_types.train_factors names ml.t2.micro, which is not valid for a training job",
        "instance_types.repackage is empty",
        "instance_types.train is unknown",
    ):
        assert part in message


@pytest.mark.parametrize("given", [{"rank": 3}, {"rank": None}, {"rank": []}])
def test_a_section_that_is_no_object_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(SettingsRejected, match=r"rank is .*; give an object"):
        load_run(given)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_must_be_finite(value: float) -> None:
    with pytest.raises(SettingsRejected, match="factors_lr"):
        load_run({"train_factors": {"factors_lr": value}})


def test_merging_goes_key_by_key() -> None:
    assert merged({"rank": {"x": 10}, "data": {"header": True}}, {"rank": {"x": 5}}) == {
        "rank": {"x": 5},
        "data": {"header": True},
    }


def test_a_type_outside_the_stage_table_is_refused() -> None:
    deploy = load_deploy({})
    run = load_run({"match_users": {"instance_type": "ml.g5.48xlarge"}})
    allowed = ", ".join(deploy.instance_types["match_users"])
    assert list(deploy.run_problems(run)) == [
        f"match_users.instance_type is ml.g5.48xlarge; this stage allows {allowed}"
    ]


def test_the_first_type_of_the_table_is_the_default() -> None:
    deploy = load_deploy({})
    resolved = deploy.resolved(load_run({"repackage": {"instance_type": "ml.m5.4xlarge"}}))
    assert {job: getattr(resolved, job).instance_type for job in JOBS} == {
        "train_factors": "ml.m5.xlarge",
        "repackage": "ml.m5.4xlarge",
        "train_neighbors": "ml.m5.large",
        "match_users": "ml.m5.large",
    }


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("training job", "TrainingInstanceType"),
        ("processing job", "ProcessingInstanceType"),
        ("transform job", "TransformInstanceType"),
    ],
)
def test_the_table_of_instance_types_is_the_pinned_api_model(kind: str, shape: str) -> None:
    model = boto3.client("sagemaker", region_name="us-east-1").meta.service_model
    assert instance_types(kind) == frozenset(model.shape_for(shape).enum)


def test_every_setting_has_a_meaning_and_a_default_in_its_range() -> None:
    listed = list(rows(Deploy))
    assert all(meaning for _, _, meaning in listed)
    assert len({name for name, _, _ in listed}) == len(listed)
    for cls in (Deploy, *(type(getattr(Run(), section.name)) for section in dataclasses.fields(Run))):
        load_deploy({}) if cls is Deploy else cls()
