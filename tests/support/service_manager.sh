# Run a command beside a service manager of its own: `service_manager.sh COMMAND…`, as root in a new mount namespace.
#
# GROUP is the control group to make, MANAGER_UID the user of the manager, XDG_RUNTIME_DIR a folder of that user. The
# command runs as root in the group, with the bus in DBUS_SESSION_BUS_ADDRESS, and may become that user by itself.
set -eu

mount -t tmpfs tmpfs /run/systemd  # this namespace only: systemd asks whether the host was booted with it
mkdir /run/systemd/system
mkdir "$GROUP" "$GROUP/init"
above="${GROUP%/*}"
ended() {
    kill "$manager" "$bus" 2>/dev/null || true
    wait || true
    echo $$ > "$above/cgroup.procs"
    find "$GROUP" -depth -type d -exec rmdir {} \;
}
manager= bus=
trap ended EXIT
chown -R "$MANAGER_UID" "$GROUP"
echo $$ > "$GROUP/init/cgroup.procs"

as_user="setpriv --reuid=$MANAGER_UID --regid=$MANAGER_UID --clear-groups"
export DBUS_SESSION_BUS_ADDRESS="unix:path=$XDG_RUNTIME_DIR/bus" HOME="$XDG_RUNTIME_DIR"
cd /
$as_user dbus-daemon --session --address="$DBUS_SESSION_BUS_ADDRESS" --nofork --nopidfile >/dev/null 2>&1 &
bus=$!
$as_user /lib/systemd/systemd --user --log-target=console >"$XDG_RUNTIME_DIR/systemd.log" 2>&1 &
manager=$!
tries=0
until $as_user busctl --user status org.freedesktop.systemd1 >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        echo "a service manager cannot be started here: $(tail -n 1 "$XDG_RUNTIME_DIR/systemd.log")"
        exit 1
    fi
    sleep 0.1
done
"$@"
