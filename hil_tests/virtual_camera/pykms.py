"""In place of the DRM library that picamera2 imports for a display that is not used here."""


class PixelFormat:
    """Names only."""

    RGB888 = BGR888 = XRGB8888 = XBGR8888 = YUV420 = YVU420 = YUYV = NV12 = NV21 = MJPEG = None
