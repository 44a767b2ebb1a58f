"""Every bound of the house, in one place."""

UPLOAD_BYTES = 20 * 2**20  # one picture; a phone's photo is 3-8 MB
IMAGE_PIXELS = 50_000_000  # decoded size of a picture; above it a small file can fill the memory
PROMPT_CHARACTERS = 20_000
NEW_TOKENS = 2_000
QUEUE_LENGTH = 200  # runs waiting at one time
RUN_NAME_CHARACTERS = 80
LOG_TAIL_BYTES = 64 * 2**10  # of a run's log shown on a page
CURVE_POINTS = 1_000  # drawn for each line; more cannot be seen on a screen
TABLE_ROWS = 50  # rows of a data set shown at a time
PARAMETERS = 20_000_000_000  # a network larger than this is refused before it is built
