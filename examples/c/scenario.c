/*
 * Makes values of the component model from JSON, by the types that the component itself brings: there is no list of the
 * fields of `stats` here. Facts are checked when they are used.
 */

#include "scenario.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

typedef wasmtime_component_val_t val;
typedef wasmtime_component_valtype_t valtype;

/* The room for a key. */
enum { KEY = 64 };

/* What was read last, for messages. */
static size_t line_number;
static char key[KEY] = "sample";

_Noreturn void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fflush(stdout);
	fputs("replay: ", stderr);
	if (line_number)
		fprintf(stderr, "line %zu: ", line_number);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	exit(1);
}

/* Requires a value, if there is one, to be of that type. To json-c, null is no value. */
static void expect(json_object *json, enum json_type type)
{
	if (json && !json_object_is_type(json, type))
		fail("%s: not of type %s", key, json_type_to_name(type));
}

static json_object *get(json_object *json, const char *name)
{
	snprintf(key, sizeof key, "%s", name);
	return json_object_object_get(json, key);
}

static json_object *get_required(json_object *json, const char *name, enum json_type type)
{
	json_object *entry = get(json, name);
	if (!entry)
		fail("%s: missing", key);
	expect(entry, type);
	return entry;
}

/* Requires an object, if there is one, to have no keys but these. */
static void expect_keys(json_object *json, char known[][KEY], size_t size)
{
	expect(json, json_type_object);
	if (!json)
		return;
	json_object_object_foreach(json, name, entry) {
		size_t i = 0;
		while (i < size && strcmp(name, known[i]) != 0)
			i++;
		if (i == size)
			fail("unknown key %s: %s", json_object_to_json_string(json_object_new_string(name)),
			     json_object_to_json_string(entry));
	}
}

wasm_name_t borrow(json_object *string)
{
	expect(string, json_type_string);
	return (wasm_name_t){(size_t)json_object_get_string_len(string), (char *)json_object_get_string(string)};
}

wasm_name_t copy(const char *bytes, size_t size)
{
	wasm_name_t name;
	wasm_byte_vec_new(&name, size, bytes);
	return name;
}

static uint64_t number(json_object *json, uint64_t largest)
{
	expect(json, json_type_int);
	if (json_object_get_int64(json) < 0 || json_object_get_uint64(json) > largest)
		fail("%s: out of range", key);
	return json_object_get_uint64(json);
}

static val value_of(const valtype *type, json_object *json, bool partial);

static val record_of(const wasmtime_component_record_type_t *type, json_object *json, bool partial)
{
	expect(json, json_type_object);
	val record = {.kind = WASMTIME_COMPONENT_RECORD};
	size_t size = wasmtime_component_record_type_field_count(type), length;
	wasmtime_component_valrecord_new_uninit(&record.of.record, size);
	char(*keys)[KEY] = calloc(size, KEY);
	if (!keys)
		fail("out of memory");
	for (size_t i = 0; i < size; i++) {
		const char *name;
		valtype inner;
		wasmtime_component_record_type_field_nth(type, i, &name, &length, &inner);
		snprintf(keys[i], KEY, "%.*s", (int)length, name);
		for (char *c = keys[i]; (c = strchr(c, '-'));)
			*c = '_';
		bool is_option = inner.kind == WASMTIME_COMPONENT_VALTYPE_OPTION;
		record.of.record.data[i].name = copy(name, length);
		record.of.record.data[i].val = value_of(&inner, get(json, keys[i]), partial && !is_option);
		wasmtime_component_valtype_delete(&inner);
	}
	expect_keys(json, keys, size);
	free(keys);
	return record;
}

/* Returns the value of that type for which JSON stands. If there is no JSON, an option is `none`, and anything else is
 * an error, unless `partial` is set: then it is 0, an empty list, or a record of such values. Items of lists and records
 * in options are never partial. */
static val value_of(const valtype *type, json_object *json, bool partial)
{
	val value = {0};
	valtype inner;
	size_t size;
	if (!json && !partial && type->kind != WASMTIME_COMPONENT_VALTYPE_OPTION)
		fail("%s: missing", key);
	switch (type->kind) {
	case WASMTIME_COMPONENT_VALTYPE_BOOL:
		expect(json, json_type_boolean);
		return (val){WASMTIME_COMPONENT_BOOL, {.boolean = json_object_get_boolean(json)}};
	case WASMTIME_COMPONENT_VALTYPE_U16:
		return (val){WASMTIME_COMPONENT_U16, {.u16 = (uint16_t)number(json, UINT16_MAX)}};
	case WASMTIME_COMPONENT_VALTYPE_U32:
		return (val){WASMTIME_COMPONENT_U32, {.u32 = (uint32_t)number(json, UINT32_MAX)}};
	case WASMTIME_COMPONENT_VALTYPE_U64:
		return (val){WASMTIME_COMPONENT_U64, {.u64 = number(json, UINT64_MAX)}};
	case WASMTIME_COMPONENT_VALTYPE_S64:
		expect(json, json_type_int);
		if (json_object_get_uint64(json) > INT64_MAX)
			fail("%s: out of range", key);
		return (val){WASMTIME_COMPONENT_S64, {.s64 = json_object_get_int64(json)}};
	case WASMTIME_COMPONENT_VALTYPE_STRING: {
		wasm_name_t string = borrow(json);
		return (val){WASMTIME_COMPONENT_STRING, {.string = copy(string.data, string.size)}};
	}
	case WASMTIME_COMPONENT_VALTYPE_OPTION:
		value.kind = WASMTIME_COMPONENT_OPTION;
		if (json) {
			wasmtime_component_option_type_ty(type->of.option, &inner);
			val some = value_of(&inner, json, partial);
			value.of.option = wasmtime_component_val_new(&some);
			wasmtime_component_valtype_delete(&inner);
		}
		return value;
	case WASMTIME_COMPONENT_VALTYPE_LIST:
		expect(json, json_type_array);
		size = json ? json_object_array_length(json) : 0;
		value.kind = WASMTIME_COMPONENT_LIST;
		wasmtime_component_vallist_new_uninit(&value.of.list, size);
		wasmtime_component_list_type_element(type->of.list, &inner);
		for (size_t i = 0; i < size; i++)
			value.of.list.data[i] = value_of(&inner, json_object_array_get_idx(json, i), false);
		wasmtime_component_valtype_delete(&inner);
		return value;
	case WASMTIME_COMPONENT_VALTYPE_TUPLE:
		size = wasmtime_component_tuple_type_types_count(type->of.tuple);
		if (!json_object_is_type(json, json_type_array) || json_object_array_length(json) != size)
			fail("%s: not an array of %zu", key, size);
		value.kind = WASMTIME_COMPONENT_TUPLE;
		wasmtime_component_valtuple_new_uninit(&value.of.tuple, size);
		for (size_t i = 0; i < size; i++) {
			wasmtime_component_tuple_type_types_nth(type->of.tuple, i, &inner);
			value.of.tuple.data[i] = value_of(&inner, json_object_array_get_idx(json, i), false);
			wasmtime_component_valtype_delete(&inner);
		}
		return value;
	case WASMTIME_COMPONENT_VALTYPE_RECORD:
		return record_of(type->of.record, json, partial);
	default:
		fail("the component has another contract: %s is of type %d", key, type->kind);
	}
}

val get_fact(json_object *from, const char *name, const valtype *type)
{
	/* A fact that may be absent may be partial, too: the statistics of a container. */
	return value_of(type, get(from, name), type->kind == WASMTIME_COMPONENT_VALTYPE_OPTION);
}

json_object *find_container(json_object *sandbox, wasm_name_t id)
{
	json_object *containers = json_object_object_get(sandbox, "containers");
	for (size_t i = 0; containers && i < json_object_array_length(containers); i++) {
		json_object *container = json_object_array_get_idx(containers, i);
		wasm_name_t candidate = borrow(json_object_object_get(container, "id"));
		if (candidate.size == id.size && memcmp(candidate.data, id.data, id.size) == 0)
			return container;
	}
	return NULL;
}

/* Checks a sandbox of a sample, and adds those facts to it that a scenario has elsewhere. */
static void check_sandbox(json_object *sandbox, json_object *sample)
{
	char keys[][KEY] = {"format", "root_container", "memory_usage", "cgroup_cpu_usage", "containers"};
	char container_keys[][KEY] = {"id", "pids_count", "cpu_usage", "stats", "error", "details"};
	expect_keys(sandbox, keys, sizeof keys / KEY);
	wasm_name_t root = borrow(get_required(sandbox, "root_container", json_type_string));
	const char *format = json_object_get_string(get(sandbox, "format"));
	if (format && strcmp(format, "gvisor") != 0 && strcmp(format, "runc") != 0)
		fail("format: neither \"gvisor\" nor \"runc\"");
	json_object *containers = get_required(sandbox, "containers", json_type_array);
	json_object *usage = json_object_new_array();
	size_t size = json_object_array_length(containers);
	for (size_t i = 0; i < size; i++) {
		json_object *container = json_object_array_get_idx(containers, i), *first = NULL;
		expect_keys(container, container_keys, sizeof container_keys / KEY);
		json_object *id = get_required(container, "id", json_type_string);
		for (size_t k = 0; !first; k++)
			first = find_container(json_object_array_get_idx(sample, k), borrow(id));
		if (first != container)
			fail("two containers have the ID %s", json_object_to_json_string(id));
		expect(get(container, "error"), json_type_string);
		expect(get(container, "details"), json_type_object);
		json_object *time = get(container, "cpu_usage");
		if (time) {
			json_object *pair = json_object_new_array();
			json_object_array_add(pair, json_object_get(id));
			json_object_array_add(pair, json_object_get(time));
			json_object_array_add(usage, pair);
		}
	}
	if (size > 0 && !find_container(sandbox, root))
		fail("root_container: not the ID of a container");
	json_object_object_add(sandbox, "container_count", json_object_new_uint64(size));
	json_object_object_add(sandbox, "cpu_usage", usage);
}

/* Requires integers to have at most 64 bits: json-c takes the nearest one that has. */
static void check_integers(const char *line)
{
	for (const char *c = line; *c; c++) {
		if (*c == '"') {
			while (*++c != '"')
				c += *c == '\\';
		} else if (isdigit((unsigned char)*c)) {
			char *end;
			errno = 0;
			if (c > line && c[-1] == '-')
				strtoll(c - 1, &end, 10);
			else
				strtoull(c, &end, 10);
			if (errno == ERANGE)
				fail("not an integer of 64 bits: %.*s", (int)(end - c), c);
			c = end - 1;
		}
	}
}

json_object *read_sample(FILE *scenario)
{
	char *line = NULL;
	size_t room = 0;
	do {
		line_number++;
		if (getline(&line, &room, scenario) < 0) {
			free(line);
			line_number = 0;
			return NULL;
		}
	} while (line[strspn(line, " \t\r\n")] == '\0');

	json_tokener *tokener = json_tokener_new();
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	json_object *sample = json_tokener_parse_ex(tokener, line, -1);
	enum json_tokener_error error = json_tokener_get_error(tokener);
	if (error != json_tokener_success)
		fail("column %zu: %s", json_tokener_get_parse_end(tokener) + 1, json_tokener_error_desc(error));
	json_tokener_free(tokener);
	check_integers(line);
	free(line);

	if (!json_object_is_type(sample, json_type_array)) {
		json_object *sandbox = sample;
		sample = json_object_new_array();
		json_object_array_add(sample, sandbox);
	}
	for (size_t i = 0; i < json_object_array_length(sample); i++)
		check_sandbox(json_object_array_get_idx(sample, i), sample);
	return sample;
}
