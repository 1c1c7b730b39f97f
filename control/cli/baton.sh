#!/bin/sh
# `npx baton …` in a checkout: the command line, run by the Node that the packages bring, not the machine's.
here=$(dirname "$(readlink -f "$0")")
node=$here/../../node_modules/.bin/node
[ -x "$node" ] || node=node
exec "$node" "$here/main.ts" "$@"
