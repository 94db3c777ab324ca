"""``msam serve``: clicking in 3D Slicer, napari, MITK and a browser page.

``session.py`` is one user's image and mask, ``worker.py`` the one thread that runs the network for all of them,
``leases.py`` who holds which session; ``app.py`` speaks nnInteractive's HTTP protocol around them, ``page/`` the
browser's. The sessions know nothing of HTTP, the protocol nothing of networks.
"""
