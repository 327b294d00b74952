/* Samples of a scenario (docs/scenarios.md), and their facts as values of the component model. */

#include <stdio.h>

#include <json-c/json.h>
#include <wasmtime.h>

/* Ends the program with a message, which names the line of the scenario. */
_Noreturn void fail(const char *format, ...);

/* Reads and checks the next sample, an array of sandboxes. Returns NULL at the end of the file. */
json_object *read_sample(FILE *scenario);

/* Returns a container of a sandbox, or NULL if it has none of that ID. */
json_object *find_container(json_object *sandbox, wasm_name_t id);

/* Returns the fact about a sandbox or container that the host function `name` returns, as a value of that type. */
wasmtime_component_val_t get_fact(json_object *from, const char *name, const wasmtime_component_valtype_t *type);

/* Returns a string, which is valid as long as its JSON is and may contain any byte. */
wasm_name_t borrow(json_object *string);

wasm_name_t copy(const char *bytes, size_t size);
