"""What people type besides the stages: ingest, inspect, clean, doctor, view, export."""
