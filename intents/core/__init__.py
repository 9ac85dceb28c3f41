"""What every part needs: errors, settings, files, paths, the names of variants."""
