/*
 * Replays a scenario: prints the events of all its containers, sample by sample.
 *
 * The component imports seven functions, each of which returns one fact about a sandbox. They are in the first part of
 * this file. Here the facts come from a line of the scenario (scenario.c); another host would take them from its own
 * containers. In the second part the component is called, within limits of time and memory.
 */

#include "scenario.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The limits of one call: seconds, and bytes of the component's memory. */
enum { SECONDS = 1, MEMORY = 64 << 20 };

/* The largest component, in bytes. */
enum { LARGEST = 64 << 20 };

typedef wasmtime_component_val_t val;
typedef wasmtime_component_valtype_t valtype;

/* ---- 1. Host functions ---- */

/* The functions that the component imports, and the keys of their results in a sample. */
static const struct function {
	const char *name, *key;
} FUNCTIONS[] = {
	{"pids-count", "pids_count"},
	{"memory-usage", "memory_usage"},
	{"container-count", "container_count"},
	{"root-container", "root_container"},
	{"cpu-usage", "cpu_usage"},
	{"cgroup-cpu-usage", "cgroup_cpu_usage"},
	{"container-stats", "stats"},
};

static val result(bool is_ok, val payload)
{
	return (val){WASMTIME_COMPONENT_RESULT, {.result = {is_ok, wasmtime_component_val_new(&payload)}}};
}

/* `explanation` is NULL for an error without a payload. */
static val error(const char *name, json_object *explanation)
{
	val variant = {WASMTIME_COMPONENT_VARIANT, {.variant = {copy(name, strlen(name)), NULL}}};
	if (explanation) {
		wasm_name_t text = borrow(explanation);
		val payload = {WASMTIME_COMPONENT_STRING, {.string = copy(text.data, text.size)}};
		variant.of.variant.val = wasmtime_component_val_new(&payload);
	}
	return result(false, variant);
}

/* Called by wasmtime for each of the functions. The data of the context is the sandbox; the parameter, if there is one,
 * is the ID of a container in it. The error that is returned from here is a trap: it is for components that have
 * another contract. */
static wasmtime_error_t *call_function(void *data, wasmtime_context_t *context,
				       const wasmtime_component_func_type_t *type, val *parameters, size_t count,
				       val *results, size_t results_count)
{
	const struct function *function = data;
	json_object *from = wasmtime_context_get_data(context), *explanation;
	valtype whole, fact; /* the type result<fact, error>, and what is in it */
	if (count > 1 || (count == 1 && parameters[0].kind != WASMTIME_COMPONENT_STRING) || results_count != 1 ||
	    !wasmtime_component_func_type_result(type, &whole) || whole.kind != WASMTIME_COMPONENT_VALTYPE_RESULT ||
	    !wasmtime_component_result_type_ok(whole.of.result, &fact))
		return wasmtime_error_new("the component has another contract");
	if (count == 1)
		from = find_container(from, parameters[0].of.string);
	if (!from)
		results[0] = error("container-not-found", NULL);
	else if (json_object_object_get_ex(from, "error", &explanation))
		results[0] = error("unavailable", explanation);
	else
		results[0] = result(true, get_fact(from, function->key, &fact));
	wasmtime_component_valtype_delete(&fact);
	wasmtime_component_valtype_delete(&whole);
	return NULL;
}

/* ---- 2. The component ---- */

static wasm_engine_t *engine;
static wasmtime_context_t *context;
static wasmtime_component_func_t event_json, stats_json;
static volatile sig_atomic_t timed_out;

/* Ends the current call: wasmtime looks at the epoch in each loop and function. In a program with threads, one of them
 * would do this instead. */
static void on_alarm(int signal)
{
	(void)signal;
	timed_out = 1;
	wasmtime_engine_increment_epoch(engine);
}

/* Limits the time from now on, until `alarm(0)`. */
static void limit_time(void)
{
	timed_out = 0;
	wasmtime_context_set_epoch_deadline(context, 1);
	alarm(SECONDS);
}

/* Ends the program if there is an error. */
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
	uint8_t *bytes = malloc(LARGEST);
	size_t size = file && bytes ? fread(bytes, 1, LARGEST, file) : 0;
	if (!file || !bytes || ferror(file))
		fail("cannot read component %s: %s", path, strerror(errno));
	if (size == LARGEST)
		fail("cannot read component %s: it has %d bytes or more", path, LARGEST);
	wasmtime_component_t *component;
	check(wasmtime_component_new(engine, bytes, size, &component), "compile the component");
	free(bytes);
	fclose(file);
	return component;
}

static wasmtime_component_linker_t *link_functions(void)
{
	static const char SANDBOX[] = "eventout:stats/sandbox@0.1.0", WHAT[] = "define the host functions";
	wasmtime_component_linker_t *linker = wasmtime_component_linker_new(engine);
	wasmtime_component_linker_instance_t *root = wasmtime_component_linker_root(linker), *sandbox;
	check(wasmtime_component_linker_instance_add_instance(root, SANDBOX, strlen(SANDBOX), &sandbox), WHAT);
	for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++)
		check(wasmtime_component_linker_instance_add_func(sandbox, FUNCTIONS[i].name, strlen(FUNCTIONS[i].name),
								  call_function, (void *)&FUNCTIONS[i], NULL),
		      WHAT);
	wasmtime_component_linker_instance_delete(sandbox);
	wasmtime_component_linker_instance_delete(root);
	return linker;
}

static wasmtime_component_func_t exported(const wasmtime_component_instance_t *instance, const char *name)
{
	static const char EVENTS[] = "eventout:stats/events@0.1.0";
	wasmtime_component_func_t function;
	wasmtime_component_export_index_t *events, *index = NULL;
	events = wasmtime_component_instance_get_export_index(instance, context, NULL, EVENTS, strlen(EVENTS));
	if (events)
		index = wasmtime_component_instance_get_export_index(instance, context, events, name, strlen(name));
	if (!index || !wasmtime_component_instance_get_func(instance, context, index, &function))
		fail("the component does not export the function %s of %s", name, EVENTS);
	wasmtime_component_export_index_delete(index);
	wasmtime_component_export_index_delete(events);
	return function;
}

/* Calls a function of `events` and prints its result. `format` is NULL if the function has no such parameter. */
static void print(wasmtime_component_func_t function, wasm_name_t id, char *format)
{
	val arguments[] = {{WASMTIME_COMPONENT_STRING, {.string = id}}, {.kind = WASMTIME_COMPONENT_ENUM}};
	val result = {0};
	if (format)
		arguments[1].of.enumeration = (wasm_name_t){strlen(format), format};
	limit_time();
	wasmtime_error_t *error =
		wasmtime_component_func_call(&function, context, arguments, format ? 2 : 1, &result, 1);
	alarm(0);
	check(error, "get an event");

	const val *payload = result.kind == WASMTIME_COMPONENT_RESULT ? result.of.result.val : NULL;
	if (payload && payload->kind == WASMTIME_COMPONENT_VARIANT) {
		wasm_name_t name = payload->of.variant.discriminant;
		printf("error %.*s: ", (int)name.size, name.data);
		payload = payload->of.variant.val;
	}
	if (!payload || payload->kind != WASMTIME_COMPONENT_STRING)
		fail("cannot get an event: the component has another contract");
	fwrite(payload->of.string.data, 1, payload->of.string.size, stdout);
	putchar('\n');
	wasmtime_component_val_delete(&result);
}

static void print_events(wasm_name_t id)
{
	print(event_json, id, NULL);
	print(stats_json, id, "gvisor");
	print(stats_json, id, "runc");
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: replay COMPONENT SCENARIO\n", stderr);
		return 2;
	}
	FILE *scenario = fopen(argv[2], "r");
	if (!scenario)
		fail("cannot read scenario %s: %s", argv[2], strerror(errno));
	wasm_config_t *config = wasm_config_new();
	wasmtime_config_epoch_interruption_set(config, true);
	engine = wasm_engine_new_with_config(config);
	wasmtime_component_t *component = read_component(argv[1]);
	wasmtime_component_linker_t *linker = link_functions();
	wasmtime_store_t *store = wasmtime_store_new(engine, NULL, NULL);
	/* The component has one memory and two small tables. */
	wasmtime_store_limiter(store, MEMORY, 1 << 16, -1, 2, 1);
	context = wasmtime_store_context(store);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_RESTART}, NULL);
	wasmtime_component_instance_t instance;
	limit_time();
	check(wasmtime_component_linker_instantiate(linker, context, component, &instance),
	      "instantiate the component");
	alarm(0);
	event_json = exported(&instance, "event-json");
	stats_json = exported(&instance, "stats-json");

	static char nobody[] = "no such \"container\"";
	for (json_object *sample; (sample = read_sample(scenario)); json_object_put(sample)) {
		wasmtime_context_set_data(context, NULL);
		for (size_t i = 0; i < json_object_array_length(sample); i++) {
			json_object *sandbox = json_object_array_get_idx(sample, i);
			json_object *containers = json_object_object_get(sandbox, "containers");
			wasmtime_context_set_data(context, sandbox);
			for (size_t k = 0; k < json_object_array_length(containers); k++) {
				json_object *container = json_object_array_get_idx(containers, k);
				print_events(borrow(json_object_object_get(container, "id")));
			}
		}
		print_events((wasm_name_t){strlen(nobody), nobody});
	}
	if (ferror(scenario) || ferror(stdout) || fflush(stdout) != 0)
		fail("cannot read or write: %s", strerror(errno));

	fclose(scenario);
	wasmtime_component_linker_delete(linker);
	wasmtime_store_delete(store);
	wasmtime_component_delete(component);
	wasm_engine_delete(engine);
	return 0;
}
