"""The paper's claims, measured: studies made of many trainings under one recipe (``tenohira paper``)."""
