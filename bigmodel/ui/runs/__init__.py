"""The Runs page's sections: live curves, details, resume and branch."""
