#!/bin/sh
# One Chromium window on the whole screen. It begins with a page that waits for the instrument, and says what to do
# where it does not come. The profile lies in memory and is new at each start: no crash bubbles, no traces.
set -eu

browser=$(command -v chromium || command -v chromium-browser) || {
  echo "Chromium is not installed; run: sudo apt-get install chromium" >&2
  exit 1
}
page=$(dirname "$(readlink -f "$0")")/starting.html
profile=$XDG_RUNTIME_DIR/tenohira-kiosk
rm -rf "$profile"
mkdir -p "$profile"
export HOME="$profile"

# The waiting page may not ask the instrument itself, whose answers are for its own pages only. So it looks for a script,
# which appears here when the instrument takes connections, and which goes there.
python3 -c '
import os, socket, sys, time
port, script = sys.argv[1:]
while True:
    try:
        socket.create_connection(("127.0.0.1", int(port)), 5).close()
        break
    except OSError:
        time.sleep(1)
with open(script + ".new", "w") as file:
    file.write(f"location.replace(\"http://127.0.0.1:{port}/\");\n")
os.rename(script + ".new", script)
' "${TENOHIRA_PORT:-8080}" "$profile/ready.js" &

exec cage -d -- "$browser" \
  --kiosk "file://$page#$profile/ready.js" \
  --ozone-platform=wayland \
  --user-data-dir="$profile" \
  --no-first-run --no-default-browser-check \
  --noerrdialogs --hide-crash-restore-bubble --disable-session-crashed-bubble \
  --disable-features=Translate,MediaRouter \
  --disable-pinch --overscroll-history-navigation=0 \
  --password-store=basic --disable-background-networking --disable-component-update
