"""Where a watched run is recorded besides: MLflow, Weights & Biases, TensorBoard, or anything with five methods.

`client.jobs.watch(job, trackers=[…])` is the way in. Each adapter needs its library, which is an extra, and loads it
when a watch begins.
"""

from __future__ import annotations

from bedrock_rft.trackers._mlflow import MLflow
from bedrock_rft.trackers._protocol import Tracker
from bedrock_rft.trackers._tensorboard import TensorBoard
from bedrock_rft.trackers._wandb import WeightsAndBiases

__all__ = ["MLflow", "TensorBoard", "Tracker", "WeightsAndBiases"]
