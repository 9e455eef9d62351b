"""Modules of scripts/stores: servers, programs that write objects, failures, and speed."""
