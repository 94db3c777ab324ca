"""Where prompts come from: the network itself or a simulated user."""

from msam_nn.prompts.simulation import (
    central_error_clicks,
    largest_error_clicks,
    sample_error_clicks,
    uniform_click,
)
from msam_nn.prompts.sources import (
    AutomaticPrompts,
    CarefulClicks,
    Recorder,
    SimulatedClicks,
    foreground,
)
from msam_nn.prompts.users import centre_of_largest_error, click_of_largest_error, click_of_largest_section

__all__ = [
    "AutomaticPrompts",
    "CarefulClicks",
    "Recorder",
    "SimulatedClicks",
    "central_error_clicks",
    "centre_of_largest_error",
    "click_of_largest_error",
    "click_of_largest_section",
    "foreground",
    "largest_error_clicks",
    "sample_error_clicks",
    "uniform_click",
]
