/* SPDX-License-Identifier: MIT */
/*
 * name.c: the namespace: names in directories, and the walk along a path.
 *
 * Contexts: <= APC_LEVEL (deaths reach ob_name_unlink at PASSIVE_LEVEL).
 * Locks: `ob_name_lock` (DISPATCH_LEVEL) protects every directory's list and the name fields of
 * every header. Nothing is called under it but pure code and the reference counters.
 *
 * A directory's entry holds no reference to its object: a walk takes one, and fails to for an
 * object that dies at that moment, which counts as absent. An object's name does hold its
 * directory.
 *
 * Chosen where documents are silent: names are compared without case always, as the default setting
 * of the system's object manager does; a path leads through at most 32 symbolic links; \?? and
 * \DosDevices are links to \GLOBAL??.
 */
#include "ob/ob_internal.h"

#define LINKS_MAX      32
#define NAME_BYTES_MAX 0xfffe

/* A walk: `path` is what is left to go, in `buffer`; `at` is where it stands (referenced). */
struct walk {
	struct ob_header *at;
	UNICODE_STRING path;
	WCHAR *buffer;
	unsigned links;
	bool open_link; /* do not follow a link at the very end */
};

struct ke_lock ob_name_lock;
struct ob_header *ob_root;

/* ---- Under the name lock ---- */

static struct ob_header *find(struct ob_header *directory, const UNICODE_STRING *name)
{
	struct ob_directory *list = ob_body_of(directory);
	for (LIST_ENTRY *entry = list->entries.Flink; entry != &list->entries;
	     entry = entry->Flink) {
		struct ob_header *header = CONTAINING_RECORD(entry, struct ob_header, entry);
		UNICODE_STRING own = {header->name_bytes, header->name_bytes, header->name};
		if (!rtl_compare_unicode(&own, name, true) && ob_reference_try(ob_body_of(header)))
			return header;
	}
	return 0;
}

static void enter(struct ob_header *directory, struct ob_header *header, WCHAR *name,
		  uint16_t bytes)
{
	struct ob_directory *list = ob_body_of(directory);
	LIST_ENTRY *last = list->entries.Blink;
	ob_reference(ob_body_of(directory));
	header->parent = directory;
	header->name = name;
	header->name_bytes = bytes;
	header->entry.Flink = &list->entries;
	header->entry.Blink = last;
	last->Flink = &header->entry;
	list->entries.Blink = &header->entry;
	list->count++;
}

/* Returns the directory, whose reference the caller gives back after the lock; *name is to be
 * freed. */
static struct ob_header *leave(struct ob_header *header, WCHAR **name)
{
	struct ob_header *parent = header->parent;
	*name = 0;
	if (!parent)
		return 0;
	header->entry.Flink->Blink = header->entry.Blink;
	header->entry.Blink->Flink = header->entry.Flink;
	((struct ob_directory *)ob_body_of(parent))->count--;
	*name = header->name;
	header->parent = 0;
	header->name = 0;
	header->name_bytes = 0;
	return parent;
}

/* ---- Taking names away ---- */

static void forget(struct ob_header *parent, WCHAR *name)
{
	if (!parent)
		return;
	ex_free(name);
	ob_dereference(ob_body_of(parent));
}

void ob_name_unlink(struct ob_header *header)
{
	WCHAR *name;
	KIRQL old = ke_lock_raise(&ob_name_lock);
	struct ob_header *parent = leave(header, &name);
	ke_lock_lower(&ob_name_lock, old);
	forget(parent, name);
}

void ob_name_remove(void *body)
{
	ob_name_unlink(ob_header_of(body));
}

void ob_name_last_handle(struct ob_header *header)
{
	WCHAR *name;
	struct ob_header *parent = 0;
	if (!header->type->name_with_handles)
		return;
	KIRQL old = ke_lock_raise(&ob_name_lock);
	if (!header->permanent && !atomic_load_explicit(&header->handles, memory_order_relaxed))
		parent = leave(header, &name);
	ke_lock_lower(&ob_name_lock, old);
	if (parent)
		forget(parent, name);
}

void ob_make_temporary(void *body)
{
	struct ob_header *header = ob_header_of(body);
	KIRQL old = ke_lock_raise(&ob_name_lock);
	bool was = header->permanent;
	header->permanent = false;
	ke_lock_lower(&ob_name_lock, old);
	if (!atomic_load_explicit(&header->handles, memory_order_relaxed))
		ob_name_last_handle(header);
	if (was)
		ob_dereference(body);
}

/* ---- The walk ---- */

static void walk_end(struct walk *walk)
{
	if (walk->at)
		ob_dereference(ob_body_of(walk->at));
	if (walk->buffer)
		ex_free(walk->buffer);
	walk->at = 0;
	walk->buffer = 0;
}

/* Put `head` (a link's target, or nothing) and `tail` together as the path that is left. */
static NTSTATUS walk_path(struct walk *walk, const UNICODE_STRING *head, const UNICODE_STRING *tail)
{
	uint32_t first = head ? head->Length : 0;
	uint32_t bytes = first + tail->Length;
	if (bytes > NAME_BYTES_MAX)
		return STATUS_NAME_TOO_LONG;
	WCHAR *buffer = ob_allocate(bytes + sizeof(WCHAR));
	if (!buffer)
		return STATUS_INSUFFICIENT_RESOURCES;
	if (first)
		memcpy(buffer, head->Buffer, first);
	if (tail->Length)
		memcpy((char *)buffer + first, tail->Buffer, tail->Length);
	buffer[bytes / sizeof(WCHAR)] = 0;
	if (walk->buffer)
		ex_free(walk->buffer);
	walk->buffer = buffer;
	walk->path = (UNICODE_STRING){(USHORT)bytes, (USHORT)bytes, buffer};
	return STATUS_SUCCESS;
}

/* Stand at the root; the path begins with a separator. */
static NTSTATUS walk_from_root(struct walk *walk)
{
	if (!walk->path.Length || walk->path.Buffer[0] != L'\\')
		return STATUS_OBJECT_PATH_SYNTAX_BAD;
	walk->path.Buffer++;
	walk->path.Length -= sizeof(WCHAR);
	if (walk->at)
		ob_dereference(ob_body_of(walk->at));
	ob_reference(ob_body_of(ob_root));
	walk->at = ob_root;
	return STATUS_SUCCESS;
}

static NTSTATUS walk_begin(struct walk *walk, const OBJECT_ATTRIBUTES *attributes)
{
	static const UNICODE_STRING nothing;
	const UNICODE_STRING *name = attributes->ObjectName ? attributes->ObjectName : &nothing;
	NTSTATUS status;
	void *root;
	memset(walk, 0, sizeof(*walk));
	if (attributes->Length != sizeof(*attributes))
		return STATUS_INVALID_PARAMETER;
	if (name->Length % sizeof(WCHAR) || (name->Length && !name->Buffer))
		return STATUS_OBJECT_NAME_INVALID;
	walk->open_link = attributes->Attributes & OBJ_OPENLINK;
	status = walk_path(walk, 0, name);
	if (!NT_SUCCESS(status))
		return status;
	if (!attributes->RootDirectory) {
		status = walk_from_root(walk);
	} else {
		status = ob_handle_reference(attributes->RootDirectory, 0, 0, KernelMode, &root, 0);
		if (NT_SUCCESS(status))
			walk->at = ob_header_of(root);
		if (NT_SUCCESS(status) && name->Length && name->Buffer[0] == L'\\')
			status = STATUS_OBJECT_PATH_SYNTAX_BAD;
	}
	if (!NT_SUCCESS(status))
		walk_end(walk);
	return status;
}

/* The next component of the path; *last: nothing behind it. */
static NTSTATUS component(const struct walk *walk, UNICODE_STRING *name, bool *last)
{
	USHORT n = 0, characters = walk->path.Length / sizeof(WCHAR);
	while (n < characters && walk->path.Buffer[n] != L'\\')
		n++;
	*name = (UNICODE_STRING){n * sizeof(WCHAR), n * sizeof(WCHAR), walk->path.Buffer};
	*last = n == characters;
	return n ? STATUS_SUCCESS : STATUS_OBJECT_NAME_INVALID;
}

/* Behind the component; the separator stays: it begins what an object that is no directory parses.
 */
static void step_over(struct walk *walk, const UNICODE_STRING *name)
{
	walk->path.Buffer += name->Length / sizeof(WCHAR);
	walk->path.Length -= name->Length;
}

static void skip_separator(struct walk *walk)
{
	if (walk->path.Length) {
		walk->path.Buffer++;
		walk->path.Length -= sizeof(WCHAR);
	}
}

/* Stand at a link: its target comes before what is left. A link to nothing leads to the root. */
static NTSTATUS follow(struct walk *walk)
{
	struct ob_link *link = ob_body_of(walk->at);
	if (++walk->links > LINKS_MAX)
		return STATUS_REPARSE_POINT_NOT_RESOLVED;
	if (link->target.Length) {
		NTSTATUS status = walk_path(walk, &link->target, &walk->path);
		return NT_SUCCESS(status) ? walk_from_root(walk) : status;
	}
	skip_separator(walk);
	ob_dereference(link);
	ob_reference(ob_body_of(ob_root));
	walk->at = ob_root;
	return STATUS_SUCCESS;
}

/*
 * Go on until the path is used up or an object that is no directory is reached (then path is the
 * rest). Enters `fresh` where the last component is absent. STATUS_OBJECT_NAME_NOT_FOUND: only the
 * last component is absent.
 */
static NTSTATUS walk_on(struct walk *walk, struct ob_header *fresh)
{
	NTSTATUS status;
	while (walk->path.Length && walk->at->type == &ob_directory_type) {
		UNICODE_STRING name;
		bool last;
		WCHAR *copy = 0;
		status = component(walk, &name, &last);
		if (!NT_SUCCESS(status))
			return status;
		if (fresh && last) {
			copy = ob_allocate(name.Length + sizeof(WCHAR));
			if (!copy)
				return STATUS_INSUFFICIENT_RESOURCES;
			memcpy(copy, name.Buffer, name.Length);
		}
		KIRQL old = ke_lock_raise(&ob_name_lock);
		struct ob_header *next = find(walk->at, &name);
		bool entered = !next && copy;
		if (entered)
			enter(walk->at, fresh, copy, name.Length);
		ke_lock_lower(&ob_name_lock, old);
		if (copy && !entered)
			ex_free(copy);
		if (entered)
			return STATUS_SUCCESS;
		if (!next)
			return last ? STATUS_OBJECT_NAME_NOT_FOUND : STATUS_OBJECT_PATH_NOT_FOUND;
		step_over(walk, &name);
		ob_dereference(ob_body_of(walk->at));
		walk->at = next;
		if (next->type == &ob_directory_type)
			skip_separator(walk);
		if (next->type == &ob_link_type && !(last && (walk->open_link || fresh))) {
			status = follow(walk);
			if (!NT_SUCCESS(status))
				return status;
		}
	}
	return fresh ? STATUS_OBJECT_NAME_COLLISION : STATUS_SUCCESS;
}

/* ---- What others call ---- */

NTSTATUS ob_lookup(const OBJECT_ATTRIBUTES *attributes, struct ob_path *path)
{
	struct walk walk;
	NTSTATUS status;
	memset(path, 0, sizeof(*path));
	status = walk_begin(&walk, attributes);
	if (!NT_SUCCESS(status))
		return status;
	status = walk_on(&walk, 0);
	if (!NT_SUCCESS(status)) {
		walk_end(&walk);
		return status;
	}
	path->body = ob_body_of(walk.at);
	path->rest = walk.path;
	path->buffer = walk.buffer;
	return STATUS_SUCCESS;
}

void ob_path_release(struct ob_path *path)
{
	if (path->body)
		ob_dereference(path->body);
	if (path->buffer)
		ex_free(path->buffer);
	memset(path, 0, sizeof(*path));
}

NTSTATUS ob_open(const OBJECT_ATTRIBUTES *attributes, POBJECT_TYPE type, void **body)
{
	struct ob_path path;
	NTSTATUS status = ob_lookup(attributes, &path);
	*body = 0;
	if (!NT_SUCCESS(status))
		return status;
	if (path.rest.Length)
		status = STATUS_OBJECT_PATH_NOT_FOUND;
	else if (type && ob_type(path.body) != type)
		status = STATUS_OBJECT_TYPE_MISMATCH;
	if (NT_SUCCESS(status)) {
		*body = path.body;
		path.body = 0;
	}
	ob_path_release(&path);
	return status;
}

NTSTATUS ob_open_name(const UNICODE_STRING *name, POBJECT_TYPE type, void **body)
{
	OBJECT_ATTRIBUTES attributes;
	InitializeObjectAttributes(&attributes, (UNICODE_STRING *)(uintptr_t)name,
				   OBJ_CASE_INSENSITIVE, 0, 0);
	return ob_open(&attributes, type, body);
}

NTSTATUS ob_insert(void *body, const OBJECT_ATTRIBUTES *attributes, void **existing)
{
	struct ob_header *header = ob_header_of(body);
	struct walk walk;
	NTSTATUS status;
	if (existing)
		*existing = 0;
	if (!attributes || !attributes->ObjectName || !attributes->ObjectName->Length)
		return STATUS_SUCCESS;
	/* Permanence first: between the entry and it, the last handle could close. */
	if (attributes->Attributes & OBJ_PERMANENT) {
		header->permanent = true;
		ob_reference(body);
	}
	status = walk_begin(&walk, attributes);
	if (NT_SUCCESS(status)) {
		status = walk_on(&walk, header);
		if (status == STATUS_OBJECT_NAME_COLLISION && walk.path.Length)
			status = STATUS_OBJECT_TYPE_MISMATCH; /* inside something that is no
								 directory */
		if (status == STATUS_OBJECT_NAME_COLLISION && existing &&
		    attributes->Attributes & OBJ_OPENIF) {
			status = STATUS_OBJECT_TYPE_MISMATCH;
			if (walk.at->type == header->type) {
				status = STATUS_OBJECT_NAME_EXISTS;
				*existing = ob_body_of(walk.at);
				walk.at = 0;
			}
		}
		walk_end(&walk);
	}
	if (status != STATUS_SUCCESS && header->permanent) {
		header->permanent = false;
		ob_dereference(body);
	}
	return status;
}

NTSTATUS ob_insert_name(void *body, const UNICODE_STRING *name, ULONG attributes)
{
	OBJECT_ATTRIBUTES full;
	InitializeObjectAttributes(&full, (UNICODE_STRING *)(uintptr_t)name, attributes, 0, 0);
	return ob_insert(body, &full, 0);
}

size_t ob_name(const void *body, WCHAR *to, size_t room)
{
	struct ob_header *header = ob_header_of(body);
	size_t length = 0, end;
	if (header->type->full_name)
		return header->type->full_name(body, to, room);
	KIRQL old = ke_lock_raise(&ob_name_lock);
	if (header == ob_root)
		length = 1;
	for (struct ob_header *h = header; h->parent; h = h->parent)
		length += 1 + h->name_bytes / sizeof(WCHAR);
	end = length;
	if (header == ob_root && room)
		to[0] = L'\\';
	for (struct ob_header *h = header; h->parent; h = h->parent) {
		size_t characters = h->name_bytes / sizeof(WCHAR);
		for (size_t n = characters; n > 0; n--) {
			end--;
			if (end < room)
				to[end] = h->name[n - 1];
		}
		end--;
		if (end < room)
			to[end] = L'\\';
	}
	ke_lock_lower(&ob_name_lock, old);
	return length;
}
