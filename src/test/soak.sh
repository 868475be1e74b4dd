#!/bin/sh
# SPDX-License-Identifier: MIT
# Some seconds of src/test/soak: request-server under clients of every kind.
[ -x src/test/soak ] || { echo "the clients need epoll"; exit 77; }
. "$(dirname "$0")/needs.sh"
need loopback
exec src/test/soak
