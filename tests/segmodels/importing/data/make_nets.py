"""How the ONNX files beside this were made, with torch 2.13 (not needed by the tests):

``python make_nets.py`` in a folder of its own, with the packages torch, onnx and onnxscript.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    """Batch norms, a dilated grouped convolution, pooling with padding, a bilinear resize, no softmax."""

    def __init__(self, channels=3, classes=3, width=4):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.SiLU()
        )
        self.down = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(0.1),
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2, groups=2),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.head = nn.Conv2d(3 * width, classes, 1)

    def forward(self, x):
        top = self.stem(x)
        low = functional.interpolate(
            self.down(top), size=top.shape[-2:], mode="bilinear", align_corners=False
        )
        return self.head(torch.cat([top, low], 1))


class Softmax(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x).softmax(1)


torch.manual_seed(0)
net = Net()
for _ in range(20):
    net(torch.rand(4, 3, 32, 32))
net.eval()
with torch.no_grad():
    net.head.weight *= 8
    x = torch.randint(0, 256, (1, 3, 24, 32)) / 255
    np.savez_compressed("logits.npz", input=x.numpy(), logits=net(x).numpy())
free = {"image": {0: "n", 2: "h", 3: "w"}, "out": {0: "n", 2: "h", 3: "w"}}
names = {"input_names": ["image"], "output_names": ["out"], "dynamo": False}
torch.onnx.export(net, (x,), "free.onnx", dynamic_axes=free, **names)
torch.onnx.export(net, (x,), "fixed.onnx", **names)
torch.onnx.export(Softmax(net).eval(), (x,), "softmax.onnx", dynamic_axes=free, **names)
