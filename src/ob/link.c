/* SPDX-License-Identifier: MIT */
/*
 * link.c: directory and symbolic link objects, and the names that exist at boot.
 *
 * Contexts: <= APC_LEVEL; DDIs PASSIVE_LEVEL. Locks: the name lock for the list of links.
 * Implements DEF-288 and the symbolic link half of the Zw interface.
 */
#include "ob/ob_internal.h"

static LIST_ENTRY all_links = {&all_links, &all_links};

static void link_destroy(void *body)
{
	struct ob_link *link = body;
	KIRQL old = ke_lock_raise(&ob_name_lock);
	if (link->all.Flink) {
		link->all.Flink->Blink = link->all.Blink;
		link->all.Blink->Flink = link->all.Flink;
	}
	ke_lock_lower(&ob_name_lock, old);
	if (link->target.Buffer)
		ex_free(link->target.Buffer);
}

struct _OBJECT_TYPE ob_directory_type = {
	.name = "Directory",
	.wait_offset = OB_NOT_WAITABLE,
	.name_with_handles = true,
	.all_access = 0xf000f,
};
struct _OBJECT_TYPE ob_link_type = {
	.name = "SymbolicLink",
	.wait_offset = OB_NOT_WAITABLE,
	.name_with_handles = true,
	.all_access = 0xf0001,
	.destroy = link_destroy,
};

NTSTATUS ob_directory_create(const OBJECT_ATTRIBUTES *attributes, void **body)
{
	struct ob_directory *directory;
	NTSTATUS status = ob_create(&ob_directory_type, sizeof(*directory), (void **)&directory);
	if (!NT_SUCCESS(status))
		return status;
	directory->entries.Flink = directory->entries.Blink = &directory->entries;
	status = ob_insert(directory, attributes, 0);
	if (status != STATUS_SUCCESS) {
		ob_dereference(directory);
		return status;
	}
	*body = directory;
	return STATUS_SUCCESS;
}

NTSTATUS ob_link_create(const OBJECT_ATTRIBUTES *attributes, const UNICODE_STRING *target,
			uint64_t caller, void **body)
{
	struct ob_link *link;
	NTSTATUS status = ob_create(&ob_link_type, sizeof(*link), (void **)&link);
	if (!NT_SUCCESS(status))
		return status;
	link->target.Buffer = ob_allocate(target->Length + sizeof(WCHAR));
	if (!link->target.Buffer) {
		ob_dereference(link);
		return STATUS_INSUFFICIENT_RESOURCES;
	}
	if (target->Length)
		memcpy(link->target.Buffer, target->Buffer, target->Length);
	link->target.Length = link->target.MaximumLength = target->Length;
	link->created.QuadPart = (LONGLONG)port_time_system();
	link->caller = caller;
	KIRQL old = ke_lock_raise(&ob_name_lock);
	link->all.Flink = &all_links;
	link->all.Blink = all_links.Blink;
	all_links.Blink->Flink = &link->all;
	all_links.Blink = &link->all;
	ke_lock_lower(&ob_name_lock, old);
	status = ob_insert(link, attributes, 0);
	if (status != STATUS_SUCCESS) {
		ob_dereference(link);
		return status;
	}
	*body = link;
	return STATUS_SUCCESS;
}

/* The next link after `link` (whose reference is given back) that the image's code made,
 * referenced. */
static struct ob_link *next_link(struct ob_link *link, const struct vf_unload *unload)
{
	struct ob_link *next = 0;
	KIRQL old = ke_lock_raise(&ob_name_lock);
	/* A referenced link stays in the list. */
	LIST_ENTRY *entry = link ? link->all.Flink : all_links.Flink;
	for (; entry != &all_links && !next; entry = entry->Flink) {
		struct ob_link *candidate = CONTAINING_RECORD(entry, struct ob_link, all);
		if (candidate->caller >= unload->base && candidate->caller < unload->end &&
		    ob_reference_try(candidate))
			next = candidate;
	}
	ke_lock_lower(&ob_name_lock, old);
	if (link)
		ob_dereference(link);
	return next;
}

/* Symbolic links that the driver made and did not delete (VER-38). */
void ob_link_unload(const struct vf_unload *unload)
{
	for (struct ob_link *link = next_link(0, unload); link; link = next_link(link, unload)) {
		WCHAR name[64];
		char text[96];
		size_t characters = ob_name(link, name, RTL_NUMBER_OF(name));
		if (!characters)
			continue; /* deleted, but somebody's handle keeps it */
		rtl_narrow(text, sizeof(text), name, min(characters, RTL_NUMBER_OF(name)));
		vf_unload_left(unload, VF_DeviceLeft, (void *)link->caller, link,
			       "the symbolic link %s", text);
	}
}

/* ---- Boot ---- */

static NTSTATUS boot_directory(const WCHAR *path)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	void *body;
	RtlInitUnicodeString(&name, path);
	InitializeObjectAttributes(&attributes, &name, OBJ_PERMANENT, 0, 0);
	NTSTATUS status = ob_directory_create(&attributes, &body);
	if (NT_SUCCESS(status))
		ob_dereference(body);
	return status;
}

static NTSTATUS boot_link(const WCHAR *path, const WCHAR *to)
{
	UNICODE_STRING name, target;
	OBJECT_ATTRIBUTES attributes;
	void *body;
	RtlInitUnicodeString(&name, path);
	RtlInitUnicodeString(&target, to);
	InitializeObjectAttributes(&attributes, &name, OBJ_PERMANENT, 0, 0);
	NTSTATUS status = ob_link_create(&attributes, &target, 0, &body);
	if (NT_SUCCESS(status))
		ob_dereference(body);
	return status;
}

NTSTATUS ob_name_initialize(void)
{
	static const WCHAR *const directories[] = {
		L"\\Device",   L"\\Driver",           L"\\FileSystem",    L"\\GLOBAL??",
		L"\\Callback", L"\\BaseNamedObjects", L"\\KernelObjects", L"\\ObjectTypes",
		L"\\Security", L"\\Sessions",
	};
	static const WCHAR *const links[][2] = {
		{L"\\??", L"\\GLOBAL??"},
		{L"\\DosDevices", L"\\??"},
		{L"\\GLOBAL??\\Global", L"\\GLOBAL??"},
		{L"\\GLOBAL??\\GLOBALROOT", L""},
		{L"\\BaseNamedObjects\\Global", L"\\BaseNamedObjects"},
	};
	OBJECT_ATTRIBUTES anonymous;
	void *root;
	InitializeObjectAttributes(&anonymous, 0, 0, 0, 0);
	NTSTATUS status = ob_directory_create(&anonymous, &root);
	if (!NT_SUCCESS(status))
		return status;
	ob_root = ob_header_of(root);
	for (size_t n = 0; n < RTL_NUMBER_OF(directories) && NT_SUCCESS(status); n++)
		status = boot_directory(directories[n]);
	for (size_t n = 0; n < RTL_NUMBER_OF(links) && NT_SUCCESS(status); n++)
		status = boot_link(links[n][0], links[n][1]);
	return status;
}

/* ---- DDIs ---- */

static NTSTATUS open_link(POBJECT_ATTRIBUTES attributes, struct ob_link **link)
{
	OBJECT_ATTRIBUTES own = *attributes;
	own.Attributes |= OBJ_OPENLINK;
	return ob_open(&own, &ob_link_type, (void **)link);
}

/* IRQL = PASSIVE. STATUS_OBJECT_NAME_NOT_FOUND, _PATH_NOT_FOUND, _TYPE_MISMATCH (the name is no
 * symbolic link). */
NTSTATUS NTAPI ZwOpenSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess,
					POBJECT_ATTRIBUTES ObjectAttributes)
{
	struct ob_link *link;
	NTSTATUS status = open_link(ObjectAttributes, &link);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(link, DesiredAccess, ObjectAttributes->Attributes, VF_CALLER(),
				  LinkHandle);
	ob_dereference(link);
	return status;
}

/* IRQL = PASSIVE. *ReturnedLength: bytes with terminator. STATUS_BUFFER_TOO_SMALL,
 * STATUS_INVALID_HANDLE, _TYPE_MISMATCH. */
NTSTATUS NTAPI ZwQuerySymbolicLinkObject(HANDLE LinkHandle, PUNICODE_STRING LinkTarget,
					 PULONG ReturnedLength)
{
	struct ob_link *link;
	NTSTATUS status =
		ob_handle_reference(LinkHandle, 0, &ob_link_type, KernelMode, (void **)&link, 0);
	if (!NT_SUCCESS(status))
		return status;
	if (ReturnedLength)
		*ReturnedLength = link->target.Length + sizeof(WCHAR);
	if (LinkTarget->MaximumLength < link->target.Length) {
		status = STATUS_BUFFER_TOO_SMALL;
	} else {
		memcpy(LinkTarget->Buffer, link->target.Buffer, link->target.Length);
		LinkTarget->Length = link->target.Length;
		if (LinkTarget->MaximumLength >= link->target.Length + sizeof(WCHAR))
			LinkTarget->Buffer[link->target.Length / sizeof(WCHAR)] = 0;
	}
	ob_dereference(link);
	return status;
}

/* IRQL = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_COLLISION, _PATH_NOT_FOUND, _PATH_SYNTAX_BAD,
 * ... */
NTSTATUS NTAPI ZwCreateSymbolicLinkObject(PHANDLE LinkHandle, ACCESS_MASK DesiredAccess,
					  POBJECT_ATTRIBUTES ObjectAttributes,
					  PUNICODE_STRING LinkTarget)
{
	void *link;
	uint64_t caller = VF_CALLER();
	NTSTATUS status = ob_link_create(ObjectAttributes, LinkTarget, caller, &link);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(link, DesiredAccess, ObjectAttributes->Attributes, caller,
				  LinkHandle);
	ob_dereference(link);
	return status;
}

/*
 * A name for a device (or anything else). IRQL = PASSIVE (DEF-156); the link stays until
 * IoDeleteSymbolicLink. STATUS_SUCCESS, STATUS_OBJECT_NAME_COLLISION, _PATH_NOT_FOUND,
 * _PATH_SYNTAX_BAD, STATUS_INSUFFICIENT_RESOURCES.
 */
NTSTATUS NTAPI IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName)
{
	OBJECT_ATTRIBUTES attributes;
	void *link;
	InitializeObjectAttributes(&attributes, SymbolicLinkName,
				   OBJ_PERMANENT | OBJ_CASE_INSENSITIVE, 0, 0);
	NTSTATUS status = ob_link_create(&attributes, DeviceName, VF_CALLER(), &link);
	if (NT_SUCCESS(status))
		ob_dereference(link);
	return status;
}

NTSTATUS NTAPI IoCreateUnprotectedSymbolicLink(PUNICODE_STRING SymbolicLinkName,
					       PUNICODE_STRING DeviceName)
{
	OBJECT_ATTRIBUTES attributes;
	void *link;
	InitializeObjectAttributes(&attributes, SymbolicLinkName,
				   OBJ_PERMANENT | OBJ_CASE_INSENSITIVE, 0, 0);
	NTSTATUS status = ob_link_create(&attributes, DeviceName, VF_CALLER(), &link);
	if (NT_SUCCESS(status))
		ob_dereference(link);
	return status;
}

/* IRQL = PASSIVE (DEF-162). STATUS_SUCCESS, STATUS_OBJECT_NAME_NOT_FOUND, _TYPE_MISMATCH, ... */
NTSTATUS NTAPI IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName)
{
	OBJECT_ATTRIBUTES attributes;
	struct ob_link *link;
	InitializeObjectAttributes(&attributes, SymbolicLinkName, OBJ_CASE_INSENSITIVE, 0, 0);
	NTSTATUS status = open_link(&attributes, &link);
	if (!NT_SUCCESS(status))
		return status;
	ob_make_temporary(link);
	ob_name_remove(link);
	ob_dereference(link);
	return STATUS_SUCCESS;
}
