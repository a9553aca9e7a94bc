"""Colors that are distinct for all kinds of color vision."""

import numpy as np

# Okabe and Ito (2008), without black.
_SEVEN_COLORS = "#0072B2 #E69F00 #009E73 #CC79A7 #56B4E9 #D55E00 #F0E442"
# Petroff (2021), "Accessible color sequences for data visualization".
_TEN_COLORS = (
    "#3F90DA #FFA90E #BD1F01 #94A4A2 #832DB6 #A96B59 #E76300 #B9AC70 #717581 #92DADD"
)

# Exponent from color values of a screen to intensities of light, which add up.
_SCREEN_GAMMA = 2.2


def distinct(n_colors):
    """Return distinct colors (n_colors, 3); they repeat if there are more than ten."""
    names = (
        _SEVEN_COLORS if n_colors <= len(_SEVEN_COLORS.split()) else _TEN_COLORS
    ).split()
    codes = [int(name[1:], 16) for name in names]
    rgb = np.array([[code >> 16, code >> 8 & 255, code & 255] for code in codes]) / 255
    return rgb[np.arange(n_colors) % len(rgb)]


def as_rgb(colors):
    """Convert colors in any of matplotlib's formats to an array (n_colors, 3)."""
    from matplotlib.colors import to_rgb

    return np.array([to_rgb(color) for color in colors])


def mixture(shares, colors, white=0.0):
    """Mix colors by shares (..., n_colors) as light mixes, with a fraction of white."""
    light = shares @ colors**_SCREEN_GAMMA
    return (white + (1 - white) * light).clip(0, 1) ** (1 / _SCREEN_GAMMA)
