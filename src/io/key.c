/* SPDX-License-Identifier: MIT */
/*
 * key.c: the registry: a tree of keys with values, in memory.
 *
 * Contexts: PASSIVE_LEVEL. Lock: key_mutex (a fast mutex: APC_LEVEL) protects the whole tree;
 * callers' buffers are touched under it. A node lives while it is in the tree or a key object
 * refers to it; a key object of a deleted node answers STATUS_KEY_DELETED. Implements PLT-58 (the
 * service's key), DEF-75, DEF-289, DEF-291; io_registry_set for --reg. Choice: the tree is not kept
 * between runs; names are compared without case; there are no key classes and no security.
 */
#include "io/key.h"

static size_t key_full_name(const void *body, WCHAR *to, size_t room);
static void key_destroy(void *body);

struct _OBJECT_TYPE io_key_type = {
	.name = "Key",
	.wait_offset = OB_NOT_WAITABLE,
	.all_access = KEY_ALL_ACCESS,
	.destroy = key_destroy,
	.full_name = key_full_name,
};
POBJECT_TYPE CmKeyObjectType = &io_key_type;

static FAST_MUTEX key_mutex;
static struct io_node *root;

void io_key_lock(void)
{
	ExAcquireFastMutex(&key_mutex);
}

void io_key_unlock(void)
{
	ExReleaseFastMutex(&key_mutex);
}

/* ---- Nodes, under the mutex ---- */

static struct io_node *node_create(struct io_node *parent, const UNICODE_STRING *name)
{
	struct io_node *node = io_allocate(sizeof(*node) + name->Length);
	if (!node)
		return 0;
	node->references = 1; /* the tree's */
	node->parent = parent;
	node->name = (UNICODE_STRING){name->Length, name->Length, (WCHAR *)(node + 1)};
	memcpy(node->name.Buffer, name->Buffer, name->Length);
	node->written.QuadPart = (LONGLONG)port_time_system();
	InitializeListHead(&node->children);
	InitializeListHead(&node->values);
	if (parent) {
		InsertTailList(&parent->children, &node->entry);
		parent->child_count++;
		parent->written = node->written;
	}
	return node;
}

static void node_release(struct io_node *node)
{
	if (--node->references)
		return;
	while (!IsListEmpty(&node->values))
		ex_free(CONTAINING_RECORD(RemoveHeadList(&node->values), struct io_value, entry));
	ex_free(node);
}

static struct io_node *node_child(struct io_node *node, const UNICODE_STRING *name)
{
	for (LIST_ENTRY *entry = node->children.Flink; entry != &node->children;
	     entry = entry->Flink) {
		struct io_node *child = CONTAINING_RECORD(entry, struct io_node, entry);
		if (!rtl_compare_unicode(&child->name, name, true))
			return child;
	}
	return 0;
}

struct io_value *io_value_find(struct io_node *node, const UNICODE_STRING *name)
{
	for (LIST_ENTRY *entry = node->values.Flink; entry != &node->values; entry = entry->Flink) {
		struct io_value *value = CONTAINING_RECORD(entry, struct io_value, entry);
		if (!rtl_compare_unicode(&value->name, name, true))
			return value;
	}
	return 0;
}

void io_value_remove(struct io_node *node, struct io_value *value)
{
	RemoveEntryList(&value->entry);
	node->value_count--;
	node->written.QuadPart = (LONGLONG)port_time_system();
	ex_free(value);
}

NTSTATUS io_value_set(struct io_node *node, const UNICODE_STRING *name, ULONG type,
		      const void *data, ULONG size)
{
	ULONG data_at = (name->Length + 7) & ~7u; /* data 8-byte aligned */
	if (size > 0x1000000)
		return STATUS_INSUFFICIENT_RESOURCES;
	struct io_value *value = io_allocate(sizeof(*value) + data_at + size), *old;
	if (!value)
		return STATUS_INSUFFICIENT_RESOURCES;
	value->type = type;
	value->size = size;
	value->name = (UNICODE_STRING){name->Length, name->Length, (WCHAR *)(value + 1)};
	value->data = (UCHAR *)(value + 1) + data_at;
	memcpy(value->name.Buffer, name->Buffer, name->Length);
	if (size)
		memcpy(value->data, data, size);
	old = io_value_find(node, name);
	if (old) {
		/* It keeps its place in the enumeration. */
		InsertHeadList(&old->entry, &value->entry);
		node->value_count++;
		io_value_remove(node, old);
	} else {
		InsertTailList(&node->values, &value->entry);
		node->value_count++;
	}
	node->written.QuadPart = (LONGLONG)port_time_system();
	return STATUS_SUCCESS;
}

NTSTATUS io_node_delete(struct io_node *node)
{
	if (node->deleted)
		return STATUS_KEY_DELETED;
	if (node->child_count || !node->parent)
		return STATUS_CANNOT_DELETE;
	RemoveEntryList(&node->entry);
	node->parent->child_count--;
	node->parent->written.QuadPart = (LONGLONG)port_time_system();
	node->parent = 0;
	node->deleted = true;
	node_release(node);
	return STATUS_SUCCESS;
}

/* Cut the first component off; false: a syntax error. Leading separators are skipped. */
static bool component(UNICODE_STRING *path, UNICODE_STRING *name)
{
	USHORT n = 0, characters = path->Length / sizeof(WCHAR);
	while (n < characters && path->Buffer[n] != L'\\')
		n++;
	*name = (UNICODE_STRING){n * sizeof(WCHAR), n * sizeof(WCHAR), path->Buffer};
	if (n < characters)
		n++;
	path->Buffer += n;
	path->Length -= n * sizeof(WCHAR);
	return name->Length > 0 && name->Length <= 255 * sizeof(WCHAR);
}

/*
 * Go down. `create`: 0 nothing is made, IO_KEY_LAST the last component, IO_KEY_ALL every one.
 * *disposition as ZwCreateKey's.
 */
static NTSTATUS descend(struct io_node **node, UNICODE_STRING path, enum io_key_create create,
			ULONG *disposition)
{
	*disposition = REG_OPENED_EXISTING_KEY;
	if (path.Length && path.Buffer[0] == L'\\') {
		path.Buffer++;
		path.Length -= sizeof(WCHAR);
	}
	while (path.Length) {
		UNICODE_STRING name;
		if (!component(&path, &name))
			return STATUS_OBJECT_NAME_INVALID;
		struct io_node *child = node_child(*node, &name);
		if (!child) {
			if (create == IO_KEY_OPEN || (create == IO_KEY_LAST && path.Length))
				return STATUS_OBJECT_NAME_NOT_FOUND;
			child = node_create(*node, &name);
			if (!child)
				return STATUS_INSUFFICIENT_RESOURCES;
			*disposition = REG_CREATED_NEW_KEY;
		}
		*node = child;
	}
	return STATUS_SUCCESS;
}

/* ---- Key objects ---- */

static void key_destroy(void *body)
{
	struct io_key *key = body;
	io_key_lock();
	if (key->node)
		node_release(key->node);
	io_key_unlock();
}

static size_t key_full_name(const void *body, WCHAR *to, size_t room)
{
	const struct io_key *key = body;
	size_t length = 0, end;
	io_key_lock();
	for (struct io_node *node = key->node; node; node = node->parent)
		length += 1 + node->name.Length / sizeof(WCHAR);
	end = length;
	for (struct io_node *node = key->node; node; node = node->parent) {
		size_t characters = node->name.Length / sizeof(WCHAR);
		for (size_t n = characters; n > 0; n--) {
			if (--end < room)
				to[end] = node->name.Buffer[n - 1];
		}
		if (--end < room)
			to[end] = L'\\';
	}
	io_key_unlock();
	return length;
}

static NTSTATUS key_create(struct io_node *node, struct io_key **result)
{
	struct io_key *key;
	NTSTATUS status = ob_create(&io_key_type, sizeof(*key), (void **)&key);
	if (!NT_SUCCESS(status))
		return status;
	key->node = node;
	node->references++;
	*result = key;
	return STATUS_SUCCESS;
}

NTSTATUS io_key_open(const OBJECT_ATTRIBUTES *attributes, enum io_key_create create,
		     struct io_key **key, ULONG *disposition)
{
	struct ob_path path;
	NTSTATUS status = ob_lookup(attributes, &path);
	if (!NT_SUCCESS(status))
		return status;
	if (ob_type(path.body) != &io_key_type) {
		ob_path_release(&path);
		return STATUS_OBJECT_TYPE_MISMATCH;
	}
	io_key_lock();
	struct io_node *node = ((struct io_key *)path.body)->node;
	status =
		node->deleted ? STATUS_KEY_DELETED : descend(&node, path.rest, create, disposition);
	if (NT_SUCCESS(status))
		status = key_create(node, key);
	io_key_unlock();
	ob_path_release(&path);
	return status;
}

NTSTATUS io_key_reference(HANDLE handle, struct io_key **key)
{
	return ob_handle_reference(handle, 0, &io_key_type, KernelMode, (void **)key, 0);
}

/* ---- Boot ---- */

static struct io_node *make_path(const WCHAR *path)
{
	UNICODE_STRING name;
	ULONG disposition;
	struct io_node *node = root;
	RtlInitUnicodeString(&name, path);
	return NT_SUCCESS(descend(&node, name, IO_KEY_ALL, &disposition)) ? node : 0;
}

static NTSTATUS set_text(struct io_node *node, const WCHAR *name, const WCHAR *text)
{
	UNICODE_STRING key, value;
	RtlInitUnicodeString(&key, name);
	RtlInitUnicodeString(&value, text);
	return io_value_set(node, &key, REG_SZ, text, value.Length + sizeof(WCHAR));
}

NTSTATUS io_registry_initialize(void)
{
	static const UNICODE_STRING name = RTL_CONSTANT_STRING(L"REGISTRY");
	static const UNICODE_STRING place = RTL_CONSTANT_STRING(L"\\REGISTRY");
	struct io_node *version;
	struct io_key *key;
	NTSTATUS status;
	ExInitializeFastMutex(&key_mutex);
	root = node_create(0, &name);
	if (!root || !make_path(L"MACHINE\\SYSTEM\\CurrentControlSet\\Services") ||
	    !make_path(L"MACHINE\\SYSTEM\\CurrentControlSet\\Control") ||
	    !make_path(L"MACHINE\\HARDWARE\\DESCRIPTION\\System") ||
	    !make_path(L"MACHINE\\HARDWARE\\DEVICEMAP") || !make_path(L"USER\\.DEFAULT"))
		return STATUS_INSUFFICIENT_RESOURCES;
	version = make_path(L"MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion");
	if (!version)
		return STATUS_INSUFFICIENT_RESOURCES;
	status = set_text(version, L"CurrentVersion", L"6.3");
	if (NT_SUCCESS(status))
		status = set_text(version, L"CurrentBuild", L"19045");
	if (NT_SUCCESS(status))
		status = set_text(version, L"CurrentBuildNumber", L"19045");
	if (NT_SUCCESS(status))
		status = key_create(root, &key);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_insert_name(key, &place, OBJ_PERMANENT);
	ob_dereference(key);
	return status;
}

/* The service's node. Under the mutex. */
static struct io_node *service_node(const UNICODE_STRING *service)
{
	struct io_node *node = make_path(L"MACHINE\\SYSTEM\\CurrentControlSet\\Services");
	ULONG disposition;
	if (!node || !NT_SUCCESS(descend(&node, *service, IO_KEY_ALL, &disposition)))
		return 0;
	return node;
}

NTSTATUS io_registry_service(const UNICODE_STRING *service)
{
	static const ULONG kernel_driver = 1, demand_start = 3, normal = 1;
	static const struct {
		UNICODE_STRING name;
		const ULONG *value;
	} values[] = {
		{RTL_CONSTANT_STRING(L"Type"), &kernel_driver},
		{RTL_CONSTANT_STRING(L"Start"), &demand_start},
		{RTL_CONSTANT_STRING(L"ErrorControl"), &normal},
	};
	NTSTATUS status = STATUS_SUCCESS;
	io_key_lock();
	struct io_node *node = service_node(service);
	if (!node)
		status = STATUS_INSUFFICIENT_RESOURCES;
	for (size_t n = 0; n < RTL_NUMBER_OF(values) && NT_SUCCESS(status); n++) {
		if (!io_value_find(node, &values[n].name))
			status = io_value_set(node, &values[n].name, REG_DWORD, values[n].value,
					      sizeof(ULONG));
	}
	io_key_unlock();
	return status;
}

NTSTATUS io_registry_store(const UNICODE_STRING *service, const UNICODE_STRING *name, ULONG type,
			   const void *data, ULONG size)
{
	io_key_lock();
	struct io_node *node = service_node(service);
	NTSTATUS status =
		node ? io_value_set(node, name, type, data, size) : STATUS_INSUFFICIENT_RESOURCES;
	io_key_unlock();
	return status;
}
