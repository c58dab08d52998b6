"""Networks: plain ``torch.nn.Module`` classes; your own works unchanged as ``--model nets.py:Net``.

A class is given those of ``input_shape``, ``outputs``, ``hidden`` and ``activation`` that its constructor declares.
"""

from galab.models.build import build_model
from galab.models.convolutional import ConvPolicy, ResNet
from galab.models.mlp import MLP, Linear

__all__ = ["MLP", "ConvPolicy", "Linear", "ResNet", "build_model"]
