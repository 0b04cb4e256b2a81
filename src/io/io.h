/* SPDX-License-Identifier: MIT */
/*
 * io.h: drivers, devices, requests, files and the registry, for the rest of the core.
 */
#pragma once

#include "ke/ke.h"

struct ldr_image;

/* Boot, on a kernel thread, after ob, ps and ex: the registry, the names of the system's devices.
 */
NTSTATUS io_initialize(void);

/* ---- Drivers (PLT-58..60, DEF-121, DEF-341); PASSIVE_LEVEL, on a system thread ---- */

/*
 * Make the driver object of a loaded image and run DriverEntry; then its reinitialization routines.
 * The service is named like the file, without extension. Success: INIT sections are discarded.
 * Failure: the verifier has looked at what was left behind, and the image is unloaded. Returns what
 * DriverEntry returned, or STATUS_INSUFFICIENT_RESOURCES, STATUS_OBJECT_NAME_COLLISION (a driver
 * object of this name is there; the image is unloaded as well).
 */
NTSTATUS io_driver_start(struct ldr_image *image);
/*
 * Run DriverUnload, let the verifier look, unload the image. STATUS_INVALID_DEVICE_REQUEST: the
 * driver has no DriverUnload (PLT-59). STATUS_DEVICE_BUSY: a device is open or attached to, a PnP
 * registration is left, or images import from it; then DriverUnload was not called.
 * STATUS_NOT_FOUND: no started driver has this image.
 */
NTSTATUS io_driver_unload(struct ldr_image *image);
/* Why the last io_driver_unload did not unload: printable words, no full stop; valid until the
 * next. */
const char *io_driver_busy_reason(void);
/* Before the machine stops: IRP_MJ_SHUTDOWN to the devices that asked for it. */
void io_shutdown(void);

/* ---- The service's registry key ---- */

/*
 * A value of \Registry\Machine\System\CurrentControlSet\Services\<service>: a decimal or 0x number
 * is a REG_DWORD (REG_QWORD from 2^32 on), hex:01ab.. a REG_BINARY, other text (UTF-8) a REG_SZ.
 * STATUS_INVALID_PARAMETER: bad UTF-8 or hex digits, or longer than 512 characters. PASSIVE_LEVEL.
 */
NTSTATUS io_registry_set(const char *service, const char *name, const char *value);

/* ---- User mode's way to a device ---- */

struct io_user_request {
	const char *device; /* NAME of \\.\NAME, or a full object name that begins with a backslash;
			       UTF-8 */
	uint32_t code;
	const void *in;
	size_t in_size;
	void *out;
	size_t out_size;
	size_t returned; /* IoStatus.Information */
	NTSTATUS status; /* of the IRP, or why it was not sent */
};
/* Open, send one IOCTL by the code's transfer method, close. On a system thread at PASSIVE_LEVEL.
 */
void io_user_ioctl(struct io_user_request *request);

/* ---- Files ---- */

/* The host has given a folder for \??\C:\; false: opening a file there is
 * STATUS_OBJECT_PATH_NOT_FOUND. Set before drivers run. */
extern bool io_files_present;

/* ---- Plug and play: device interface arrival (PRC-48) ---- */

/* Tell all who registered for this interface class. PASSIVE_LEVEL. `link`: symbolic link name; may
 * be 0. */
void io_pnp_arrival(const GUID *interface_class, PCUNICODE_STRING link);

extern struct _OBJECT_TYPE io_device_type, io_driver_type, io_file_type, io_key_type;
