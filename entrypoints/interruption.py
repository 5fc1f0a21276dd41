"""SIGTERM: SageMaker is about to end the job (StopTrainingJob, MaxRuntime, a spot instance that is taken away) and
kills it 120 seconds later. What is in the model folder by then is uploaded.

Not every container passes the signal on: AWS's own keep it from the script, see
https://github.com/aws/sagemaker-training-toolkit/issues/125. There the last epoch's checkpoint is what is left.
"""

import signal

import distributed

heard = False


class Stopped(Exception):
    """All ranks leave the loop here, at the same batch."""


def listen():
    """From now on SIGTERM waits for the next batch. Until then it ends the process, for there is nothing to save."""

    def note(*_):
        global heard
        heard = True

    signal.signal(signal.SIGTERM, note)


def check():
    """Raise Stopped on every rank as soon as one of them has heard SIGTERM, and from then on."""
    global heard
    heard = distributed.total(heard) > 0
    if heard:
        raise Stopped
