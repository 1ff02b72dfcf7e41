#!/bin/sh
# Stands in for the provider's program: never answers. As long as it lives, it holds the pipe `alive` beside it open.
exec 9> "${0%/*}/alive"
echo alive >&9
exec tail -f /dev/null
