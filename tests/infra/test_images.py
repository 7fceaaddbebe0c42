"""Where the built-in algorithms come from: a table, looked up at synthesis or at deployment."""

import re
from pathlib import Path
from typing import Any

import pytest
from drawn import definition, plain, synthesize, template

from infra.images import ACCOUNTS, account
from topx.errors import SettingsRejected


def test_the_table_holds_one_account_per_region() -> None:
    assert all(re.fullmatch(r"\d{12}", number) for number in ACCOUNTS.values())
    assert len(set(ACCOUNTS.values())) == len(ACCOUNTS) == 33
    assert ACCOUNTS["us-east-1"] == "382416733822"
    assert ACCOUNTS["eu-west-1"] == "438346466558"
    assert ACCOUNTS["cn-north-1"] == "390948362332"


@pytest.mark.parametrize("region", ["ap-east-2", "ap-southeast-5", "ap-southeast-7", "mx-central-1"])
def test_a_region_without_images_is_refused_with_those_that_have_them(region: str) -> None:
    with pytest.raises(SettingsRejected, match=rf"region is {region}, .* deploy to one of af-south-1, "):
        account(region)


def test_an_open_region_is_looked_up_and_checked_before_anything_is_made(pipeline: dict[str, Any]) -> None:
    table = {region: row["Account"] for region, row in pipeline["Mappings"]["Algorithms"].items()}
    assert table == ACCOUNTS
    (assertion,) = pipeline["Rules"]["RegionHasAlgorithms"]["Assertions"]
    assert assertion["Assert"] == {"Fn::Contains": [list(ACCOUNTS), "<AWS::Region>"]}
    assert assertion["AssertDescription"].startswith("This Region has no image of Factorization Machines")


def test_images_are_pinned_by_version(machine: dict[str, Any]) -> None:
    train, model = (machine["States"][name]["Parameters"] for name in ("TrainFactors", "RegisterNeighbors"))
    host = "<Algorithms of AWS::Region: Account>.dkr.ecr.<AWS::Region>.<AWS::URLSuffix>"
    assert train["AlgorithmSpecification"]["TrainingImage"] == f"{host}/factorization-machines:1"
    assert model["PrimaryContainer"]["Image"] == f"{host}/knn:1"


def test_a_known_region_is_written_out_and_a_type_with_its_own_disk_gets_no_disk_key(tmp_path: Path) -> None:
    types = {
        "train_factors": ["ml.r5.large", "ml.r5d.large"],
        "repackage": ["ml.m5.large"],
        "train_neighbors": ["ml.g4dn.xlarge"],
        "match_users": ["ml.c5.xlarge", "ml.m6i.large"],
    }
    given = {"dev": {"region": "eu-central-1", "instance_types": types}}
    done = synthesize(tmp_path / "out", stages=given)
    assert done.returncode == 0, done.stderr
    stack = plain(template(tmp_path / "out", "topx-dev-pipeline"))
    assert "Mappings" not in stack
    assert "RegionHasAlgorithms" not in stack["Rules"]
    states = {name: state.get("Parameters", {}) for name, state in definition(stack)["States"].items()}
    image = states["TrainNeighbors"]["AlgorithmSpecification"]["TrainingImage"]
    assert image == "664544806723.dkr.ecr.eu-central-1.<AWS::URLSuffix>/knn:1"
    keyed = {
        "TrainFactors": "VolumeKmsKeyId" in states["TrainFactors"]["ResourceConfig"],
        "Repackage": "VolumeKmsKeyId" in states["Repackage"]["ProcessingResources"]["ClusterConfig"],
        "TrainNeighbors": "VolumeKmsKeyId" in states["TrainNeighbors"]["ResourceConfig"],
        "MatchUsers": "VolumeKmsKeyId" in states["MatchUsers"]["TransformResources"],
    }
    assert keyed == {"TrainFactors": False, "Repackage": True, "TrainNeighbors": False, "MatchUsers": True}
