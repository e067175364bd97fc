"""Record a watched job in MLflow, Weights & Biases, TensorBoard, or with any object that has five methods.

Pass trackers to `client.jobs.watch(job, trackers=[…])`. Each adapter needs its library, which is an extra.
"""

from __future__ import annotations

from bedrock_rft.trackers._adapters import MLflow, TensorBoard, WeightsAndBiases
from bedrock_rft.trackers._protocol import Tracker

__all__ = ["MLflow", "TensorBoard", "Tracker", "WeightsAndBiases"]
