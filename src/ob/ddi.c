/* SPDX-License-Identifier: MIT */
/*
 * ddi.c: the object manager's functions for drivers, but for references (object.c).
 *
 * Contexts: as each function says; nothing here takes a lock itself.
 * Implements PLT-43, DEF-147, DEF-154, DEF-208, DEF-276, DEF-288, DEF-307.
 */
#include "ob/ob_internal.h"

#ifndef DUPLICATE_CLOSE_SOURCE
#define DUPLICATE_CLOSE_SOURCE 1
#define DUPLICATE_SAME_ACCESS  2
#endif

/*
 * Handle to referenced object. IRQL = PASSIVE (VER-21). ObjectType 0 is any in kernel mode.
 * STATUS_SUCCESS, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_ACCESS_DENIED (user
 * mode only).
 */
NTSTATUS NTAPI ObReferenceObjectByHandle(HANDLE Handle, ACCESS_MASK DesiredAccess,
					 POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
					 PVOID *Object,
					 POBJECT_HANDLE_INFORMATION HandleInformation)
{
	ACCESS_MASK granted;
	NTSTATUS status = ob_handle_reference(Handle, DesiredAccess, ObjectType, AccessMode, Object,
					      &granted);
	if (NT_SUCCESS(status) && HandleInformation) {
		HandleInformation->HandleAttributes = 0;
		HandleInformation->GrantedAccess = granted;
	}
	return status;
}

NTSTATUS NTAPI ObReferenceObjectByHandleWithTag(HANDLE Handle, ACCESS_MASK DesiredAccess,
						POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
						ULONG Tag, PVOID *Object,
						POBJECT_HANDLE_INFORMATION HandleInformation)
{
	(void)Tag;
	return ObReferenceObjectByHandle(Handle, DesiredAccess, ObjectType, AccessMode, Object,
					 HandleInformation);
}

/* A handle for an object. IRQL = PASSIVE (DEF-208). STATUS_OBJECT_TYPE_MISMATCH,
 * STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS NTAPI ObOpenObjectByPointer(PVOID Object, ULONG HandleAttributes,
				     PACCESS_STATE PassedAccessState, ACCESS_MASK DesiredAccess,
				     POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
				     PHANDLE Handle)
{
	NTSTATUS status;
	(void)PassedAccessState;
	*Handle = 0;
	status = ObReferenceObjectByPointer(Object, DesiredAccess, ObjectType, AccessMode);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(Object, DesiredAccess, HandleAttributes, VF_CALLER(), Handle);
	ob_dereference(Object);
	return status;
}

/*
 * Name to referenced object. IRQL = PASSIVE (DEF-307). AccessState and ParseContext have no use
 * here: devices and drivers are objects of the namespace itself. STATUS_OBJECT_NAME_NOT_FOUND,
 * _PATH_NOT_FOUND, _TYPE_MISMATCH.
 */
NTSTATUS NTAPI ObReferenceObjectByName(PUNICODE_STRING ObjectName, ULONG Attributes,
				       PACCESS_STATE AccessState, ACCESS_MASK DesiredAccess,
				       POBJECT_TYPE ObjectType, KPROCESSOR_MODE AccessMode,
				       PVOID ParseContext, PVOID *Object)
{
	OBJECT_ATTRIBUTES attributes;
	(void)AccessState;
	(void)DesiredAccess;
	(void)AccessMode;
	(void)ParseContext;
	*Object = 0;
	if (!ObjectName || !ObjectName->Length)
		return STATUS_OBJECT_NAME_INVALID;
	InitializeObjectAttributes(&attributes, ObjectName, Attributes, 0, 0);
	return ob_open(&attributes, ObjectType, Object);
}

/*
 * The full name. IRQL = PASSIVE. STATUS_INFO_LENGTH_MISMATCH with *ReturnLength when the buffer is
 * too small; an object without a name gives an empty string.
 */
NTSTATUS NTAPI ObQueryNameString(PVOID Object, POBJECT_NAME_INFORMATION ObjectNameInfo,
				 ULONG Length, PULONG ReturnLength)
{
	size_t characters = ob_name(Object, 0, 0);
	size_t need = sizeof(*ObjectNameInfo) + (characters ? (characters + 1) * sizeof(WCHAR) : 0);
	*ReturnLength = (ULONG)need;
	if (need > Length || !ObjectNameInfo)
		return STATUS_INFO_LENGTH_MISMATCH;
	WCHAR *text = (WCHAR *)(ObjectNameInfo + 1);
	memset(ObjectNameInfo, 0, sizeof(*ObjectNameInfo));
	if (!characters)
		return STATUS_SUCCESS;
	size_t now = ob_name(Object, text, characters);
	if (now > characters)
		return STATUS_INFO_LENGTH_MISMATCH; /* renamed meanwhile */
	text[now] = 0;
	ObjectNameInfo->Name.Buffer = text;
	ObjectNameInfo->Name.Length = (USHORT)(now * sizeof(WCHAR));
	ObjectNameInfo->Name.MaximumLength = (USHORT)((now + 1) * sizeof(WCHAR));
	return STATUS_SUCCESS;
}

/* Objects have no security here: *SecurityDescriptor is NULL, as documented for such. IRQL =
 * PASSIVE. STATUS_SUCCESS. */
NTSTATUS NTAPI ObGetObjectSecurity(PVOID Object, PSECURITY_DESCRIPTOR *SecurityDescriptor,
				   PBOOLEAN MemoryAllocated)
{
	(void)Object;
	*SecurityDescriptor = 0;
	*MemoryAllocated = FALSE;
	return STATUS_SUCCESS;
}

/* IRQL = PASSIVE. There is nothing to release unless ObGetObjectSecurity allocated it, which it
 * never does. */
VOID NTAPI ObReleaseObjectSecurity(PSECURITY_DESCRIPTOR SecurityDescriptor, BOOLEAN MemoryAllocated)
{
	(void)SecurityDescriptor;
	(void)MemoryAllocated;
}

/* ZwQueryObject's first class. */
struct basic_information {
	ULONG Attributes;
	ACCESS_MASK GrantedAccess;
	ULONG HandleCount;
	ULONG PointerCount;
	ULONG Reserved[10];
};
_Static_assert(sizeof(struct basic_information) == 0x38, "PUBLIC_OBJECT_BASIC_INFORMATION");

/*
 * About an object by handle: class 0 (counts and access) and 1 (its name). IRQL = PASSIVE.
 * STATUS_INFO_LENGTH_MISMATCH with *ReturnLength, STATUS_INVALID_INFO_CLASS, STATUS_INVALID_HANDLE.
 */
NTSTATUS NTAPI ZwQueryObject(HANDLE Handle, ULONG ObjectInformationClass, PVOID ObjectInformation,
			     ULONG ObjectInformationLength, PULONG ReturnLength)
{
	struct basic_information basic = {0};
	ULONG need = sizeof(basic);
	void *body;
	NTSTATUS status =
		ob_handle_reference(Handle, 0, 0, KernelMode, &body, &basic.GrantedAccess);
	if (!NT_SUCCESS(status))
		return status;
	if (ObjectInformationClass == 1) {
		status = ObQueryNameString(body, ObjectInformation, ObjectInformationLength, &need);
	} else if (ObjectInformationClass != 0) {
		status = STATUS_INVALID_INFO_CLASS;
	} else if (ObjectInformationLength < need) {
		status = STATUS_INFO_LENGTH_MISMATCH;
	} else {
		basic.HandleCount = (ULONG)ob_handle_count(body);
		basic.PointerCount = (ULONG)ob_reference_count(body) - 1; /* without ours */
		memcpy(ObjectInformation, &basic, need);
	}
	if (ReturnLength && status != STATUS_INVALID_INFO_CLASS)
		*ReturnLength = need;
	ob_dereference(body);
	return status;
}

/* The object may go when its last handle and reference do. IRQL = PASSIVE. */
VOID NTAPI ObMakeTemporaryObject(PVOID Object)
{
	ob_make_temporary(Object);
}

/* The type of an object: what *PsThreadType and its like hold. Any IRQL. */
POBJECT_TYPE NTAPI ObGetObjectType(PVOID Object)
{
	return ob_type(Object);
}

/* True for a handle made with OBJ_KERNEL_HANDLE. Any IRQL. */
BOOLEAN NTAPI ObIsKernelHandle(HANDLE Handle)
{
	return (LONG_PTR)Handle < 0 && Handle != (HANDLE)-1 && Handle != (HANDLE)-2;
}

/* IRQL = PASSIVE (VER-21). STATUS_SUCCESS, STATUS_INVALID_HANDLE (DEF-147). */
NTSTATUS NTAPI ZwClose(HANDLE Handle)
{
	return ob_handle_close(Handle);
}

NTSTATUS NTAPI NtClose(HANDLE Handle)
{
	return ob_handle_close(Handle);
}

NTSTATUS NTAPI ObCloseHandle(HANDLE Handle, KPROCESSOR_MODE PreviousMode)
{
	(void)PreviousMode;
	return ob_handle_close(Handle);
}

/* IRQL = PASSIVE. Drops OBJ_PERMANENT. STATUS_SUCCESS, STATUS_INVALID_HANDLE. */
NTSTATUS NTAPI ZwMakeTemporaryObject(HANDLE Handle)
{
	void *body;
	NTSTATUS status = ob_handle_reference(Handle, 0, 0, KernelMode, &body, 0);
	if (!NT_SUCCESS(status))
		return status;
	ob_make_temporary(body);
	ob_dereference(body);
	return STATUS_SUCCESS;
}

/* A second handle of the same object, in the only process there is. IRQL = PASSIVE. */
NTSTATUS NTAPI ZwDuplicateObject(HANDLE SourceProcessHandle, HANDLE SourceHandle,
				 HANDLE TargetProcessHandle, PHANDLE TargetHandle,
				 ACCESS_MASK DesiredAccess, ULONG HandleAttributes, ULONG Options)
{
	void *body;
	HANDLE copy;
	ACCESS_MASK granted;
	NTSTATUS status =
		ob_handle_reference(SourceProcessHandle, 0, PsProcessType, KernelMode, &body, 0);
	if (!NT_SUCCESS(status))
		return status;
	ob_dereference(body);
	status = ob_handle_reference(SourceHandle, 0, 0, KernelMode, &body, &granted);
	if (!NT_SUCCESS(status))
		return status;
	if (TargetHandle) {
		void *target;
		status = ob_handle_reference(TargetProcessHandle, 0, PsProcessType, KernelMode,
					     &target, 0);
		if (NT_SUCCESS(status)) {
			ob_dereference(target);
			status = ob_handle_create(
				body, Options & DUPLICATE_SAME_ACCESS ? granted : DesiredAccess,
				HandleAttributes, VF_CALLER(), &copy);
		}
		if (NT_SUCCESS(status))
			*TargetHandle = copy;
	}
	if (Options & DUPLICATE_CLOSE_SOURCE)
		ob_handle_close(SourceHandle);
	ob_dereference(body);
	return status;
}

/* ---- Directories ---- */

/* IRQL = PASSIVE (DEF-288). STATUS_OBJECT_NAME_NOT_FOUND, _PATH_NOT_FOUND, _TYPE_MISMATCH,
 * _PATH_SYNTAX_BAD. */
NTSTATUS NTAPI ZwOpenDirectoryObject(PHANDLE DirectoryHandle, ACCESS_MASK DesiredAccess,
				     POBJECT_ATTRIBUTES ObjectAttributes)
{
	void *body;
	NTSTATUS status = ob_open(ObjectAttributes, &ob_directory_type, &body);
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(body, DesiredAccess, ObjectAttributes->Attributes, VF_CALLER(),
				  DirectoryHandle);
	ob_dereference(body);
	return status;
}

/* IRQL = PASSIVE. STATUS_SUCCESS, STATUS_OBJECT_NAME_EXISTS (OBJ_OPENIF), _NAME_COLLISION,
 * _PATH_NOT_FOUND, ... */
NTSTATUS NTAPI ZwCreateDirectoryObject(PHANDLE DirectoryHandle, ACCESS_MASK DesiredAccess,
				       POBJECT_ATTRIBUTES ObjectAttributes)
{
	void *body;
	NTSTATUS status = ob_directory_create(ObjectAttributes, &body), made = status;
	if (status == STATUS_OBJECT_NAME_COLLISION && ObjectAttributes->Attributes & OBJ_OPENIF) {
		status = ob_open(ObjectAttributes, &ob_directory_type, &body);
		made = STATUS_OBJECT_NAME_EXISTS;
	}
	if (!NT_SUCCESS(status))
		return status;
	status = ob_handle_create(body, DesiredAccess, ObjectAttributes->Attributes, VF_CALLER(),
				  DirectoryHandle);
	ob_dereference(body);
	return NT_SUCCESS(status) ? made : status;
}

/*
 * Physical memory and other sections are not offered: IRQL = PASSIVE; always STATUS_ACCESS_DENIED
 * for \Device\PhysicalMemory (DEF-290), else STATUS_OBJECT_NAME_NOT_FOUND and what the walk along
 * the name gives.
 */
NTSTATUS NTAPI ZwOpenSection(PHANDLE SectionHandle, ACCESS_MASK DesiredAccess,
			     POBJECT_ATTRIBUTES ObjectAttributes)
{
	static const UNICODE_STRING memory = RTL_CONSTANT_STRING(L"\\Device\\PhysicalMemory");
	void *body;
	NTSTATUS status;
	(void)DesiredAccess;
	*SectionHandle = 0;
	if (ObjectAttributes->ObjectName &&
	    !rtl_compare_unicode(ObjectAttributes->ObjectName, &memory, true))
		return STATUS_ACCESS_DENIED;
	status = ob_open(ObjectAttributes, 0, &body);
	if (NT_SUCCESS(status)) {
		ob_dereference(body);
		status = STATUS_OBJECT_TYPE_MISMATCH;
	}
	return status;
}
