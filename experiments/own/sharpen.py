from torch import nn


class Sharpen(nn.Sequential):
    def __init__(self, output_size):
        super().__init__(nn.AdaptiveAvgPool2d(output_size), nn.Conv2d(3, 3, 3, padding=1))
