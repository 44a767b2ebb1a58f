"""The only importer of streamlit."""
