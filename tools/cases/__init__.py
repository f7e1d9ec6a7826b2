"""What the scripts in test/ do: run a job as Ascend's model zoo names and reports it."""
