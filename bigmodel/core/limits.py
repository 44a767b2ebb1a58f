"""Every bound of the house, in one place."""

UPLOAD_BYTES = 20 * 2**20  # one picture; a phone's photo is 3-8 MB
IMAGE_PIXELS = 50_000_000  # decoded size of a picture; above it a small file can fill the memory
PROMPT_CHARACTERS = 20_000
NEW_TOKENS = 2_000
TURNS, TURN_CHARACTERS = 200, 100_000  # messages of a conversation that are carried along, and all of their text
QUEUE_LENGTH = 200  # runs waiting at one time
RUN_NAME_CHARACTERS = 80
LOG_BYTES = 16 * 2**20  # of a run's log on the disk; of a longer one the newest sixteenth stays
LOG_TAIL_BYTES = 64 * 2**10  # of a run's log shown on a page
CURVE_POINTS = 1_000  # drawn for each line; more cannot be seen on a screen
TABLE_ROWS = 50  # rows of a data set shown at a time
IMPORT_BYTES = 4 * 2**30  # a file sent by a browser; larger ones are named by their path
PASTED_CHARACTERS = 1_000_000
LINE_BYTES = 16 * 2**20  # a line of a text file, a record of a table
CELL_CHARACTERS = 1_000_000  # one text
CLASS_CHARACTERS = 200  # the name of a class
CLASSES = 1_000
ROWS = 200_000_000  # of a data set
TITLE_CHARACTERS = 80  # of a data set
UNPACKED_BYTES, UNPACKED_TIMES = 64 * 2**30, 200  # what may come out of an archive, and times its size
ARCHIVE_FILES = 200_000
PICTURE_BYTES = 32 * 2**20  # one picture of a data set
CHILD_BYTES = 1000 * 2**20  # memory of the process that reads strangers' files
CHILD_ADDRESSES = 4 * 2**30  # its address space: what libraries reserve and do not use counts there
IMPORTS = 2  # files that are read at one time
PARAMETERS = 20_000_000_000  # a network larger than this is refused before it is built
