/* SPDX-License-Identifier: MIT */
/*
 * log.c: entries for the system's event log: printed as one line of the report.
 *
 * Contexts: <= DISPATCH_LEVEL. No locks: an entry belongs to the driver until it is written or
 * freed.
 */
#include "io/io_internal.h"

#define ENTRY_SIGNATURE 0x676f4c45u

/* In front of what the driver fills in. */
struct entry {
	uint32_t signature;
	uint32_t size;
	void *object; /* driver or device, referenced */
};
_Static_assert(sizeof(struct entry) % 16 == 0, "what follows is 16-byte aligned");

/* An entry of EntrySize bytes for a driver or device object. IRQL <= DISPATCH. NULL: a bad size, or
 * no memory. */
PVOID NTAPI IoAllocateErrorLogEntry(PVOID IoObject, UCHAR EntrySize)
{
	if (!IoObject || EntrySize < sizeof(IO_ERROR_LOG_PACKET) ||
	    EntrySize > ERROR_LOG_MAXIMUM_SIZE)
		return 0;
	struct entry *entry = io_allocate(sizeof(*entry) + EntrySize);
	if (!entry)
		return 0;
	*entry = (struct entry){ENTRY_SIGNATURE, EntrySize, IoObject};
	ob_reference(IoObject);
	return entry + 1;
}

static void release(struct entry *entry)
{
	entry->signature = 0;
	ob_dereference(entry->object);
	ex_free(entry);
}

/* Print the entry and free it. IRQL <= DISPATCH. */
VOID NTAPI IoWriteErrorLogEntry(PVOID ElEntry)
{
	struct entry *entry = (struct entry *)ElEntry - 1;
	IO_ERROR_LOG_PACKET *packet = ElEntry;
	PDRIVER_OBJECT driver = entry->object;
	char name[64];
	if (entry->signature != ENTRY_SIGNATURE)
		return;
	if (ob_type(entry->object) == &io_device_type)
		driver = ((PDEVICE_OBJECT)entry->object)->DriverObject;
	rtl_narrow(name, sizeof(name), driver->DriverName.Buffer,
		   driver->DriverName.Length / sizeof(WCHAR));
	ke_print(PORT_STREAM_REPORT, "%s: event 0x%08x, final status 0x%08x, unique value %u\n",
		 name, packet->ErrorCode, packet->FinalStatus, packet->UniqueErrorValue);
	release(entry);
}

/* An entry that is not written after all. IRQL <= DISPATCH. */
VOID NTAPI IoFreeErrorLogEntry(PVOID ElEntry)
{
	struct entry *entry = (struct entry *)ElEntry - 1;
	if (entry->signature == ENTRY_SIGNATURE)
		release(entry);
}
