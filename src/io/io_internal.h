/* SPDX-License-Identifier: MIT */
/* io_internal.h: what the files of io share. */
#pragma once

#include "ex/ex.h"
#include "io/io.h"
#include "ke/callout.h"
#include "ob/ob.h"
#include "ps/ps.h"
#include "rtl/rtl.h"
#include "vf/vf.h"

/* Drivers' device lists, attachment, open counts. DISPATCH_LEVEL. */
extern struct ke_lock io_lock;

/* Who asks for an object, kept only while the verifier lists what is left. In a DDI's own frame. */
#define IO_OWNER() (vf_on() ? VF_CALLER() : 0)

/* Zeroed. */
static inline void *io_allocate(size_t size)
{
	return ex_allocate(size, ' oIK', NonPagedPoolNx);
}

/* ---- Drivers ---- */

struct io_client_extension { /* IoAllocateDriverObjectExtension */
	struct io_client_extension *next;
	void *id;
	uint64_t pad;
	_Alignas(16) uint8_t data[];
};

struct io_reinitialize {
	LIST_ENTRY entry;
	PDRIVER_REINITIALIZE routine;
	void *context;
};

/* The body of a driver object. */
struct io_driver {
	DRIVER_OBJECT object;
	DRIVER_EXTENSION extension;
	uint8_t extension_tail[0x28];        /* members of newer systems */
	struct ldr_image *image;             /* 0: made by the core or by IoCreateDriver */
	LIST_ENTRY all;                      /* driver.c; io_lock */
	LIST_ENTRY reinitialize[2];          /* boot, normal; io_lock */
	struct io_client_extension *clients; /* io_lock */
	_Atomic uint32_t registrations;      /* PnP notifications */
	bool failed;                         /* DriverEntry failed */
};
_Static_assert(offsetof(struct io_driver, object) == 0, "the body begins with DRIVER_OBJECT");

static inline struct io_driver *io_driver_of(PDRIVER_OBJECT object)
{
	return (struct io_driver *)object;
}

/* A driver object named \Driver\<name> whose routines are the default ones; one reference. */
NTSTATUS io_driver_create(const UNICODE_STRING *name, struct io_driver **driver);
/* The image that a code address belongs to has this driver object (0: none). Referenced. */
struct io_driver *io_driver_find(const struct ldr_image *image);
/* Take it out of the namespace and give back the reference of its existence. */
void io_driver_discard(struct io_driver *driver);
NTSTATUS NTAPI io_invalid_request(PDEVICE_OBJECT device, PIRP irp);

/* ---- Devices ---- */

/* Behind the driver's extension; DEVICE_OBJECT.DeviceObjectExtension points here. */
struct io_device {
	DEVOBJ_EXTENSION public;
	PDEVICE_OBJECT object;
	PDEVICE_OBJECT attached_to; /* io_lock */
	bool deleted;               /* IoDeleteDevice was called; io_lock */
	bool shutdown;              /* wants IRP_MJ_SHUTDOWN */
	uint64_t caller;            /* who created it */
	LIST_ENTRY shutdown_entry;
	/* IoInitializeTimer */
	KTIMER timer;
	KDPC timer_dpc;
	PIO_TIMER_ROUTINE timer_routine;
	void *timer_context;
	_Atomic bool timer_on;
};

static inline struct io_device *io_device_of(PDEVICE_OBJECT device)
{
	return (struct io_device *)device->DeviceObjectExtension;
}

/* An open file keeps a device from going. False: it is being deleted, or exclusive and open
 * (*exclusive). */
bool io_device_open(PDEVICE_OBJECT device, bool *exclusive);
void io_device_close(PDEVICE_OBJECT device);
/* The highest device attached above `device`, referenced. */
PDEVICE_OBJECT io_device_top(PDEVICE_OBJECT device);
/* Why the driver cannot unload now; 0: it can. */
const char *io_devices_busy(struct io_driver *driver);
void io_timer_remove(struct io_device *device);
void io_shutdown_remove(struct io_device *device);

/* Not in drivers' public headers. */
PDEVICE_OBJECT NTAPI IoGetAttachedDevice(PDEVICE_OBJECT DeviceObject);

/* ---- Requests ---- */

/* IofCallDriver on the core's own account: with a call record around the driver. */
NTSTATUS io_call(PDEVICE_OBJECT device, PIRP irp);
/* Call a driver's routine: record around it, IRQL checked after. */
#define IO_CALLOUT(routine, context, call)                                                         \
	do {                                                                                       \
		struct ke_call_record io_record;                                                   \
		KIRQL io_irql = ke_irql();                                                         \
		ke_callout_begin(&io_record, 0);                                                   \
		call;                                                                              \
		ke_callout_end(&io_record);                                                        \
		if (vf_on())                                                                       \
			vf_callout_irql((const void *)(routine), (const void *)(context), io_irql, \
					2);                                                        \
	} while (0)

struct io_request;

/* In front of every IRP that IoAllocateIrp or IoBuild* made (IRP_ALLOCATED_FIXED_SIZE is set). */
struct io_packet {
	LIST_ENTRY all;   /* irp.c's lock */
	PKTHREAD thread;  /* on which it is finished (built ones): referenced; 0: nobody's */
	uint64_t caller;  /* who allocated it */
	uint64_t routine; /* the dispatch routine that was called last, for messages */
	struct io_request
		*_Atomic request; /* a request of the core: who is told; taken by exchange */
	ULONG out_size;           /* room at UserBuffer for buffered output */
	bool built;  /* by IoBuild* or for a file function: the I/O manager finishes it */
	bool queued; /* the thread's end cancels it */
	uint64_t pad;
};
_Static_assert(sizeof(struct io_packet) % 16 == 0, "IRPs are 16-byte aligned (PLT-93)");

static inline struct io_packet *io_packet_of(PIRP irp)
{
	return irp->AllocationFlags & IRP_ALLOCATED_FIXED_SIZE ? (struct io_packet *)irp - 1 : 0;
}

/* An IRP; 0: no memory. <= DISPATCH_LEVEL. */
PIRP io_irp_allocate(CCHAR stack_size, uint64_t caller);
void io_irp_free(PIRP irp);
/* It belongs to the calling thread, and the I/O manager finishes it. `queued`: the thread's end
 * cancels it. */
void io_irp_own(PIRP irp, bool queued);

/*
 * The last step: output to the caller's buffer, memory of the request, status block, event, the IRP
 * itself. On the requesting thread at <= APC_LEVEL, or anywhere <= DISPATCH_LEVEL when its memory
 * is not pageable.
 */
void io_irp_finish(PIRP irp);

/*
 * Prepare MajorFunction's buffers by the device's method (Flags) or, for control codes, the code's.
 * The IRP's next location has MajorFunction set. STATUS_INSUFFICIENT_RESOURCES,
 * STATUS_ACCESS_VIOLATION (a buffer is not there).
 */
NTSTATUS io_irp_buffers(PIRP irp, PDEVICE_OBJECT device, void *buffer, ULONG length);
NTSTATUS io_irp_control_buffers(PIRP irp, ULONG code, const void *in, ULONG in_size, void *out,
				ULONG out_size);

/* A system buffer of `size` that begins with `in`; with `out`, the result goes there.
 * STATUS_INSUFFICIENT_RESOURCES. */
NTSTATUS io_irp_system_buffer(PIRP irp, const void *in, ULONG in_size, void *out, ULONG size);

/* A request that the calling thread waits for. */
struct io_request {
	PIRP irp;
	KEVENT event;
	IO_STATUS_BLOCK result;
	bool waits; /* completed without pending: the sender finishes it. Written before the event
		       is set */
};
/* An IRP for `device` with `file` (may be 0) in its first location. STATUS_INSUFFICIENT_RESOURCES.
 * PASSIVE_LEVEL. */
NTSTATUS io_request_begin(struct io_request *request, PDEVICE_OBJECT device, PFILE_OBJECT file,
			  UCHAR major);
/* Not sent after all. */
void io_request_abandon(struct io_request *request);
/* Send, wait, finish. Returns the final status; `result` has the information. PASSIVE_LEVEL. */
NTSTATUS io_request_send(struct io_request *request, PDEVICE_OBJECT device);

/* ---- Files ---- */

struct io_open {
	const OBJECT_ATTRIBUTES *attributes;
	ACCESS_MASK access;
	const LARGE_INTEGER *allocation; /* may be 0 */
	ULONG file_attributes, share, disposition, options;
	void *ea;
	ULONG ea_size;
	KPROCESSOR_MODE mode;
};
/* Open by name; one reference. *information: FILE_OPENED ... PASSIVE_LEVEL. */
NTSTATUS io_file_open(const struct io_open *open, PFILE_OBJECT *file, ULONG_PTR *information);
/* The last handle is closed (also for files that never had one). */
void io_file_cleanup(PFILE_OBJECT file);
/* The device that gets the file's requests, referenced. */
PDEVICE_OBJECT io_file_device(PFILE_OBJECT file);
/* GENERIC_* rights as the rights of files. */
ACCESS_MASK io_file_access(ACCESS_MASK access);
/* A request on an open file, for a function that takes a handle. */
struct io_call {
	PFILE_OBJECT file;
	PDEVICE_OBJECT device;
	PKEVENT event; /* referenced; 0: none */
	ACCESS_MASK access;
	bool locked;
	struct io_request request;
};
/* `event`: handle of the caller's event, or 0. Afterwards exactly one of the two below. */
NTSTATUS io_call_begin(struct io_call *call, HANDLE handle, HANDLE event, UCHAR major);
/* Not sent: gives back `status`, which tells why. */
NTSTATUS io_call_abandon(struct io_call *call, NTSTATUS status);
NTSTATUS io_call_send(struct io_call *call, PIO_STATUS_BLOCK block);
NTSTATUS io_status_of_errno(int error);
/* The device behind \??\C:. */
NTSTATUS io_host_files_initialize(void);
void io_irp_initialize(void);
NTSTATUS io_registry_initialize(void);
/* Make the service's key, if it is not there. */
NTSTATUS io_registry_service(const UNICODE_STRING *service);
