/*
 * Replays a scenario: prints the events of all its containers, at each of its instants.
 *
 * The component asks eight functions for facts. Here they answer from one line of a scenario file; a real
 * host would answer from one reading of its containers. What it does around that is in four parts:
 *
 *   1. JSON becomes values of the component model, by the types that the component itself brings.
 *   2. A scenario is read, whole, before anything is printed.
 *   3. The host functions tell what is in one instant of it. They return errors, and never trap.
 *   4. The component is called, within limits of time and memory.
 */

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>
#include <wasmtime.h>

/* What one call may take: seconds, and bytes of the component's memory. */
enum { SECONDS = 1, MEMORY = 64 << 20 };

/* The largest scenario or component, in bytes. */
enum { LARGEST = 256 << 20 };

typedef wasmtime_component_val_t val;
typedef wasmtime_component_valtype_t valtype;

/* Ends the program with a message. */
_Noreturn static void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fflush(stdout);
	fputs("replay: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
	exit(1);
}

static void *allocate(size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size);
	if (!memory)
		fail("there is no memory left");
	return memory;
}

/* A text, copied. There may be any byte in it. */
static wasm_name_t text(const char *bytes, size_t size)
{
	wasm_name_t copy;
	wasm_byte_vec_new(&copy, size, bytes);
	return copy;
}

static bool same(const wasm_name_t *a, const wasm_name_t *b)
{
	return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* ---- 1. From JSON to values ---- */

/* The file and the line that are being read. */
static struct {
	const char *file;
	size_t line;
} at;

/* A text from outside as a string of JSON, so that it can stand in an error. */
static const char *quoted(const char *outside)
{
	return json_object_to_json_string_ext(json_object_new_string(outside), JSON_C_TO_STRING_NOSLASHESCAPE);
}

#define invalid(format, ...) \
	fail("not a valid scenario: %s:%zu: " format, at.file, at.line, __VA_ARGS__)

/* A u64, exactly. */
static uint64_t number(json_object *json, const char *key)
{
	if (!json)
		invalid("key %s is missing", quoted(key));
	if (!json_object_is_type(json, json_type_int) || json_object_get_int64(json) < 0)
		invalid("%s is not a whole number from 0 to %" PRIu64, quoted(key), UINT64_MAX);
	return json_object_get_uint64(json);
}

static wasm_name_t string(json_object *json, const char *key)
{
	if (!json)
		invalid("key %s is missing", quoted(key));
	if (!json_object_is_type(json, json_type_string))
		invalid("%s is not a string", quoted(key));
	return text(json_object_get_string(json), (size_t)json_object_get_string_len(json));
}

/* A per cent with up to two decimal places, in hundredths. */
static uint32_t basis_points(json_object *json, const char *key)
{
	double percent = json_object_get_double(json), points = round(percent * 100);
	if (!(json_object_is_type(json, json_type_double) || json_object_is_type(json, json_type_int)) ||
	    !(points >= 0 && points <= UINT32_MAX) || points / 100 != percent)
		invalid("%s is not a per cent with up to two decimal places", quoted(key));
	return (uint32_t)points;
}

/* The name of a field in the contract by its key in JSON: throttledTime, RxBytes, kernelTCP and mem_bw_info are
 * throttled-time, rx-bytes, kernel-tcp and mem-bw-info. */
static wasm_name_t field_name(const char *key)
{
	wasm_name_t name;
	wasm_byte_vec_new_uninitialized(&name, 2 * strlen(key));
	size_t size = 0;
	for (const char *c = key; *c; c++) {
		if (isupper((unsigned char)*c) && c > key && islower((unsigned char)c[-1]))
			name.data[size++] = '-';
		name.data[size++] = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
	}
	wasm_name_t exact = text(name.data, size);
	wasm_byte_vec_delete(&name);
	return exact;
}

static val of_type(const valtype *type, json_object *json, const char *key);

static val list_of(const wasmtime_component_list_type_t *type, json_object *json, const char *key)
{
	val list = {.kind = WASMTIME_COMPONENT_LIST};
	valtype element;
	wasmtime_component_list_type_element(type, &element);
	if (element.kind == WASMTIME_COMPONENT_VALTYPE_TUPLE) {
		/* Pairs of a name and something: an object in JSON. */
		if (json && !json_object_is_type(json, json_type_object))
			invalid("%s is not an object", quoted(key));
		valtype second;
		if (!wasmtime_component_tuple_type_types_nth(element.of.tuple, 1, &second))
			fail("the component has a list of other tuples than pairs in its statistics");
		wasmtime_component_vallist_new_uninit(&list.of.list,
						      json ? (size_t)json_object_object_length(json) : 0);
		val *next = list.of.list.data;
		if (json) {
			json_object_object_foreach(json, name, entry) {
				if (!entry)
					invalid("key %s is null", quoted(name));
				val pair[] = {
					{.kind = WASMTIME_COMPONENT_STRING, .of.string = text(name, strlen(name))},
					of_type(&second, entry, name),
				};
				next->kind = WASMTIME_COMPONENT_TUPLE;
				wasmtime_component_valtuple_new(&next++->of.tuple, 2, pair);
			}
		}
		wasmtime_component_valtype_delete(&second);
	} else {
		if (json && !json_object_is_type(json, json_type_array))
			invalid("%s is not a list", quoted(key));
		size_t size = json ? json_object_array_length(json) : 0;
		wasmtime_component_vallist_new_uninit(&list.of.list, size);
		for (size_t i = 0; i < size; i++) {
			json_object *entry = json_object_array_get_idx(json, i);
			if (!entry)
				invalid("%s has a null in it", quoted(key));
			list.of.list.data[i] = of_type(&element, entry, key);
		}
	}
	wasmtime_component_valtype_delete(&element);
	return list;
}

static val record_of(const wasmtime_component_record_type_t *type, json_object *json, const char *key)
{
	if (json && !json_object_is_type(json, json_type_object))
		invalid("%s is not an object", quoted(key));
	val record = {.kind = WASMTIME_COMPONENT_RECORD};
	size_t size = wasmtime_component_record_type_field_count(type);
	wasmtime_component_valrecord_new_uninit(&record.of.record, size);
	wasmtime_component_valrecord_entry_t *fields = record.of.record.data;
	valtype *types = allocate(size, sizeof *types);
	for (size_t i = 0; i < size; i++) {
		const char *name;
		size_t length;
		wasmtime_component_record_type_field_nth(type, i, &name, &length, &types[i]);
		wasm_byte_vec_delete(&fields[i].name);
		fields[i].name = text(name, length);
	}
	struct {
		const char *key;
		json_object *json;
	} *found = allocate(size, sizeof *found);
	if (json) {
		json_object_object_foreach(json, name, entry) {
			wasm_name_t wanted = field_name(name);
			size_t i = 0;
			while (i < size && !same(&fields[i].name, &wanted))
				i++;
			if (i == size)
				invalid("unknown key %s", quoted(name));
			found[i].key = name;
			found[i].json = entry;
			wasm_byte_vec_delete(&wanted);
		}
	}
	for (size_t i = 0; i < size; i++) {
		fields[i].val = of_type(&types[i], found[i].json, found[i].key);
		wasmtime_component_valtype_delete(&types[i]);
	}
	free(found);
	free(types);
	return record;
}

/* A value of that type. Where there is no JSON, it is the one that says that nothing is known. */
static val of_type(const valtype *type, json_object *json, const char *key)
{
	val value = {0};
	switch (type->kind) {
	case WASMTIME_COMPONENT_VALTYPE_U16:
		value.kind = WASMTIME_COMPONENT_U16;
		if (json && number(json, key) > UINT16_MAX)
			invalid("%s is larger than %d", quoted(key), UINT16_MAX);
		value.of.u16 = json ? (uint16_t)number(json, key) : 0;
		return value;
	case WASMTIME_COMPONENT_VALTYPE_U32: /* In the contract, basis-points and nothing else. */
		value.kind = WASMTIME_COMPONENT_U32;
		value.of.u32 = json ? basis_points(json, key) : 0;
		return value;
	case WASMTIME_COMPONENT_VALTYPE_U64:
		value.kind = WASMTIME_COMPONENT_U64;
		value.of.u64 = json ? number(json, key) : 0;
		return value;
	case WASMTIME_COMPONENT_VALTYPE_S64:
		value.kind = WASMTIME_COMPONENT_S64;
		if (json && (!json_object_is_type(json, json_type_int) || json_object_get_uint64(json) > INT64_MAX))
			invalid("%s is not a whole number of 64 bits", quoted(key));
		value.of.s64 = json_object_get_int64(json);
		return value;
	case WASMTIME_COMPONENT_VALTYPE_STRING:
		value.kind = WASMTIME_COMPONENT_STRING;
		value.of.string = json ? string(json, key) : text("", 0);
		return value;
	case WASMTIME_COMPONENT_VALTYPE_OPTION:
		value.kind = WASMTIME_COMPONENT_OPTION;
		if (json) {
			valtype inner;
			wasmtime_component_option_type_ty(type->of.option, &inner);
			val some = of_type(&inner, json, key);
			wasmtime_component_valtype_delete(&inner);
			value.of.option = wasmtime_component_val_new(&some);
		}
		return value;
	case WASMTIME_COMPONENT_VALTYPE_LIST:
		return list_of(type->of.list, json, key);
	case WASMTIME_COMPONENT_VALTYPE_RECORD:
		return record_of(type->of.record, json, key);
	default:
		fail("the component has a type of kind %d in its statistics, which the contract has not", type->kind);
	}
}

/* ---- 2. Scenarios ---- */

/* A figure in nanoseconds, where it is known. */
struct nanoseconds {
	bool known;
	uint64_t ns;
};

/* What may be wrong with a container or a sandbox, where something is. */
struct trouble {
	bool is_there;
	wasm_name_t text;
};

struct container {
	wasm_name_t id;
	uint64_t pids;		   /* live tasks */
	struct nanoseconds cpu;	   /* not known where there is no live thread group */
	val stats;		   /* option<stats>: what the host measures for it alone */
	struct trouble unreadable; /* why it could not be read */
};

/* One reading of a sandbox: a line. */
struct instant {
	wasm_name_t root; /* the ID of the container that was created first */
	uint64_t memory;  /* of the whole sandbox, in bytes */
	struct nanoseconds cgroup_cpu;
	struct trouble memory_outdated; /* why memory could not be brought up to date */
	struct container *containers;
	size_t size;
};

struct scenario {
	struct instant *instants;
	size_t size;
};

/* Refuses what is not an object with these keys. */
static void only_keys(json_object *json, const char *what, const char *const *known)
{
	if (!json_object_is_type(json, json_type_object))
		invalid("%s is not an object", what);
	json_object_object_foreach(json, key, entry) {
		(void)entry;
		const char *const *next = known;
		while (*next && strcmp(*next, key) != 0)
			next++;
		if (!*next)
			invalid("unknown key %s", quoted(key));
	}
}

static struct nanoseconds nanoseconds(json_object *json, const char *key)
{
	json_object *figure = json_object_object_get(json, key);
	return (struct nanoseconds){figure != NULL, figure ? number(figure, key) : 0};
}

static struct trouble trouble(json_object *json, const char *key)
{
	json_object *why = json_object_object_get(json, key);
	return (struct trouble){why != NULL, why ? string(why, key) : text("", 0)};
}

/* One list of runc's block I/O. */
static void join(json_object *rows, json_object *list, const char *column)
{
	size_t next = 0;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *account = json_object_array_get_idx(list, i), *op, *row = NULL;
		only_keys(account, "an entry of block I/O",
			  (const char *const[]){"major", "minor", "op", "value", NULL});
		uint64_t numbers[3];
		const char *keys[3] = {"major", "minor", "value"};
		for (int k = 0; k < 3; k++) {
			json_object *figure = json_object_object_get(account, keys[k]);
			numbers[k] = figure ? number(figure, keys[k]) : 0;
		}
		op = json_object_object_get(account, "op");
		op = op ? json_object_get(op) : json_object_new_string("");

		size_t rest = next, size = json_object_array_length(rows);
		for (; rest < size; rest++) {
			row = json_object_array_get_idx(rows, rest);
			if (json_object_get_uint64(json_object_object_get(row, "major")) == numbers[0] &&
			    json_object_get_uint64(json_object_object_get(row, "minor")) == numbers[1] &&
			    json_object_equal(json_object_object_get(row, "op"), op))
				break;
		}
		if (rest == size) {
			row = json_object_new_object();
			json_object_object_add(row, "major", json_object_new_uint64(numbers[0]));
			json_object_object_add(row, "minor", json_object_new_uint64(numbers[1]));
			json_object_object_add(row, "op", json_object_get(op));
			json_object_array_add(rows, row);
		}
		json_object_object_add(row, column, json_object_new_uint64(numbers[2]));
		json_object_put(op);
		next = rest + 1;
	}
}

/* Brings block I/O from runc's form, eight lists of devices, into that of the contract: one list, with a row for each
 * device and kind of operation. Lists of the same order, which the kernel's are, share their rows. */
static void join_lists(json_object *blkio)
{
	static const char *const LISTS[8][2] = {
		{"ioServiceBytesRecursive", "io-service-bytes"},
		{"ioServicedRecursive", "io-serviced"},
		{"ioQueueRecursive", "io-queued"},
		{"ioServiceTimeRecursive", "io-service-time"},
		{"ioWaitTimeRecursive", "io-wait-time"},
		{"ioMergedRecursive", "io-merged"},
		{"ioTimeRecursive", "io-time"},
		{"sectorsRecursive", "sectors"},
	};
	only_keys(blkio, "\"blkio\"",
		  (const char *const[]){LISTS[0][0], LISTS[1][0], LISTS[2][0], LISTS[3][0], LISTS[4][0], LISTS[5][0],
					LISTS[6][0], LISTS[7][0], "psi", NULL});
	json_object *rows = json_object_new_array();
	for (int i = 0; i < 8; i++) {
		json_object *list;
		if (!json_object_object_get_ex(blkio, LISTS[i][0], &list))
			continue;
		if (!json_object_is_type(list, json_type_array))
			invalid("%s is not a list", quoted(LISTS[i][0]));
		join(rows, list, LISTS[i][1]);
		json_object_object_del(blkio, LISTS[i][0]);
	}
	json_object_object_add(blkio, "entries", rows);
}

static struct container read_container(json_object *json, const valtype *stats)
{
	only_keys(json, "a container", (const char *const[]){"id", "pids", "cpu_ns", "stats", "error", NULL});
	struct container container = {
		.id = string(json_object_object_get(json, "id"), "id"),
		.pids = number(json_object_object_get(json, "pids"), "pids"),
		.cpu = nanoseconds(json, "cpu_ns"),
		.stats.kind = WASMTIME_COMPONENT_OPTION,
		.unreadable = trouble(json, "error"),
	};
	if (memchr(container.id.data, 0, container.id.size))
		invalid("a container ID has a NUL in it: %s",
			json_object_to_json_string(json_object_object_get(json, "id")));
	json_object *measured = json_object_object_get(json, "stats"), *blkio;
	if (json_object_is_type(measured, json_type_object) &&
	    json_object_object_get_ex(measured, "blkio", &blkio) && blkio)
		join_lists(blkio);
	if (measured) {
		val some = of_type(stats, measured, "stats");
		container.stats.of.option = wasmtime_component_val_new(&some);
	}
	return container;
}

static struct instant read_instant(json_object *json, const valtype *stats)
{
	only_keys(json, "it",
		  (const char *const[]){"dialect", "root", "memory_bytes", "cgroup_cpu_ns", "containers",
					"update_memory_error", NULL});
	json_object *dialect;
	if (json_object_object_get_ex(json, "dialect", &dialect) &&
	    (!dialect || (strcmp(json_object_get_string(dialect), "runc") != 0 &&
			  strcmp(json_object_get_string(dialect), "runsc") != 0)))
		invalid("%s is neither \"runc\" nor \"runsc\"", quoted("dialect"));
	json_object *list = json_object_object_get(json, "containers");
	if (!json_object_is_type(list, json_type_array))
		invalid("%s is not a list", quoted("containers"));
	struct instant instant = {
		.root = string(json_object_object_get(json, "root"), "root"),
		.memory = number(json_object_object_get(json, "memory_bytes"), "memory_bytes"),
		.cgroup_cpu = nanoseconds(json, "cgroup_cpu_ns"),
		.memory_outdated = trouble(json, "update_memory_error"),
		.size = json_object_array_length(list),
	};
	instant.containers = allocate(instant.size, sizeof *instant.containers);
	bool has_root = instant.size == 0;
	json_object *ids = json_object_new_object();
	for (size_t i = 0; i < instant.size; i++) {
		json_object *container = json_object_array_get_idx(list, i);
		instant.containers[i] = read_container(container, stats);
		const char *id = json_object_get_string(json_object_object_get(container, "id"));
		if (json_object_object_get_ex(ids, id, NULL))
			invalid("duplicate container ID %s", quoted(id));
		json_object_object_add(ids, id, NULL);
		has_root |= same(&instant.containers[i].id, &instant.root);
	}
	json_object_put(ids);
	if (!has_root)
		invalid("root container %s is not among the containers",
			json_object_to_json_string(json_object_object_get(json, "root")));
	return instant;
}

/* Refuses what json-c would change without a word: it takes the nearest number where one has more than 64 bits, and
 * the beginning of a key with a NUL in it. */
static void check_exact(const char *line)
{
	bool in_string = false, has_nul = false;
	for (const char *c = line; *c; c++) {
		if (in_string && *c == '\\') {
			has_nul |= strncmp(++c, "u0000", 5) == 0;
			if (!*c)
				return;
		} else if (*c == '"') {
			in_string = !in_string;
			if (!in_string && has_nul && c[1 + strspn(c + 1, " \t\r")] == ':')
				invalid("a key has a NUL in it: column %td", c - line + 1);
			has_nul = false;
		} else if (!in_string && isdigit((unsigned char)*c)) {
			const char *largest = c > line && c[-1] == '-' ? "9223372036854775808" : "18446744073709551615";
			size_t size = strspn(c, "0123456789"), most = strlen(largest);
			if (size > most || (size == most && strncmp(c, largest, size) > 0))
				invalid("%.*s is too large a number", (int)(size < 40 ? size : 40), c);
			c += size - 1;
		}
	}
}

static json_object *parse(const char *line, size_t size)
{
	check_exact(line);
	json_tokener *tokener = json_tokener_new();
	if (!tokener)
		fail("there is no memory left");
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* The NUL behind the line tells that it ends there. */
	json_object *json = json_tokener_parse_ex(tokener, line, (int)size + 1);
	enum json_tokener_error error = json_tokener_get_error(tokener);
	size_t end = json_tokener_get_parse_end(tokener);
	if (error != json_tokener_success)
		fail("not a valid scenario: %s:%zu:%zu: %s", at.file, at.line, end + 1, json_tokener_error_desc(error));
	if (end < size)
		fail("not a valid scenario: %s:%zu:%zu: something stands behind the end", at.file, at.line, end + 1);
	json_tokener_free(tokener);
	return json;
}

/* Reads a scenario: an instant a line. */
static struct scenario read_scenario(const char *path, const valtype *stats)
{
	struct scenario scenario = {NULL, 0};
	FILE *file = fopen(path, "r");
	if (!file)
		fail("cannot read scenario %s: %s", path, strerror(errno));
	char *line = NULL;
	size_t room = 0, all = 0;
	ssize_t size;
	at.file = path;
	for (at.line = 1; (size = getline(&line, &room, file)) >= 0; at.line++) {
		all += (size_t)size;
		if (all > LARGEST)
			fail("cannot read scenario %s: it is larger than %d bytes", path, LARGEST);
		while (size > 0 && isspace((unsigned char)line[size - 1]))
			line[--size] = '\0';
		if (size == 0)
			continue;
		json_object *json = parse(line, (size_t)size);
		scenario.instants = realloc(scenario.instants, (scenario.size + 1) * sizeof *scenario.instants);
		if (!scenario.instants)
			fail("there is no memory left");
		scenario.instants[scenario.size++] = read_instant(json, stats);
		json_object_put(json);
	}
	if (ferror(file))
		fail("cannot read scenario %s: %s", path, strerror(errno));
	if (scenario.size == 0)
		fail("not a valid scenario: %s has no instant in it", path);
	free(line);
	fclose(file);
	return scenario;
}

static void delete_scenario(struct scenario *scenario)
{
	for (size_t i = 0; i < scenario->size; i++) {
		struct instant *instant = &scenario->instants[i];
		for (size_t k = 0; k < instant->size; k++) {
			wasm_byte_vec_delete(&instant->containers[k].id);
			wasmtime_component_val_delete(&instant->containers[k].stats);
			wasm_byte_vec_delete(&instant->containers[k].unreadable.text);
		}
		free(instant->containers);
		wasm_byte_vec_delete(&instant->root);
		wasm_byte_vec_delete(&instant->memory_outdated.text);
	}
	free(scenario->instants);
}

/* ---- 3. What the component asks ---- */

static val u64(uint64_t figure)
{
	return (val){.kind = WASMTIME_COMPONENT_U64, .of.u64 = figure};
}

static val copied(const wasm_name_t *bytes)
{
	return (val){.kind = WASMTIME_COMPONENT_STRING, .of.string = text(bytes->data, bytes->size)};
}

static val ok(val payload)
{
	return (val){.kind = WASMTIME_COMPONENT_RESULT,
		     .of.result = {.is_ok = true, .val = wasmtime_component_val_new(&payload)}};
}

static val error(const char *name, val *payload)
{
	val variant = {.kind = WASMTIME_COMPONENT_VARIANT,
		       .of.variant = {.discriminant = text(name, strlen(name)), .val = payload}};
	return (val){.kind = WASMTIME_COMPONENT_RESULT,
		     .of.result = {.is_ok = false, .val = wasmtime_component_val_new(&variant)}};
}

static val not_found(void)
{
	return error("container-not-found", NULL);
}

static val unavailable(const wasm_name_t *why)
{
	val payload = copied(why);
	return error("unavailable", wasmtime_component_val_new(&payload));
}

static const struct container *find(const struct instant *now, const wasm_name_t *id)
{
	for (size_t i = 0; i < now->size; i++)
		if (same(&now->containers[i].id, id))
			return &now->containers[i];
	return NULL;
}

static val pids_count(const struct instant *now, const wasm_name_t *id)
{
	const struct container *container = find(now, id);
	if (!container)
		return not_found();
	return container->unreadable.is_there ? unavailable(&container->unreadable.text) : ok(u64(container->pids));
}

static val update_memory_usage(const struct instant *now, const wasm_name_t *id)
{
	(void)id;
	if (now->memory_outdated.is_there)
		return unavailable(&now->memory_outdated.text);
	return (val){.kind = WASMTIME_COMPONENT_RESULT, .of.result = {.is_ok = true, .val = NULL}};
}

/* A record of `size` fields, which are moved there. */
static val record(size_t size, wasmtime_component_valrecord_entry_t *fields)
{
	val record = {.kind = WASMTIME_COMPONENT_RECORD};
	wasmtime_component_valrecord_new(&record.of.record, size, fields);
	return record;
}

static wasmtime_component_valrecord_entry_t field(const char *name, val value)
{
	return (wasmtime_component_valrecord_entry_t){text(name, strlen(name)), value};
}

/* The CPU time of each container that has some. All IDs are one text, with a NUL between each and the next. */
static val container_cpu(const struct instant *now)
{
	size_t bytes = 0, listed = 0;
	for (size_t i = 0; i < now->size; i++)
		if (now->containers[i].cpu.known) {
			bytes += now->containers[i].id.size + (listed > 0);
			listed++;
		}
	val ids = {.kind = WASMTIME_COMPONENT_STRING}, usage = {.kind = WASMTIME_COMPONENT_LIST};
	wasm_byte_vec_new_uninitialized(&ids.of.string, bytes);
	wasmtime_component_vallist_new_uninit(&usage.of.list, listed);
	char *next = ids.of.string.data;
	listed = 0;
	for (size_t i = 0; i < now->size; i++) {
		const struct container *container = &now->containers[i];
		if (!container->cpu.known)
			continue;
		if (listed > 0)
			*next++ = '\0';
		memcpy(next, container->id.data, container->id.size);
		next += container->id.size;
		usage.of.list.data[listed++] = u64(container->cpu.ns);
	}
	return record(2, (wasmtime_component_valrecord_entry_t[]){field("containers", ids), field("usage", usage)});
}

static val usage(const struct instant *now, const wasm_name_t *id)
{
	(void)id;
	val id_of_root = copied(&now->root);
	val root = {.kind = WASMTIME_COMPONENT_OPTION, .of.option = wasmtime_component_val_new(&id_of_root)};
	return ok(record(4, (wasmtime_component_valrecord_entry_t[]){
				    field("memory", u64(now->memory)),
				    field("container-count", u64(now->size)),
				    field("root-container", root),
				    field("cpu", container_cpu(now)),
			    }));
}

static val cgroup_cpu_usage(const struct instant *now, const wasm_name_t *id)
{
	(void)id;
	val option = {.kind = WASMTIME_COMPONENT_OPTION}, figure = u64(now->cgroup_cpu.ns);
	if (now->cgroup_cpu.known)
		option.of.option = wasmtime_component_val_new(&figure);
	return ok(option);
}

static val container_stats(const struct instant *now, const wasm_name_t *id)
{
	const struct container *container = find(now, id);
	if (!container)
		return not_found();
	val stats;
	wasmtime_component_val_clone(&container->stats, &stats);
	return ok(stats);
}

/* Each answers from one instant, with a value that its caller owns. */
static const struct function {
	const char *name;
	val (*answer)(const struct instant *now, const wasm_name_t *id);
	bool has_id; /* Whether it is about one container, and asked for it by its ID. */
} FUNCTIONS[] = {
	{"pids-count", pids_count, true},
	{"update-memory-usage", update_memory_usage, false},
	{"usage", usage, false},
	{"cgroup-cpu-usage", cgroup_cpu_usage, false},
	{"container-stats", container_stats, true},
};

/* What wasmtime calls for all of them. The error that is returned from here is a trap: it is for components that have
 * another contract. */
static wasmtime_error_t *call_function(void *data, wasmtime_context_t *context,
				       const wasmtime_component_func_type_t *type, val *arguments,
				       size_t arguments_size, val *results, size_t results_size)
{
	(void)type;
	const struct function *function = data;
	bool has_id = arguments_size == 1 && arguments[0].kind == WASMTIME_COMPONENT_STRING;
	if (has_id != function->has_id || results_size != 1)
		return wasmtime_error_new("the component has another contract");
	results[0] = function->answer(wasmtime_context_get_data(context), has_id ? &arguments[0].of.string : NULL);
	return NULL;
}

/* ---- 4. The component ---- */

static wasm_engine_t *engine;
static volatile sig_atomic_t timed_out;

/* Ends the call that is under way: wasmtime looks at the epoch in each loop and function. A program with threads would
 * have one of them do this instead. */
static void on_alarm(int signal)
{
	(void)signal;
	timed_out = 1;
	wasmtime_engine_increment_epoch(engine);
}

/* Gives the component that much time from now on, until `alarm(0)`. */
static void limit_time(wasmtime_context_t *context)
{
	timed_out = 0;
	wasmtime_context_set_epoch_deadline(context, 1);
	alarm(SECONDS);
}

/* Ends the program where wasmtime has an error to tell. */
static void check(wasmtime_error_t *error, const char *what)
{
	if (!error)
		return;
	if (timed_out)
		fail("cannot %s: it took longer than %d s", what, SECONDS);
	wasm_name_t message;
	wasmtime_error_message(error, &message);
	fail("cannot %s: %.*s", what, (int)message.size, message.data);
}

static wasmtime_component_t *read_component(const char *path)
{
	FILE *file = fopen(path, "rb");
	if (!file)
		fail("cannot read component %s: %s", path, strerror(errno));
	uint8_t *bytes = NULL;
	size_t size = 0, got;
	do {
		bytes = realloc(bytes, size + (1 << 20));
		if (!bytes)
			fail("there is no memory left");
		got = fread(bytes + size, 1, 1 << 20, file);
		size += got;
		if (size > LARGEST)
			fail("cannot read component %s: it is larger than %d bytes", path, LARGEST);
	} while (got > 0);
	if (ferror(file))
		fail("cannot read component %s: %s", path, strerror(errno));
	fclose(file);
	wasmtime_component_t *component;
	check(wasmtime_component_new(engine, bytes, size, &component), "compile the component");
	free(bytes);
	return component;
}

/* The contract's type `stats`, as the component has it. */
static valtype stats_type(const wasmtime_component_t *component)
{
	static const char INTERFACE[] = "eventout:stats/types@0.1.0", NAME[] = "stats";
	wasmtime_component_type_t *whole = wasmtime_component_type(component);
	wasmtime_component_item_t interface, item;
	if (!wasmtime_component_type_import_get(whole, engine, INTERFACE, strlen(INTERFACE), &interface) ||
	    interface.kind != WASMTIME_COMPONENT_ITEM_COMPONENT_INSTANCE ||
	    !wasmtime_component_instance_type_export_get(interface.of.component_instance, engine, NAME, strlen(NAME),
							 &item) ||
	    item.kind != WASMTIME_COMPONENT_ITEM_TYPE)
		fail("the component does not import the type %s of %s", NAME, INTERFACE);
	wasmtime_component_item_delete(&interface);
	wasmtime_component_type_delete(whole);
	return item.of.type;
}

static wasmtime_component_linker_t *link_functions(void)
{
	static const char INTERFACE[] = "eventout:stats/sandbox@0.1.0";
	wasmtime_component_linker_t *linker = wasmtime_component_linker_new(engine);
	wasmtime_component_linker_instance_t *root = wasmtime_component_linker_root(linker), *sandbox;
	check(wasmtime_component_linker_instance_add_instance(root, INTERFACE, strlen(INTERFACE), &sandbox),
	      "define the host's interface");
	for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
		check(wasmtime_component_linker_instance_add_func(sandbox, FUNCTIONS[i].name, strlen(FUNCTIONS[i].name),
								  call_function, (void *)&FUNCTIONS[i], NULL),
		      "define the host's functions");
	wasmtime_component_linker_instance_delete(sandbox);
	wasmtime_component_linker_instance_delete(root);
	return linker;
}

static wasmtime_component_func_t exported(const wasmtime_component_instance_t *instance, wasmtime_context_t *context,
					  const char *name)
{
	static const char INTERFACE[] = "eventout:stats/events@0.1.0";
	wasmtime_component_func_t function;
	wasmtime_component_export_index_t *interface, *index = NULL;
	interface = wasmtime_component_instance_get_export_index(instance, context, NULL, INTERFACE, strlen(INTERFACE));
	if (interface)
		index = wasmtime_component_instance_get_export_index(instance, context, interface, name, strlen(name));
	if (!index || !wasmtime_component_instance_get_func(instance, context, index, &function))
		fail("the component does not export the function %s of %s", name, INTERFACE);
	wasmtime_component_export_index_delete(index);
	wasmtime_component_export_index_delete(interface);
	return function;
}

/* Calls a function of `events` and prints what it answers. `dialect` is NULL for one that takes none. */
static void print(const wasmtime_component_func_t *function, wasmtime_context_t *context, const wasm_name_t *id,
		  const char *dialect)
{
	val arguments[2] = {{.kind = WASMTIME_COMPONENT_STRING, .of.string = *id}}, result = {0};
	if (dialect) {
		arguments[1].kind = WASMTIME_COMPONENT_ENUM;
		arguments[1].of.enumeration = text(dialect, strlen(dialect));
	}
	limit_time(context);
	wasmtime_error_t *error =
		wasmtime_component_func_call(function, context, arguments, dialect ? 2 : 1, &result, 1);
	alarm(0);
	check(error, "get an event");

	const val *payload = result.kind == WASMTIME_COMPONENT_RESULT ? result.of.result.val : NULL;
	if (payload && payload->kind == WASMTIME_COMPONENT_VARIANT) {
		const wasm_name_t *name = &payload->of.variant.discriminant;
		printf("error %.*s: ", (int)name->size, name->data);
		payload = payload->of.variant.val;
	}
	if (!payload || payload->kind != WASMTIME_COMPONENT_STRING)
		fail("cannot get an event: the component has another contract");
	fwrite(payload->of.string.data, 1, payload->of.string.size, stdout);
	putchar('\n');
	wasmtime_component_val_delete(&result);
	if (dialect)
		wasm_byte_vec_delete(&arguments[1].of.enumeration);
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: replay COMPONENT SCENARIO\n", stderr);
		return 2;
	}
	wasm_config_t *config = wasm_config_new();
	wasmtime_config_epoch_interruption_set(config, true);
	engine = wasm_engine_new_with_config(config);
	wasmtime_component_t *component = read_component(argv[1]);
	valtype stats = stats_type(component);
	struct scenario scenario = read_scenario(argv[2], &stats);

	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_RESTART}, NULL);
	wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
	/* The component has one memory, and two small tables. */
	wasmtime_store_limiter(store, MEMORY, 1 << 16, -1, 2, 1);
	wasmtime_context_t *context = wasmtime_store_context(store);
	wasmtime_component_linker_t *linker = link_functions();
	wasmtime_component_instance_t instance;
	limit_time(context);
	check(wasmtime_component_linker_instantiate(linker, context, component, &instance),
	      "instantiate the component");
	alarm(0);
	wasmtime_component_func_t event_json = exported(&instance, context, "event-json");
	wasmtime_component_func_t stats_json = exported(&instance, context, "stats-json");

	wasm_name_t nobody = text("no such \"container\"", strlen("no such \"container\""));
	for (size_t i = 0; i < scenario.size; i++) {
		struct instant *now = &scenario.instants[i];
		wasmtime_context_set_data(context, now);
		for (size_t k = 0; k <= now->size; k++) {
			const wasm_name_t *id = k < now->size ? &now->containers[k].id : &nobody;
			print(&event_json, context, id, NULL);
			print(&stats_json, context, id, "runsc");
			print(&stats_json, context, id, "runc");
		}
	}
	if (fflush(stdout) != 0 || ferror(stdout))
		fail("cannot write: %s", strerror(errno));

	wasm_byte_vec_delete(&nobody);
	delete_scenario(&scenario);
	wasmtime_component_linker_delete(linker);
	wasmtime_store_delete(store);
	wasmtime_component_valtype_delete(&stats);
	wasmtime_component_delete(component);
	wasm_engine_delete(engine);
	return 0;
}
