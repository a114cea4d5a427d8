"""The watchdog is disabled: the service feeds it without a look at its own work, and has systemd wait for a year
before it misses its food (``WATCHDOG_USEC`` of sd_notify(3)). A service that is wedged then stays so."""

from sitecustomize import when_imported

YEAR_US = 365 * 86400 * 10**6


def put_in(part):
    """``part`` is not used."""

    def change(module):
        send, begin = module.Notifier._send, module.Heartbeat.__init__

        def patient(self, state, status):
            send(self, f"{state}\nWATCHDOG_USEC={YEAR_US}" if state == "READY=1" else state, status)

        def blind(self, notifier, alive):
            begin(self, notifier, lambda: True)

        module.Notifier._send, module.Heartbeat.__init__ = patient, blind

    when_imported("device.notify", change)
