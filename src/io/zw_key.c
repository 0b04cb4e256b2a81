/* SPDX-License-Identifier: MIT */
/*
 * zw_key.c: the registry's functions on keys.
 *
 * Context: PASSIVE_LEVEL. Lock: io_key_lock.
 * Implements DEF-75, DEF-289 (keys; values are in zw_value.c), DEF-301.
 */
#include "io/key.h"

/* ---- Open ---- */

static NTSTATUS open_key(PHANDLE handle, ACCESS_MASK access, POBJECT_ATTRIBUTES attributes,
			 enum io_key_create create, ULONG *disposition, uint64_t caller)
{
	struct io_key *key;
	NTSTATUS status = io_key_open(attributes, create, &key, disposition);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(key, access, attributes->Attributes, caller, handle);
	ob_dereference(key);
	return status;
}

/* IRQL = PASSIVE (DEF-289). STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH,
 * STATUS_KEY_DELETED, ... */
NTSTATUS NTAPI ZwOpenKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
			 POBJECT_ATTRIBUTES ObjectAttributes)
{
	ULONG disposition;
	return open_key(KeyHandle, DesiredAccess, ObjectAttributes, IO_KEY_OPEN, &disposition,
			VF_CALLER());
}

/* OpenOptions: REG_OPTION_OPEN_LINK (8) and _BACKUP_RESTORE (4) change nothing here; others are
 * STATUS_INVALID_PARAMETER. */
NTSTATUS NTAPI ZwOpenKeyEx(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
			   POBJECT_ATTRIBUTES ObjectAttributes, ULONG OpenOptions)
{
	ULONG disposition;
	if (OpenOptions & ~0xcu)
		return STATUS_INVALID_PARAMETER;
	return open_key(KeyHandle, DesiredAccess, ObjectAttributes, IO_KEY_OPEN, &disposition,
			VF_CALLER());
}

/*
 * Open or make the last component. IRQL = PASSIVE. *Disposition (optional): REG_CREATED_NEW_KEY,
 * REG_OPENED_EXISTING_KEY. The class and the title index are not kept.
 * STATUS_OBJECT_NAME_NOT_FOUND: the parent is absent.
 */
NTSTATUS NTAPI ZwCreateKey(PHANDLE KeyHandle, ACCESS_MASK DesiredAccess,
			   POBJECT_ATTRIBUTES ObjectAttributes, ULONG TitleIndex,
			   PUNICODE_STRING Class, ULONG CreateOptions, PULONG Disposition)
{
	ULONG disposition = 0;
	(void)TitleIndex;
	(void)Class;
	(void)CreateOptions;
	NTSTATUS status = open_key(KeyHandle, DesiredAccess, ObjectAttributes, IO_KEY_LAST,
				   &disposition, VF_CALLER());
	if (NT_SUCCESS(status) && Disposition)
		*Disposition = disposition;
	return status;
}

/* ---- Delete, flush ---- */

/* IRQL = PASSIVE. The key goes now, its handles stay (STATUS_KEY_DELETED). STATUS_CANNOT_DELETE: it
 * has subkeys. */
NTSTATUS NTAPI ZwDeleteKey(HANDLE KeyHandle)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	status = io_node_delete(key->node);
	io_key_unlock();
	ob_dereference(key);
	return status;
}

/* Nothing is kept on a disk: nothing to do for a valid handle. IRQL = PASSIVE. STATUS_SUCCESS,
 * STATUS_INVALID_HANDLE. */
NTSTATUS NTAPI ZwFlushKey(HANDLE KeyHandle)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	ob_dereference(key);
	return STATUS_SUCCESS;
}

/* ---- Query ---- */

void io_out_begin(struct io_out *out, void *buffer, ULONG length, ULONG fixed, ULONG need,
		  PULONG result)
{
	*out = (struct io_out){buffer, length, fixed, need};
	if (result)
		*result = need;
}

void io_out_put(struct io_out *out, ULONG at, const void *data, ULONG size)
{
	if (out->length < out->fixed || at >= out->length)
		return;
	memcpy(out->buffer + at, data, min(size, out->length - at));
}

NTSTATUS io_out_end(const struct io_out *out)
{
	if (out->length < out->fixed)
		return STATUS_BUFFER_TOO_SMALL;
	return out->length < out->need ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
}

/* KEY_NODE_INFORMATION, without a class. */
struct node_information {
	LARGE_INTEGER LastWriteTime;
	ULONG TitleIndex;
	ULONG ClassOffset;
	ULONG ClassLength;
	ULONG NameLength;
	WCHAR Name[1];
};

static NTSTATUS put_full(struct io_node *node, void *buffer, ULONG length, PULONG result)
{
	const ULONG fixed = offsetof(KEY_FULL_INFORMATION, Class);
	KEY_FULL_INFORMATION full = {.LastWriteTime = node->written,
				     .ClassOffset = MAXULONG,
				     .SubKeys = node->child_count,
				     .Values = node->value_count};
	struct io_out out;
	for (LIST_ENTRY *entry = node->children.Flink; entry != &node->children;
	     entry = entry->Flink) {
		struct io_node *child = CONTAINING_RECORD(entry, struct io_node, entry);
		full.MaxNameLen = max(full.MaxNameLen, child->name.Length);
	}
	for (LIST_ENTRY *entry = node->values.Flink; entry != &node->values; entry = entry->Flink) {
		struct io_value *value = CONTAINING_RECORD(entry, struct io_value, entry);
		full.MaxValueNameLen = max(full.MaxValueNameLen, value->name.Length);
		full.MaxValueDataLen = max(full.MaxValueDataLen, value->size);
	}
	io_out_begin(&out, buffer, length, fixed, fixed, result);
	io_out_put(&out, 0, &full, fixed);
	return io_out_end(&out);
}

/* Under the lock. */
static NTSTATUS put_node(struct io_node *node, KEY_INFORMATION_CLASS class, void *buffer,
			 ULONG length, PULONG result)
{
	const UNICODE_STRING *name = &node->name;
	struct io_out out;
	if (class == KeyBasicInformation) {
		const ULONG fixed = offsetof(KEY_BASIC_INFORMATION, Name);
		KEY_BASIC_INFORMATION basic = {.LastWriteTime = node->written,
					       .NameLength = name->Length};
		io_out_begin(&out, buffer, length, fixed, fixed + name->Length, result);
		io_out_put(&out, 0, &basic, fixed);
		io_out_put(&out, fixed, name->Buffer, name->Length);
		return io_out_end(&out);
	}
	if (class == KeyNodeInformation) {
		const ULONG fixed = offsetof(struct node_information, Name);
		struct node_information info = {.LastWriteTime = node->written,
						.ClassOffset = MAXULONG,
						.NameLength = name->Length};
		io_out_begin(&out, buffer, length, fixed, fixed + name->Length, result);
		io_out_put(&out, 0, &info, fixed);
		io_out_put(&out, fixed, name->Buffer, name->Length);
		return io_out_end(&out);
	}
	if (class == KeyFullInformation)
		return put_full(node, buffer, length, result);
	return STATUS_INVALID_INFO_CLASS;
}

/* KeyNameInformation: the full name. Not under the lock: ob_name takes it. */
static NTSTATUS put_name(struct io_key *key, void *buffer, ULONG length, PULONG result)
{
	struct io_out out;
	size_t characters = ob_name(key, 0, 0);
	ULONG bytes = (ULONG)(characters * sizeof(WCHAR));
	WCHAR *name = io_allocate(bytes + sizeof(WCHAR));
	if (!name)
		return STATUS_INSUFFICIENT_RESOURCES;
	if (ob_name(key, name, characters) != characters)
		bytes = 0; /* deleted meanwhile */
	io_out_begin(&out, buffer, length, sizeof(ULONG), sizeof(ULONG) + bytes, result);
	io_out_put(&out, 0, &bytes, sizeof(ULONG));
	io_out_put(&out, sizeof(ULONG), name, bytes);
	ex_free(name);
	return io_out_end(&out);
}

/*
 * About a key. IRQL = PASSIVE. *ResultLength: bytes the whole answer takes. STATUS_SUCCESS,
 * STATUS_BUFFER_TOO_SMALL (not even the fixed part fits), STATUS_BUFFER_OVERFLOW (cut),
 * STATUS_INVALID_INFO_CLASS, STATUS_KEY_DELETED, STATUS_INVALID_HANDLE.
 */
NTSTATUS NTAPI ZwQueryKey(HANDLE KeyHandle, KEY_INFORMATION_CLASS KeyInformationClass,
			  PVOID KeyInformation, ULONG Length, PULONG ResultLength)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	if (key->node->deleted)
		status = STATUS_KEY_DELETED;
	else if (KeyInformationClass != KeyNameInformation)
		status = put_node(key->node, KeyInformationClass, KeyInformation, Length,
				  ResultLength);
	io_key_unlock();
	if (NT_SUCCESS(status) && KeyInformationClass == KeyNameInformation)
		status = put_name(key, KeyInformation, Length, ResultLength);
	ob_dereference(key);
	return status;
}

/* About the subkey at Index, from 0. IRQL = PASSIVE. As ZwQueryKey; STATUS_NO_MORE_ENTRIES. */
NTSTATUS NTAPI ZwEnumerateKey(HANDLE KeyHandle, ULONG Index,
			      KEY_INFORMATION_CLASS KeyInformationClass, PVOID KeyInformation,
			      ULONG Length, PULONG ResultLength)
{
	struct io_key *key;
	NTSTATUS status = io_key_reference(KeyHandle, &key);
	if (!NT_SUCCESS(status))
		return status;
	io_key_lock();
	struct io_node *node = key->node;
	if (node->deleted) {
		status = STATUS_KEY_DELETED;
	} else if (Index >= node->child_count) {
		status = STATUS_NO_MORE_ENTRIES;
	} else {
		LIST_ENTRY *entry = node->children.Flink;
		for (ULONG n = 0; n < Index; n++)
			entry = entry->Flink;
		status = put_node(CONTAINING_RECORD(entry, struct io_node, entry),
				  KeyInformationClass, KeyInformation, Length, ResultLength);
	}
	io_key_unlock();
	ob_dereference(key);
	return status;
}

/* ---- A device's keys ---- */

/*
 * Plug and play keys of a device (DEF-301): the service's Parameters key stands for both the
 * hardware and the driver key, as these devices were not enumerated by a bus. IRQL = PASSIVE.
 * STATUS_INVALID_PARAMETER (type), STATUS_INVALID_DEVICE_REQUEST (not a device of a driver).
 */
NTSTATUS NTAPI IoOpenDeviceRegistryKey(PDEVICE_OBJECT DeviceObject, ULONG DevInstKeyType,
				       ACCESS_MASK DesiredAccess, PHANDLE DevInstRegKey)
{
	static const WCHAR head[] = L"\\Registry\\Machine\\System\\CurrentControlSet\\Services\\";
	static const WCHAR tail[] = L"\\Parameters";
	const UNICODE_STRING *service;
	OBJECT_ATTRIBUTES attributes;
	UNICODE_STRING path;
	ULONG disposition;
	if (!DevInstKeyType || DevInstKeyType > 3)
		return STATUS_INVALID_PARAMETER;
	if (!DeviceObject || !DeviceObject->DriverObject)
		return STATUS_INVALID_DEVICE_REQUEST;
	service = &DeviceObject->DriverObject->DriverExtension->ServiceKeyName;
	path.Length = (USHORT)(sizeof(head) - sizeof(WCHAR) + service->Length + sizeof(tail) -
			       sizeof(WCHAR));
	path.MaximumLength = path.Length;
	path.Buffer = io_allocate(path.Length);
	if (!path.Buffer)
		return STATUS_INSUFFICIENT_RESOURCES;
	char *at = (char *)path.Buffer;
	memcpy(at, head, sizeof(head) - sizeof(WCHAR));
	at += sizeof(head) - sizeof(WCHAR);
	memcpy(at, service->Buffer, service->Length);
	memcpy(at + service->Length, tail, sizeof(tail) - sizeof(WCHAR));
	InitializeObjectAttributes(&attributes, &path, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE, 0,
				   0);
	NTSTATUS status = open_key(DevInstRegKey, DesiredAccess, &attributes, IO_KEY_ALL,
				   &disposition, VF_CALLER());
	ex_free(path.Buffer);
	return status;
}
