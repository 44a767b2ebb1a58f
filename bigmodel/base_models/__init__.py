"""Models from outside: looked over at the gate, kept in the home folder, fetched from the Hub."""
