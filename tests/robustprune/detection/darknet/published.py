"""Published detectors written from their structure, since their files are not at hand: .cfg texts."""

ANCHORS = "10,14,  23,27,  37,58,  81,82,  135,169,  344,319"
NET = """[net]
# Testing
#batch=1
batch=64
width=416
height=416
channels=3
momentum=0.9
mosaic=1
policy=steps
steps=400000,450000

"""


def conv(filters: int, size: int = 3, stride: int = 1, activation: str = "leaky", **options: int) -> str:
    normalise = "batch_normalize=1\n" if activation != "linear" or "groups" in options else ""
    own = "".join(f"{key}={value}\n" for key, value in options.items())
    common = f"filters={filters}\nsize={size}\nstride={stride}\npad=1\nactivation={activation}\n"
    return f"[convolutional]\n{normalise}{own}{common}\n"


def pool(size: int = 2, stride: int = 2) -> str:
    return f"[maxpool]\nsize={size}\nstride={stride}\n\n"


def route(layers: str, options: str = "") -> str:
    return f"[route]\nlayers = {layers}\n{options}\n"


def shortcut(source: int) -> str:
    return f"[shortcut]\nactivation=leaky\nfrom={source}\n\n"


def head(mask: str, options: str = "") -> str:
    yolo = f"mask = {mask}\nanchors = {ANCHORS}\nclasses=80\nnum=6\njitter=.3\nignore_thresh = .7\n{options}"
    return conv(255, 1, activation="linear") + f"[yolo]\n{yolo}\n"


def yolov4_tiny() -> str:
    """Return yolov4-tiny: cross-stage blocks through routes of half the channels."""
    boxes = "scale_x_y = 1.05\niou_loss=ciou\nnms_kind=greedynms\nbeta_nms=0.6\n"
    text = NET + conv(32, 3, 2) + conv(64, 3, 2)
    for width in (64, 128, 256):
        text += conv(width) + route("-1", "groups=2\ngroup_id=1\n") + 2 * conv(width // 2) + route("-1,-2")
        text += conv(width, 1) + route("-6,-1") + pool()
    text += conv(512) + conv(256, 1) + conv(512) + head("3,4,5", boxes)
    return (
        text
        + route("-4")
        + conv(128, 1)
        + "[upsample]\nstride=2\n"
        + route("-1, 23")
        + conv(256)
        + head("1,2,3", boxes)
    )


def yolov3_tiny_prn() -> str:
    """Return yolov3-tiny-prn: shortcuts between layers of different numbers of channels."""
    text = NET + "".join(conv(width) + pool() for width in (16, 32, 64, 128, 256))
    text += conv(512) + pool(2, 1) + conv(512) + shortcut(-3)
    text += conv(256, 1) + conv(256) + shortcut(-2) + head("3,4,5") + route("-4")
    text += conv(128, 1) + "[upsample]\nstride=2\n" + shortcut(8) + conv(128) + shortcut(-3) + shortcut(8)
    return text + head("1,2,3")


def squeeze_and_excitation() -> str:
    """Return a detector of one block as in enet-coco: depthwise, its channels scaled by what they hold."""
    text = NET + conv(16, 3, 2, "swish") + conv(16, 3, 2, "swish", groups=16)
    text += "[avgpool]\n" + conv(8, 1, activation="swish") + conv(16, 1, activation="logistic")
    return (
        text + "[scale_channels]\nfrom=-4\n" + "[dropout]\nprobability=.0\n" + conv(24, 1, 8, "swish") + head("0,3,5")
    )
