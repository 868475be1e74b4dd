#!/bin/sh
# SPDX-License-Identifier: MIT
# Called by OSS-Fuzz in the source, with its compilers in the environment.
exec src/test/fuzz/build.sh
