"""What a user of napari does with napari-nninteractive, without a window; prints the mask's sizes as JSON.

python napari_clicks.py URL Z,Y,X IMAGE.npy
"""

import json
import sys
import time
from unittest.mock import MagicMock

import numpy as np
from napari.components import ViewerModel
from napari_nninteractive.widget_main import nnInteractiveWidget
from qtpy.QtWidgets import QApplication


def wait_for(application, condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        application.processEvents()
        time.sleep(0.02)
        assert time.monotonic() < end, "it did not happen"


def main(url, voxel, file):
    application = QApplication([])
    viewer = ViewerModel()
    viewer.__dict__["window"] = MagicMock()  # its canvas would need OpenGL
    viewer.add_image(np.load(file), name="image")
    widget = nnInteractiveWidget(viewer)
    widget.server_url_edit.setText(url)
    widget.api_key_edit.setText("")
    widget.on_init()
    wait_for(application, lambda: widget.point_layer_name in viewer.layers)
    sizes = {}

    def note(what):
        sizes[what] = int((np.asarray(viewer.layers[widget.label_layer_name].data) > 0).sum())

    note("initialized")
    viewer.layers[widget.point_layer_name].add(np.array(voxel, float) + 0.3)
    widget.add_interaction()
    note("clicked")
    widget.on_undo()
    note("undone")
    widget.auto_run_ckbx.setChecked(False)
    viewer.layers[widget.point_layer_name].add(np.array(voxel, float))
    widget.add_interaction()
    note("waiting")
    widget.on_run()
    note("run")
    widget.on_reset_interactions()
    note("reset")
    widget._release_session()
    print(json.dumps(sizes))


if __name__ == "__main__":
    main(sys.argv[1], [int(v) for v in sys.argv[2].split(",")], sys.argv[3])
