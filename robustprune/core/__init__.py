"""What every room uses: errors, settings, arrays, devices, memory, randomness, progress, time, operations."""
