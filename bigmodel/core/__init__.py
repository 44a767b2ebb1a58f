"""What a run is: words, errors, fields, blocks, contracts, catalogue, spec, events and limits. Imports neither torch nor streamlit."""
