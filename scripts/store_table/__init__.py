"""What scripts/stores needs: servers, programs that write objects, what can go wrong, and how long it takes."""
