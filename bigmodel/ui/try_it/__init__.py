"""The Try it page's sections: widgets, streamed answers, comparison."""
