"""The demo: a dozen real programs by three principals through every real step, in a home of its own.

It must never touch another home, and never let its audit look like one: its advisory data is demo data, accepted by the profile demo alone.
"""

from .stage import Demonstration, DemoObserver, Scene, outcome_text, run_demo

__all__ = ["DemoObserver", "Demonstration", "Scene", "outcome_text", "run_demo"]
