/* SPDX-License-Identifier: MIT */
/*
 * rtl_registry.c: the Rtl functions over registry paths.
 *
 * Context: PASSIVE_LEVEL. Lock: io_key_lock, never while a driver's query routine runs: it gets
 * copies. Implements VER-21 (RtlDeleteRegistryValue) and the documented contract of
 * RtlQueryRegistryValues. Choices: variables in REG_EXPAND_SZ values stay as they are (there is no
 * environment), the value is passed as REG_SZ; a key that RTL_REGISTRY_OPTIONAL marks and that is
 * absent counts as a key without values.
 */
#include "io/key.h"

#define TYPECHECK_SHIFT 24

static NTSTATUS open_relative(ULONG relative, PCWSTR path, enum io_key_create create,
			      struct io_key **key)
{
	static const WCHAR *const bases[] = {
		[RTL_REGISTRY_ABSOLUTE] = L"",
		[RTL_REGISTRY_SERVICES] =
			L"\\Registry\\Machine\\System\\CurrentControlSet\\Services",
		[RTL_REGISTRY_CONTROL] = L"\\Registry\\Machine\\System\\CurrentControlSet\\Control",
		[RTL_REGISTRY_WINDOWS_NT] =
			L"\\Registry\\Machine\\Software\\Microsoft\\Windows NT\\CurrentVersion",
		[RTL_REGISTRY_DEVICEMAP] = L"\\Registry\\Machine\\Hardware\\DeviceMap",
		[RTL_REGISTRY_USER] = L"\\Registry\\User\\.Default",
	};
	UNICODE_STRING base, tail, full;
	OBJECT_ATTRIBUTES attributes;
	ULONG disposition;
	if (relative & RTL_REGISTRY_HANDLE)
		return io_key_reference((HANDLE)(uintptr_t)path, key);
	relative &= ~RTL_REGISTRY_OPTIONAL;
	if (relative >= RTL_NUMBER_OF(bases))
		return STATUS_INVALID_PARAMETER;
	RtlInitUnicodeString(&base, bases[relative]);
	RtlInitUnicodeString(&tail, path);
	full.MaximumLength = full.Length = (USHORT)(base.Length + sizeof(WCHAR) + tail.Length);
	full.Buffer = io_allocate(full.Length + sizeof(WCHAR));
	if (!full.Buffer)
		return STATUS_INSUFFICIENT_RESOURCES;
	full.Length = base.Length;
	memcpy(full.Buffer, base.Buffer, base.Length);
	if (base.Length && tail.Length && tail.Buffer[0] != L'\\') {
		full.Buffer[full.Length / sizeof(WCHAR)] = L'\\';
		full.Length += sizeof(WCHAR);
	}
	memcpy((char *)full.Buffer + full.Length, tail.Buffer, tail.Length);
	full.Length += tail.Length;
	InitializeObjectAttributes(&attributes, &full, OBJ_CASE_INSENSITIVE, 0, 0);
	NTSTATUS status = io_key_open(&attributes, create, key, &disposition);
	ex_free(full.Buffer);
	return status;
}

/* ---- Copies of values ---- */

struct copy {
	WCHAR *name; /* terminated */
	ULONG type, size;
	UCHAR *data; /* two zero characters behind it */
};

/* By name, or the value at `index` when name is 0. Freed by ex_free(copy->name). */
static NTSTATUS copy_value(struct io_key *key, const UNICODE_STRING *name, ULONG index,
			   struct copy *copy)
{
	NTSTATUS status = STATUS_OBJECT_NAME_NOT_FOUND;
	struct io_value *value = 0;
	io_key_lock();
	if (name) {
		value = io_value_find(key->node, name);
	} else if (index < key->node->value_count) {
		LIST_ENTRY *entry = key->node->values.Flink;
		for (; index; index--)
			entry = entry->Flink;
		value = CONTAINING_RECORD(entry, struct io_value, entry);
	}
	if (value) {
		ULONG data_at = (value->name.Length + sizeof(WCHAR) + 7) & ~7u;
		copy->name = io_allocate(data_at + value->size + 2 * sizeof(WCHAR));
		status = copy->name ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;
		if (copy->name) {
			copy->type = value->type;
			copy->size = value->size;
			copy->data = (UCHAR *)copy->name + data_at;
			memcpy(copy->name, value->name.Buffer, value->name.Length);
			memcpy(copy->data, value->data, value->size);
		}
	}
	io_key_unlock();
	return status;
}

/* ---- RtlQueryRegistryValues ---- */

struct query {
	struct io_key *top, *current; /* current is referenced; top is the caller's; 0: an absent
					 optional key */
	void *context;
};

static bool is_text(ULONG type)
{
	return type == REG_SZ || type == REG_EXPAND_SZ || type == REG_MULTI_SZ;
}

static NTSTATUS direct_text(UNICODE_STRING *to, const void *data, ULONG size)
{
	ULONG length = size;
	if (size > UNICODE_STRING_MAX_BYTES)
		return STATUS_BUFFER_TOO_SMALL;
	if (size >= sizeof(WCHAR) && !((const WCHAR *)data)[size / sizeof(WCHAR) - 1])
		length -= sizeof(WCHAR);
	if (!to->Buffer) {
		to->Buffer = ExAllocatePoolWithTag(PagedPool, length + sizeof(WCHAR), 'sUyR');
		if (!to->Buffer)
			return STATUS_INSUFFICIENT_RESOURCES;
		to->MaximumLength = (USHORT)(length + sizeof(WCHAR));
	} else if (to->MaximumLength < length + sizeof(WCHAR)) {
		return STATUS_BUFFER_TOO_SMALL;
	}
	memcpy(to->Buffer, data, length);
	to->Buffer[length / sizeof(WCHAR)] = 0;
	to->Length = (USHORT)length;
	return STATUS_SUCCESS;
}

/* RTL_QUERY_REGISTRY_DIRECT: the value goes to EntryContext. */
static NTSTATUS direct(const RTL_QUERY_REGISTRY_TABLE *entry, ULONG type, const void *data,
		       ULONG size)
{
	ULONG expected = entry->DefaultType >> TYPECHECK_SHIFT;
	LONG *room = entry->EntryContext;
	if (entry->Flags & RTL_QUERY_REGISTRY_TYPECHECK && expected != type)
		return STATUS_OBJECT_TYPE_MISMATCH;
	if (is_text(type))
		return direct_text(entry->EntryContext, data, size);
	if (size <= sizeof(ULONG)) {
		memcpy(room, data, size);
		return STATUS_SUCCESS;
	}
	/* A negative room is its size in bytes: the bare data. A positive one gets size and type in
	 * front. */
	if (*room < 0) {
		if (size > (ULONG) - *room)
			return STATUS_BUFFER_TOO_SMALL;
		memcpy(room, data, size);
		return STATUS_SUCCESS;
	}
	if (size + 2 * sizeof(ULONG) > (ULONG)*room)
		return STATUS_BUFFER_TOO_SMALL;
	room[0] = (LONG)size;
	room[1] = (LONG)type;
	memcpy(room + 2, data, size);
	return STATUS_SUCCESS;
}

static NTSTATUS call(const RTL_QUERY_REGISTRY_TABLE *entry, void *context, PWSTR name, ULONG type,
		     void *data, ULONG size)
{
	NTSTATUS status;
	PRTL_QUERY_REGISTRY_ROUTINE routine = entry->QueryRoutine;
	KIRQL irql = ke_irql();
	if (entry->Flags & RTL_QUERY_REGISTRY_DIRECT)
		return direct(entry, type, data, size);
	status = routine(name, type, data, size, context, entry->EntryContext);
	if (vf_on())
		vf_callout_irql(routine, context, irql, 2);
	return status;
}

/* One value: strings of a REG_MULTI_SZ one by one, unless the entry says otherwise. */
static NTSTATUS deliver(const RTL_QUERY_REGISTRY_TABLE *entry, void *context, PWSTR name,
			ULONG type, void *data, ULONG size)
{
	if (entry->Flags & (RTL_QUERY_REGISTRY_NOEXPAND | RTL_QUERY_REGISTRY_DIRECT))
		return call(entry, context, name, type, data, size);
	if (type == REG_EXPAND_SZ)
		return call(entry, context, name, REG_SZ, data, size);
	if (type != REG_MULTI_SZ)
		return call(entry, context, name, type, data, size);
	for (WCHAR *text = data, *end = text + size / sizeof(WCHAR); text < end && *text;) {
		WCHAR *next = text;
		while (next < end && *next)
			next++;
		next++;
		NTSTATUS status = call(entry, context, name, REG_SZ, text,
				       (ULONG)((char *)next - (char *)text));
		if (!NT_SUCCESS(status))
			return status;
		text = next;
	}
	return STATUS_SUCCESS;
}

static NTSTATUS deliver_default(const RTL_QUERY_REGISTRY_TABLE *entry, void *context)
{
	ULONG type = entry->DefaultType & ~(0xffu << TYPECHECK_SHIFT), size = entry->DefaultLength;
	if (entry->Flags & RTL_QUERY_REGISTRY_REQUIRED)
		return STATUS_OBJECT_NAME_NOT_FOUND;
	if (type == REG_NONE)
		return STATUS_SUCCESS;
	if (!size && is_text(type)) {
		const WCHAR *text = entry->DefaultData;
		/* To the end of the string; of the list for REG_MULTI_SZ. */
		while (*text || (type == REG_MULTI_SZ && text[1]))
			text++;
		text += type == REG_MULTI_SZ ? 2 : 1;
		size = (ULONG)((const char *)text - (const char *)entry->DefaultData);
	}
	return deliver(entry, context, entry->Name, type, entry->DefaultData, size);
}

static NTSTATUS query_all(struct query *query, const RTL_QUERY_REGISTRY_TABLE *entry)
{
	NTSTATUS status = STATUS_SUCCESS;
	ULONG index = 0;
	for (; NT_SUCCESS(status) && query->current; index++) {
		struct copy copy;
		if (!NT_SUCCESS(copy_value(query->current, 0, index, &copy)))
			break;
		status = deliver(entry, query->context, copy.name, copy.type, copy.data, copy.size);
		ex_free(copy.name);
	}
	if (!index && entry->Flags & RTL_QUERY_REGISTRY_REQUIRED)
		return STATUS_OBJECT_NAME_NOT_FOUND;
	return status;
}

static NTSTATUS query_one(struct query *query, const RTL_QUERY_REGISTRY_TABLE *entry)
{
	UNICODE_STRING name;
	struct copy copy;
	NTSTATUS status = STATUS_OBJECT_NAME_NOT_FOUND;
	RtlInitUnicodeString(&name, entry->Name);
	if (query->current)
		status = copy_value(query->current, &name, 0, &copy);
	if (status == STATUS_OBJECT_NAME_NOT_FOUND)
		return deliver_default(entry, query->context);
	if (!NT_SUCCESS(status))
		return status;
	status = deliver(entry, query->context, copy.name, copy.type, copy.data, copy.size);
	ex_free(copy.name);
	if (NT_SUCCESS(status) && entry->Flags & RTL_QUERY_REGISTRY_DELETE) {
		io_key_lock();
		struct io_value *value = io_value_find(query->current->node, &name);
		if (value)
			io_value_remove(query->current->node, value);
		io_key_unlock();
	}
	return status;
}

static void stand_at(struct query *query, struct io_key *key)
{
	if (query->current)
		ob_dereference(query->current);
	query->current = key;
}

/* RTL_QUERY_REGISTRY_SUBKEY: what follows is about this key below the top one. */
static NTSTATUS enter_subkey(struct query *query, const RTL_QUERY_REGISTRY_TABLE *entry)
{
	OBJECT_ATTRIBUTES attributes;
	UNICODE_STRING name;
	struct io_key *key = 0;
	HANDLE handle;
	ULONG disposition;
	NTSTATUS status = STATUS_OBJECT_NAME_NOT_FOUND;
	if (query->top) {
		status = ob_handle_create(query->top, KEY_READ, OBJ_KERNEL_HANDLE, 0, &handle);
		if (!NT_SUCCESS(status))
			return status;
		RtlInitUnicodeString(&name, entry->Name);
		InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, handle, 0);
		status = io_key_open(&attributes, IO_KEY_OPEN, &key, &disposition);
		ob_handle_close(handle);
	}
	if (status == STATUS_OBJECT_NAME_NOT_FOUND && !(entry->Flags & RTL_QUERY_REGISTRY_REQUIRED))
		status = STATUS_SUCCESS;
	stand_at(query, key);
	return status;
}

static NTSTATUS query_entry(struct query *query, const RTL_QUERY_REGISTRY_TABLE *entry)
{
	NTSTATUS status = STATUS_SUCCESS;
	/* Illegal: DIRECT writes to EntryContext, so it needs a name and has no routine and no
	 * subkey. */
	if (entry->Flags & RTL_QUERY_REGISTRY_DIRECT &&
	    (!entry->Name || entry->Flags & RTL_QUERY_REGISTRY_SUBKEY || entry->QueryRoutine))
		return STATUS_INVALID_PARAMETER;
	if (entry->Flags & (RTL_QUERY_REGISTRY_TOPKEY | RTL_QUERY_REGISTRY_SUBKEY)) {
		if (query->top)
			ob_reference(query->top);
		stand_at(query, query->top);
	}
	if (entry->Flags & RTL_QUERY_REGISTRY_SUBKEY) {
		if (!entry->Name)
			return STATUS_INVALID_PARAMETER;
		status = enter_subkey(query, entry);
		if (!NT_SUCCESS(status) || !entry->QueryRoutine)
			return status;
		return query_all(query, entry);
	}
	if (entry->Flags & RTL_QUERY_REGISTRY_NOVALUE)
		return entry->QueryRoutine ? call(entry, query->context, 0, REG_NONE, 0, 0)
					   : STATUS_SUCCESS;
	if (!entry->Name)
		return entry->QueryRoutine ? query_all(query, entry) : STATUS_SUCCESS;
	return query_one(query, entry);
}

/*
 * Values by a table (see the documents for its flags). IRQL = PASSIVE. STATUS_SUCCESS,
 * STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH, STATUS_BUFFER_TOO_SMALL,
 * STATUS_INVALID_PARAMETER, or what a query routine returned.
 */
NTSTATUS NTAPI RtlQueryRegistryValues(ULONG RelativeTo, PCWSTR Path,
				      PRTL_QUERY_REGISTRY_TABLE QueryTable, PVOID Context,
				      PVOID Environment)
{
	struct query query = {.context = Context};
	NTSTATUS status = open_relative(RelativeTo, Path, IO_KEY_OPEN, &query.top);
	(void)Environment;
	if (status == STATUS_OBJECT_NAME_NOT_FOUND && RelativeTo & RTL_REGISTRY_OPTIONAL) {
		query.top = 0;
		status = STATUS_SUCCESS;
	}
	if (!NT_SUCCESS(status))
		return status;
	if (query.top) {
		ob_reference(query.top);
		query.current = query.top;
	}
	for (PRTL_QUERY_REGISTRY_TABLE entry = QueryTable;
	     NT_SUCCESS(status) &&
	     (entry->QueryRoutine || entry->Name ||
	      entry->Flags & (RTL_QUERY_REGISTRY_SUBKEY | RTL_QUERY_REGISTRY_DIRECT));
	     entry++)
		status = query_entry(&query, entry);
	stand_at(&query, 0);
	if (query.top)
		ob_dereference(query.top);
	return status;
}

/* ---- The rest ---- */

/* Make or replace a value, and its key when only that is absent. IRQL = PASSIVE. Statuses of
 * ZwCreateKey and ZwSetValueKey. */
NTSTATUS NTAPI RtlWriteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName,
				     ULONG ValueType, PVOID ValueData, ULONG ValueLength)
{
	UNICODE_STRING name;
	struct io_key *key;
	NTSTATUS status = open_relative(RelativeTo, Path, IO_KEY_LAST, &key);
	if (!NT_SUCCESS(status))
		return status;
	RtlInitUnicodeString(&name, ValueName);
	io_key_lock();
	status = key->node->deleted
			 ? STATUS_KEY_DELETED
			 : io_value_set(key->node, &name, ValueType, ValueData, ValueLength);
	io_key_unlock();
	ob_dereference(key);
	return status;
}

/* IRQL = PASSIVE (VER-21). STATUS_SUCCESS, STATUS_OBJECT_NAME_NOT_FOUND (key or value), ... */
NTSTATUS NTAPI RtlDeleteRegistryValue(ULONG RelativeTo, PCWSTR Path, PCWSTR ValueName)
{
	UNICODE_STRING name;
	struct io_key *key;
	NTSTATUS status = open_relative(RelativeTo, Path, IO_KEY_OPEN, &key);
	if (!NT_SUCCESS(status))
		return status;
	RtlInitUnicodeString(&name, ValueName);
	io_key_lock();
	struct io_value *value = io_value_find(key->node, &name);
	if (value)
		io_value_remove(key->node, value);
	io_key_unlock();
	ob_dereference(key);
	return value ? STATUS_SUCCESS : STATUS_OBJECT_NAME_NOT_FOUND;
}

/* Is the key there? IRQL = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_NOT_FOUND, ... */
NTSTATUS NTAPI RtlCheckRegistryKey(ULONG RelativeTo, PWSTR Path)
{
	struct io_key *key;
	NTSTATUS status = open_relative(RelativeTo, Path, IO_KEY_OPEN, &key);
	if (NT_SUCCESS(status))
		ob_dereference(key);
	return status;
}

/* Make the key; one that exists is fine. IRQL = PASSIVE. Statuses of ZwCreateKey. */
NTSTATUS NTAPI RtlCreateRegistryKey(ULONG RelativeTo, PWSTR Path)
{
	struct io_key *key;
	NTSTATUS status = open_relative(RelativeTo, Path, IO_KEY_LAST, &key);
	if (NT_SUCCESS(status))
		ob_dereference(key);
	return status;
}
