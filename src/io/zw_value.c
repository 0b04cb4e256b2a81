/* SPDX-License-Identifier: MIT */
/*
 * zw_value.c: the registry's functions on values.
 *
 * Context: PASSIVE_LEVEL. Lock: io_key_lock; the caller's buffers are touched under it.
 * Implements DEF-75, DEF-291.
 */
#include "io/key.h"

static ULONG align8(ULONG value)
{
	return (value + 7) & ~7u;
}

static NTSTATUS put_full(const struct io_value *value, void *buffer, ULONG length, PULONG result,
			 bool align)
{
	const ULONG fixed = offsetof(KEY_VALUE_FULL_INFORMATION, Name);
	ULONG at = fixed + value->name.Length;
	struct io_out out;
	at = align ? align8(at) : (at + 3) & ~3u;
	KEY_VALUE_FULL_INFORMATION full = {.Type = value->type,
					   .DataOffset = at,
					   .DataLength = value->size,
					   .NameLength = value->name.Length};
	io_out_begin(&out, buffer, length, fixed, at + value->size, result);
	io_out_put(&out, 0, &full, fixed);
	io_out_put(&out, fixed, value->name.Buffer, value->name.Length);
	io_out_put(&out, at, value->data, value->size);
	return io_out_end(&out);
}

/* Under the lock. */
static NTSTATUS put_value(const struct io_value *value, KEY_VALUE_INFORMATION_CLASS class,
			  void *buffer, ULONG length, PULONG result)
{
	struct io_out out;
	switch (class) {
	case KeyValueBasicInformation: {
		const ULONG fixed = offsetof(KEY_VALUE_BASIC_INFORMATION, Name);
		KEY_VALUE_BASIC_INFORMATION basic = {.Type = value->type,
						     .NameLength = value->name.Length};
		io_out_begin(&out, buffer, length, fixed, fixed + value->name.Length, result);
		io_out_put(&out, 0, &basic, fixed);
		io_out_put(&out, fixed, value->name.Buffer, value->name.Length);
		return io_out_end(&out);
	}
	case KeyValueFullInformation:
	case KeyValueFullInformationAlign64:
		return put_full(value, buffer, length, result,
				class == KeyValueFullInformationAlign64);
	case KeyValuePartialInformation: {
		const ULONG fixed = offsetof(KEY_VALUE_PARTIAL_INFORMATION, Data);
		KEY_VALUE_PARTIAL_INFORMATION partial = {.Type = value->type,
							 .DataLength = value->size};
		io_out_begin(&out, buffer, length, fixed, fixed + value->size, result);
		io_out_put(&out, 0, &partial, fixed);
		io_out_put(&out, fixed, value->data, value->size);
		return io_out_end(&out);
	}
	case KeyValuePartialInformationAlign64: {
		ULONG head[2] = {value->type, value->size}; /* Type, DataLength, Data at 8 */
		io_out_begin(&out, buffer, length, sizeof(head), sizeof(head) + value->size,
			     result);
		io_out_put(&out, 0, head, sizeof(head));
		io_out_put(&out, sizeof(head), value->data, value->size);
		return io_out_end(&out);
	}
	default:
		return STATUS_INVALID_PARAMETER;
	}
}

/*
 * A value by name (DEF-291). IRQL = PASSIVE. *ResultLength: bytes the whole answer takes.
 * STATUS_SUCCESS, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_BUFFER_TOO_SMALL (not even the fixed part
 * fits), STATUS_BUFFER_OVERFLOW (cut), STATUS_INVALID_PARAMETER (class), STATUS_KEY_DELETED,
 * STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.
 */
NTSTATUS NTAPI ZwQueryValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName,
			       KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
			       PVOID KeyValueInformation, ULONG Length, PULONG ResultLength)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	struct io_value *value = io_value_find(key->node, ValueName);
	if (key->node->deleted)
		status = STATUS_KEY_DELETED;
	else if (!value)
		status = STATUS_OBJECT_NAME_NOT_FOUND;
	else
		status = put_value(value, KeyValueInformationClass, KeyValueInformation, Length,
				   ResultLength);
	io_key_unlock();
	ob_dereference(key);
	return status;
}

/* The value at Index, from 0. IRQL = PASSIVE. As ZwQueryValueKey; STATUS_NO_MORE_ENTRIES. */
NTSTATUS NTAPI ZwEnumerateValueKey(HANDLE KeyHandle, ULONG Index,
				   KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
				   PVOID KeyValueInformation, ULONG Length, PULONG ResultLength)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	struct io_node *node = key->node;
	if (node->deleted) {
		status = STATUS_KEY_DELETED;
	} else if (Index >= node->value_count) {
		status = STATUS_NO_MORE_ENTRIES;
	} else {
		LIST_ENTRY *entry = node->values.Flink;
		for (ULONG n = 0; n < Index; n++)
			entry = entry->Flink;
		status = put_value(CONTAINING_RECORD(entry, struct io_value, entry),
				   KeyValueInformationClass, KeyValueInformation, Length,
				   ResultLength);
	}
	io_key_unlock();
	ob_dereference(key);
	return status;
}

/* Make or replace a value. IRQL = PASSIVE. STATUS_SUCCESS, STATUS_INSUFFICIENT_RESOURCES,
 * STATUS_KEY_DELETED, ... */
NTSTATUS NTAPI ZwSetValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName, ULONG TitleIndex,
			     ULONG Type, PVOID Data, ULONG DataSize)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	(void)TitleIndex;
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	status = key->node->deleted ? STATUS_KEY_DELETED
				    : io_value_set(key->node, ValueName, Type, Data, DataSize);
	io_key_unlock();
	ob_dereference(key);
	return status;
}

/* IRQL = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_NOT_FOUND, STATUS_KEY_DELETED, ... */
NTSTATUS NTAPI ZwDeleteValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	struct io_value *value = io_value_find(key->node, ValueName);
	if (key->node->deleted)
		status = STATUS_KEY_DELETED;
	else if (!value)
		status = STATUS_OBJECT_NAME_NOT_FOUND;
	else
		io_value_remove(key->node, value);
	io_key_unlock();
	ob_dereference(key);
	return status;
}
