/*
 * Rewrite a block of the archive's CSV as lines of a cache file.
 *
 * Every cell of every line is checked, and so are the order of the rows and, of candles, their grid and
 * lengths. A line that is unusual in any way ends the work: PyArrow then parses the block, accepts more,
 * and says what is wrong. So this may be strict, and must never accept what PyArrow's path refuses, or
 * write other bytes.
 *
 * Nothing is read behind the block: it ends with a line end, each cell is read up to a byte that it cannot
 * hold, and a line end is passed over only where a line ends. Bytes are read in pieces, so the last lines
 * are copied to where there is room behind them. Nothing is written behind the text: a line grows by no more
 * than its stamp and a comma, for which there is room.
 *
 * The interpreter's lock is not held while lines are read.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define MOST_COLUMNS 32
/* The most digits before and after the point, as in model/rows.py. */
#define LONGEST_PART 24
/* An integer of so many digits fits 64 bits. */
#define LONGEST_INTEGER 18
#define LONGEST_HOURS 2
/* As in model/rows.py and model/datasets.py. */
#define MICROSECONDS_FROM INT64_C(100000000000000)
#define EARLIEST_US INT64_C(1230768000000000)
#define LATEST_US INT64_C(4102444800000000)
#define MICROSECONDS_SINCE_US INT64_C(1735689600000000)

#define SECOND_US INT64_C(1000000)
#define DAY_SECONDS INT64_C(86400)
/* A stamp up to its second; with six digits and a comma it is what a line may grow by. */
#define STAMP_BYTES 19
#define LINE_ROOM (STAMP_BYTES + 7 + 1)
/* Most cells are shorter, and copied in one piece of this size. */
#define PIECE 32
/* What the last lines, of PIECE bytes or of one line, may have. */
#define MOST_TAIL 4096

#define SIGNED 1
#define TRIMMED 2
#define NOT_KEPT 255

/* A row of the table of columns: its kind, its options, and its place in a line of the cache. */
typedef struct {
    uint8_t kind, options, place;
} Column;

typedef struct {
    const uint8_t *start;
    size_t size;
} Cell;

/* The values of one line, and the text of the cells that are kept, by their places. */
typedef struct {
    Cell cells[MOST_COLUMNS];
    int64_t stamp, id, close, hours;
} Row;

typedef struct {
    const Column *columns;
    int column_count, kept_count, stamp_digits;
    /* Of rows on a grid: its step, a point of it, and the length of a candle; 0 where there is none. */
    long long step_us, origin_us, length_ms;
    /* How many microseconds a key stands for; 0 if keys are ids. */
    long long key_us;
    uint8_t *out;
    int64_t *keys, *stamps, *hours;
    /* A bit for each column with a number that is not zero. */
    uint32_t nonzero;
    /* The text of the last stamp. */
    int64_t second, day;
    uint8_t stamp[PIECE];
} Work;

static inline int is_digit(uint8_t byte) { return (uint8_t)(byte - '0') <= 9; }

static inline const uint8_t *digits_end(const uint8_t *at) {
    while (is_digit(*at)) at++;
    return at;
}

/* The same where there are many: the processor foresees their number, and nothing waits for it. */
static inline const uint8_t *many_digits_end(const uint8_t *at) {
    for (uint64_t bytes;; at += 8) {
        memcpy(&bytes, at, 8);
        bytes ^= UINT64_C(0x3030303030303030);
        /* The highest bit of each byte above 9; a carry reaches only bytes beside one. */
        if (((bytes + UINT64_C(0x7676767676767676)) | bytes) & UINT64_C(0x8080808080808080)) break;
    }
    return digits_end(at);
}

/* The number of up to eight digits: pairs, fours and eights of them are added up. */
static inline int64_t eight_digits(const uint8_t *at, int count) {
    uint64_t bytes;
    memcpy(&bytes, at, 8);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bytes = __builtin_bswap64(bytes);
#endif
    /* Zeros come in front. */
    bytes = (bytes ^ UINT64_C(0x3030303030303030)) << (64 - 8 * count);
    bytes = bytes * 10 + (bytes >> 8);
    bytes = (bytes & UINT64_C(0xFF000000FF)) * (100 + (UINT64_C(1000000) << 32))
        + (bytes >> 16 & UINT64_C(0xFF000000FF)) * (1 + (UINT64_C(10000) << 32));
    return (int64_t)(bytes >> 32);
}

static int has_nonzero(const uint8_t *at, const uint8_t *end) {
    while (at < end && (*at == '0' || *at == '.')) at++;
    return at < end;
}

/* Each of the following returns the end of a cell; NULL if it is unusual. */
static inline const uint8_t *read_integer(const uint8_t *at, int most_digits, int64_t *value) {
    const uint8_t *end = many_digits_end(at);
    if (end == at || end - at > most_digits || (*at == '0' && end - at > 1)) return NULL;
    const int head = (int)(end - at) % 8;
    *value = head ? eight_digits(at, head) : 0;
    for (at += head; at < end; at += 8) *value = *value * 100000000 + eight_digits(at, 8);
    return end;
}

static inline const uint8_t *read_number(const uint8_t *at, int options, Cell *cell, int *nonzero) {
    const int is_negative = *at == '-';
    if (is_negative && !(options & SIGNED)) return NULL;
    const uint8_t *start = at, *whole = at + is_negative, *end;
    at = end = digits_end(whole);
    if (at == whole || at - whole > LONGEST_PART || (*whole == '0' && at - whole > 1)) return NULL;
    if (*at == '.') {
        const uint8_t *fraction = at + 1;
        at = end = many_digits_end(fraction);
        if (at == fraction || at - fraction > LONGEST_PART) return NULL;
        if (options & TRIMMED) {
            while (end[-1] == '0') end--;  /* Stops at the point. */
            end -= end[-1] == '.';
        }
    }
    if (is_negative || !*nonzero) {
        const int found = has_nonzero(whole, end);
        *nonzero |= found;
        start += is_negative && !found;  /* The cache has no negative zero. */
    }
    cell->start = start;
    cell->size = (size_t)(end - start);
    return at;
}

static inline const uint8_t *read_flag(const uint8_t *at, Cell *cell) {
    static const uint8_t words[2][PIECE] = {"False", "True"};
    static const uint8_t masks[2][8] = {{223, 255, 255, 255, 255}, {223, 255, 255, 255}};
    const int is_true = (*at | 0x20) == 't';
    uint64_t bytes, mask, word;
    memcpy(&bytes, at, 8);
    memcpy(&mask, masks[is_true], 8);
    memcpy(&word, words[is_true], 8);
    cell->start = words[is_true];
    cell->size = 5 - (size_t)is_true;
    /* Only the first letter may be of either case. */
    return (bytes & mask) == word ? at + cell->size : NULL;
}

static const uint8_t *read_zero(const uint8_t *at) {
    if (*at++ != '0') return NULL;
    if (*at != '.') return at;
    const uint8_t *fraction = ++at;
    while (*at == '0') at++;
    return at == fraction ? NULL : at;
}

static const uint8_t *read_ignored(const uint8_t *at) {
    const uint8_t *start = at;
    while (is_digit(*at) || *at == '.' || *at == '-' || (uint8_t)((*at | 0x20) - 'a') < 26) at++;
    return at == start ? NULL : at;
}

static inline const uint8_t *read_cell(Work *work, const uint8_t *at, int number, Row *row, Cell *cell) {
    const Column column = work->columns[number];
    int nonzero = (int)(work->nonzero >> number & 1);
    int64_t value = 0;
    switch (column.kind) {
    case 't': return read_integer(at, LONGEST_INTEGER, &row->stamp);
    case 'k': return read_integer(at, LONGEST_INTEGER, &row->id);
    case 'c': return read_integer(at, LONGEST_INTEGER, &row->close);
    case 'h': return read_integer(at, LONGEST_HOURS, &row->hours);
    case 'f': return read_flag(at, cell);
    case 'z': return read_zero(at);
    case '-': return read_ignored(at);
    case 'i':
        /* -1 is the id of no trade. */
        if (column.options & SIGNED && at[0] == '-' && at[1] == '1') return at + 2;
        at = read_integer(at, LONGEST_INTEGER, &value);
        nonzero |= value != 0;
        break;
    case 'n':
        at = read_number(at, column.options, cell, &nonzero);
        break;
    default: return NULL;
    }
    work->nonzero |= (uint32_t)nonzero << number;
    return at;
}

static const uint8_t *read_line(Work *work, const uint8_t *at, Row *row) {
    const int last = work->column_count - 1;
    for (int number = 0; number <= last; number++, at++) {
        Cell cell = {at, 0};
        at = read_cell(work, at, number, row, &cell);
        if (at == NULL || *at != (number < last ? ',' : '\n')) return NULL;
        if (work->columns[number].place == NOT_KEPT) continue;
        if (!cell.size) cell.size = (size_t)(at - cell.start);
        row->cells[work->columns[number].place] = cell;
    }
    return at;
}

/* Store key and stamp of a row, if it is a moment, on the grid, of the right length, and after the one before. */
static int keep_values(Work *work, const Row *row, Py_ssize_t number) {
    int64_t us = row->stamp >= MICROSECONDS_FROM ? row->stamp : row->stamp * 1000;
    if (us < EARLIEST_US || us >= LATEST_US) return 0;
    if (work->stamp_digits < 6 || us < MICROSECONDS_SINCE_US) us = us / 1000 * 1000;
    if (!work->stamp_digits && us % SECOND_US) return 0;
    /* A row that is a step after another is on the grid if that is. */
    if (work->step_us && (!number || us - work->stamps[number - 1] != work->step_us)
        && (us - work->origin_us) % work->step_us) return 0;
    if (work->length_ms) {
        const int64_t end_us = row->close >= MICROSECONDS_FROM ? row->close + 1 : (row->close + 1) * 1000;
        /* A close time in microseconds may be written to the millisecond. */
        const int64_t too_long_us = end_us - us - work->length_ms * 1000;
        if (too_long_us > 0 || too_long_us <= -1000) return 0;
    }
    const int64_t key = work->key_us ? us / work->key_us : row->id;
    if (number && key <= work->keys[number - 1]) return 0;
    work->keys[number] = key;
    work->stamps[number] = us;
    work->hours[number] = row->hours;
    return 1;
}

static void write_digits(uint8_t *at, int count, int64_t value) {
    for (; count--; value /= 10) at[count] = (uint8_t)('0' + value % 10);
}

/* The date of a day since 1970; years begin in March, so that a leap day is the last one. */
static void write_date(uint8_t *at, int64_t day) {
    const int64_t shifted = day + 719468, era = shifted / 146097, of_era = shifted % 146097;
    const int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    const int64_t month = (5 * of_year + 2) / 153;
    memcpy(at, "0000-00-00 00:00:00", STAMP_BYTES);
    write_digits(at, 4, year + era * 400 + (month >= 10));
    write_digits(at + 5, 2, month + (month < 10 ? 3 : -9));
    write_digits(at + 8, 2, of_year - (153 * month + 2) / 5 + 1);
}

static void write_line(Work *work, const Row *row, int64_t us) {
    const int64_t second = us / SECOND_US, fraction = us % SECOND_US;
    uint8_t *out = work->out;
    if (second != work->second) {
        const int64_t day = second / DAY_SECONDS, of_day = second % DAY_SECONDS;
        if (day != work->day) write_date(work->stamp, day);
        write_digits(work->stamp + 11, 2, of_day / 3600);
        write_digits(work->stamp + 14, 2, of_day / 60 % 60);
        write_digits(work->stamp + 17, 2, of_day % 60);
        work->day = day;
        work->second = second;
    }
    memcpy(out, work->stamp, PIECE);
    out += STAMP_BYTES;
    if (work->stamp_digits) {
        *out = '.';
        write_digits(out + 1, 3, fraction / 1000);
        if (work->stamp_digits == 6) write_digits(out + 4, 3, fraction % 1000);
        out += 1 + work->stamp_digits;
    }
    for (int place = 1; place < work->kept_count; place++) {
        const Cell cell = row->cells[place];
        *out++ = ',';
        memcpy(out, cell.start, PIECE);
        if (cell.size > PIECE) memcpy(out + PIECE, cell.start + PIECE, cell.size - PIECE);
        out += cell.size;
    }
    *out++ = '\n';
    work->out = out;
}

/* Rewrite lines up to the first that is unusual; *number* is that of the next one. PIECE bytes follow *end*. */
static void rewrite_lines(Work *work, const uint8_t *at, const uint8_t *end, Py_ssize_t *number) {
    Row row;
    memset(&row, 0, sizeof row);
    for (; at < end; ++*number) {
        at = read_line(work, at, &row);
        if (at == NULL || !keep_values(work, &row, *number)) return;
        write_line(work, &row, work->stamps[*number]);
    }
}

static Py_ssize_t count_lines(const uint8_t *text, Py_ssize_t size) {
    Py_ssize_t lines = 0;
    /* A sum of at most 255 fits a byte, and compilers add sixteen of these at once. */
    for (Py_ssize_t at = 0, end; at < size; at = end) {
        uint8_t sum = 0;
        for (end = size - at > 255 ? at + 255 : size; at < end; at++) sum = (uint8_t)(sum + (text[at] == '\n'));
        lines += sum;
    }
    return lines;
}

/* Rewrite a block of so many lines, and count those up to the first that is unusual. */
static Py_ssize_t rewrite_all(Work *work, const uint8_t *text, Py_ssize_t size, Py_ssize_t lines) {
    uint8_t tail[MOST_TAIL + PIECE] = {0};
    Py_ssize_t number = 0, split = size > PIECE ? size - PIECE : 0;
    while (split && text[split - 1] != '\n') split--;
    if (size - split > MOST_TAIL) return 0;
    memcpy(tail, text + split, (size_t)(size - split));
    rewrite_lines(work, text, text + split, &number);
    if (number + count_lines(tail, size - split) == lines) rewrite_lines(work, tail, tail + (size - split), &number);
    return number;
}

/* Whether the table has a stamp, and the places of a line run on from it: then each is filled, once. */
static int check_columns(Work *work) {
    uint64_t places = 0;
    int has_stamp = 0;
    for (int at = 0; at < work->column_count; at++) {
        const Column column = work->columns[at];
        if (column.place == NOT_KEPT) continue;
        if (column.place >= MOST_COLUMNS || places >> column.place & 1) return 0;
        has_stamp |= column.kind == 't' && column.place == 0;
        places |= UINT64_C(1) << column.place;
        work->kept_count++;
    }
    return has_stamp && places == (UINT64_C(1) << work->kept_count) - 1;
}

static PyObject *rewrite_block(Work *work, const uint8_t *text, Py_ssize_t size) {
    Py_ssize_t lines = 0, number = 0;
    PyObject *answer = NULL;
    Py_BEGIN_ALLOW_THREADS
    lines = count_lines(text, size);
    Py_END_ALLOW_THREADS
    const Py_ssize_t numbers_size = lines * (Py_ssize_t)sizeof(int64_t);
    PyObject *keys = PyBytes_FromStringAndSize(NULL, numbers_size);
    PyObject *stamps = PyBytes_FromStringAndSize(NULL, numbers_size);
    PyObject *hours = PyBytes_FromStringAndSize(NULL, numbers_size);
    PyObject *out = PyBytes_FromStringAndSize(NULL, size + lines * LINE_ROOM + 2 * PIECE);
    if (keys && stamps && hours && out) {
        work->keys = (int64_t *)PyBytes_AsString(keys);
        work->stamps = (int64_t *)PyBytes_AsString(stamps);
        work->hours = (int64_t *)PyBytes_AsString(hours);
        uint8_t *const start = work->out = (uint8_t *)PyBytes_AsString(out);
        Py_BEGIN_ALLOW_THREADS
        number = rewrite_all(work, text, size, lines);
        Py_END_ALLOW_THREADS
        if (number < lines) answer = PyLong_FromSsize_t(number);
        else answer = Py_BuildValue("OOOOnk", keys, stamps, hours, out, (Py_ssize_t)(work->out - start),
                                    (unsigned long)work->nonzero);
    }
    Py_XDECREF(keys);
    Py_XDECREF(stamps);
    Py_XDECREF(hours);
    Py_XDECREF(out);
    return answer;
}

/*
 * Keys, stamps, hours, the text and its size, and a bit for each column with a number that is not 0; or the
 * number of the first line, from 0, that is unusual.
 */
static PyObject *rewrite(PyObject *Py_UNUSED(module), PyObject *arguments) {
    Py_buffer block, columns;
    Work work;
    PyObject *answer = NULL;
    memset(&work, 0, sizeof work);
    work.second = work.day = -1;
    if (!PyArg_ParseTuple(arguments, "y*y*iLLLL", &block, &columns, &work.stamp_digits, &work.step_us,
                          &work.origin_us, &work.length_ms, &work.key_us)) return NULL;
    const uint8_t *text = block.buf;
    work.columns = columns.buf;
    work.column_count = columns.len <= MOST_COLUMNS * 3 ? (int)(columns.len / 3) : 0;
    if (!check_columns(&work)) PyErr_SetString(PyExc_ValueError, "this is no table of columns");
    else if (!block.len || text[block.len - 1] != '\n') answer = PyLong_FromLong(0);
    else answer = rewrite_block(&work, text, block.len);
    PyBuffer_Release(&columns);
    PyBuffer_Release(&block);
    return answer;
}

static PyMethodDef methods[] = {{"rewrite", rewrite, METH_VARARGS, NULL}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "kernel", .m_methods = methods, .m_slots = slots,
    .m_doc = "Rewrite blocks of the archive's CSV as lines of a cache file; see `parse.lines_by_kernel`.",
};

PyMODINIT_FUNC PyInit_kernel(void) { return PyModuleDef_Init(&definition); }
