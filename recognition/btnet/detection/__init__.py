"""Faces and their five landmarks in images: one protocol, three sources."""

from btnet.detection.detections import Detections, Detector
from btnet.detection.detector import open_detector

__all__ = ["Detections", "Detector", "open_detector"]
