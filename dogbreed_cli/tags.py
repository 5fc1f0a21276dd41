"""The names of the tags on what dogbreed makes in SageMaker: how it is found again, and what led to it."""

TAG = "dogbreed:project"
TUNING_JOB_TAG = "dogbreed:tuning-job"
COMMIT_TAG = "dogbreed:git-commit"
