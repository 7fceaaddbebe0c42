"""The error tree. The class name is the name that the state machine, the logs and the exit code see.

TopxError
  InputRejected         the data cannot be used: the caller changes the files
  SettingsRejected      a setting or an execution's input cannot be used: the caller changes it
    QuotasRejected      the account may not run what the plan needs
  RecordsRejected       a recordIO file is not what it should be
  ArtifactRejected      a model artifact is not what it should be
  DatasetBusy           another execution holds this dataset
  RunRejected           the files of a run contradict each other
  ListsNotReady         the import of the lists is still running: try again later
  ListsRejected         the imported lists are not what Rank wrote

Each message says what, the value, what is allowed and what to do.
"""


class TopxError(Exception):
    """Anything that topx itself refuses."""


class InputRejected(TopxError):
    """When rating files cannot be turned into training records."""


class SettingsRejected(TopxError):
    """When settings or an execution's input are impossible; the message lists every problem."""


class QuotasRejected(SettingsRejected):
    """When a Service Quota is below what the plan needs; the message lists every gap."""


class RecordsRejected(TopxError):
    """When a recordIO file is broken or foreign; the message holds record number and offset."""


class ArtifactRejected(TopxError):
    """When a model artifact is broken, unsafe or another algorithm's; the message names what it is."""


class DatasetBusy(TopxError):
    """When another running execution holds the dataset."""


class RunRejected(TopxError):
    """When files of one run contradict each other, such as matches for fewer users than were sent."""


class ListsNotReady(TopxError):
    """When the import of the lists has not ended yet."""


class ListsRejected(TopxError):
    """When the imported table does not hold what Rank wrote."""


def join(problems: list[str]) -> str:
    """One message from one or many problems: a single line, or a count and a list."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems:\n" + "\n".join(f"- {problem}" for problem in problems)
