#!/bin/sh
# Captures the one line that scripts/pipetest writes to the path it is given, by `fifofs run`.
exec fifofs run -- scripts/pipetest '{out}'
