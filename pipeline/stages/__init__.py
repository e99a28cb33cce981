"""One file a stage: plain functions of one work item. No Ray, no command line."""
