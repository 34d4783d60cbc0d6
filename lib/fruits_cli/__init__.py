"""The command `fruits`: runs, reports, images brought and packed. Not needed by workers or notebooks."""
