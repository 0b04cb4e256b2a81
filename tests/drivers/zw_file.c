/* SPDX-License-Identifier: MIT */
/* Files of the host (DEF-128, DEF-169, DEF-217, DEF-219, DEF-292); with -DNO_FILES the machine has
 * none. */
#include "check.h"

static IO_STATUS_BLOCK block;

static NTSTATUS open_as(PCWSTR path, HANDLE *handle, ACCESS_MASK access, ULONG share,
			ULONG disposition, ULONG options)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	RtlInitUnicodeString(&name, path);
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE | OBJ_KERNEL_HANDLE,
				   NULL, NULL);
	return ZwCreateFile(handle, access, &attributes, &block, NULL, FILE_ATTRIBUTE_NORMAL, share,
			    disposition, options, NULL, 0);
}

static NTSTATUS delete (PCWSTR path)
{
	UNICODE_STRING name;
	OBJECT_ATTRIBUTES attributes;
	RtlInitUnicodeString(&name, path);
	InitializeObjectAttributes(&attributes, &name, OBJ_CASE_INSENSITIVE, NULL, NULL);
	return ZwDeleteFile(&attributes);
}

static void log_file(void)
{
	HANDLE handle;
	FILE_STANDARD_INFORMATION standard;
	for (ULONG round = 0; round < 3; round++) {
		CHECK(open_as(L"\\??\\C:\\ketch.log", &handle, FILE_APPEND_DATA | SYNCHRONIZE,
			      FILE_SHARE_READ, FILE_OPEN_IF,
			      FILE_SYNCHRONOUS_IO_NONALERT) == STATUS_SUCCESS &&
			      block.Information == (round ? FILE_OPENED : FILE_CREATED),
		      "DEF-128 FILE_OPEN_IF for FILE_APPEND_DATA");
		CHECK(ZwWriteFile(handle, NULL, NULL, NULL, &block, "line\n", 5, NULL, NULL) ==
				      STATUS_SUCCESS &&
			      block.Information == 5,
		      "DEF-128 ZwWriteFile with NULL offset appends");
		ZwClose(handle);
	}
	CHECK(open_as(L"\\DosDevices\\C:\\ketch.log", &handle, GENERIC_READ | SYNCHRONIZE,
		      FILE_SHARE_READ, FILE_OPEN,
		      FILE_SYNCHRONOUS_IO_NONALERT | FILE_NON_DIRECTORY_FILE) == STATUS_SUCCESS,
	      "\\DosDevices\\C: is the same folder");
	CHECK(ZwQueryInformationFile(handle, &block, &standard, sizeof(standard),
				     FileStandardInformation) == STATUS_SUCCESS &&
		      standard.EndOfFile.QuadPart == 15 && !standard.Directory &&
		      block.Information == sizeof(standard),
	      "DEF-217 FileStandardInformation");
	CHECK(ZwQueryInformationFile(handle, &block, &standard, 4, FileStandardInformation) ==
		      STATUS_INFO_LENGTH_MISMATCH,
	      "DEF-217 a small buffer");
	struct {
		DEVICE_TYPE DeviceType;
		ULONG Characteristics;
	} volume; /* FILE_FS_DEVICE_INFORMATION */
	CHECK(ZwQueryVolumeInformationFile(handle, &block, &volume, sizeof(volume),
					   FileFsDeviceInformation) == STATUS_SUCCESS &&
		      volume.DeviceType == FILE_DEVICE_DISK_FILE_SYSTEM,
	      "FileFsDeviceInformation");
	CHECK(ZwQueryInformationFile(handle, &block, &standard, sizeof(standard), 77) ==
		      STATUS_INVALID_INFO_CLASS,
	      "DEF-217 an unknown class");
	ZwClose(handle);
}

static void reads(void)
{
	HANDLE handle;
	UCHAR buffer[32];
	LARGE_INTEGER offset = {.QuadPart = 5};
	FILE_POSITION_INFORMATION position;
	open_as(L"\\SystemRoot\\ketch.log", &handle, GENERIC_READ | SYNCHRONIZE, FILE_SHARE_READ,
		FILE_OPEN, FILE_SYNCHRONOUS_IO_NONALERT);
	CHECK(ZwReadFile(handle, NULL, NULL, NULL, &block, buffer, 4, NULL, NULL) ==
			      STATUS_SUCCESS &&
		      block.Information == 4 && buffer[0] == 'l',
	      "DEF-292 ZwReadFile from the current position");
	ZwQueryInformationFile(handle, &block, &position, sizeof(position),
			       FilePositionInformation);
	CHECK(position.CurrentByteOffset.QuadPart == 4, "which moves on");
	CHECK(ZwReadFile(handle, NULL, NULL, NULL, &block, buffer, 32, &offset, NULL) ==
			      STATUS_SUCCESS &&
		      block.Information == 10,
	      "DEF-292 ZwReadFile at an offset, short at the end");
	CHECK(ZwReadFile(handle, NULL, NULL, NULL, &block, buffer, 32, NULL, NULL) ==
		      STATUS_END_OF_FILE,
	      "DEF-292 STATUS_END_OF_FILE");
	position.CurrentByteOffset.QuadPart = 1;
	CHECK(ZwSetInformationFile(handle, &block, &position, sizeof(position),
				   FilePositionInformation) == STATUS_SUCCESS &&
		      ZwReadFile(handle, NULL, NULL, NULL, &block, buffer, 1, NULL, NULL) ==
			      STATUS_SUCCESS &&
		      buffer[0] == 'i',
	      "FilePositionInformation is set");
	CHECK(ZwWriteFile(handle, NULL, NULL, NULL, &block, buffer, 1, NULL, NULL) ==
		      STATUS_ACCESS_DENIED,
	      "a file opened for reading");
	ZwClose(handle);
}

static void writes(void)
{
	HANDLE handle, second;
	FILE_END_OF_FILE_INFORMATION end = {.EndOfFile.QuadPart = 3};
	FILE_STANDARD_INFORMATION standard;
	LARGE_INTEGER offset = {.QuadPart = 10},
		      last = {.LowPart = FILE_WRITE_TO_END_OF_FILE, .HighPart = -1};
	PUCHAR paged = ExAllocatePoolWithTag(PagedPool, 100000, 'tseT');
	RtlFillMemory(paged, 100000, 0x33);
	CHECK(open_as(L"\\??\\C:\\data.bin", &handle, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ,
		      FILE_OVERWRITE_IF, FILE_SYNCHRONOUS_IO_NONALERT) == STATUS_SUCCESS &&
		      block.Information == FILE_CREATED,
	      "FILE_OVERWRITE_IF creates; GENERIC_WRITE includes SYNCHRONIZE");
	CHECK(ZwWriteFile(handle, NULL, NULL, NULL, &block, paged, 100000, &offset, NULL) ==
			      STATUS_SUCCESS &&
		      block.Information == 100000,
	      "DEF-219 ZwWriteFile from paged pool");
	CHECK(ZwWriteFile(handle, NULL, NULL, NULL, &block, paged, 1, &last, NULL) ==
		      STATUS_SUCCESS,
	      "FILE_WRITE_TO_END_OF_FILE");
	RtlZeroMemory(paged, 100000);
	offset.QuadPart = 50000;
	CHECK(ZwReadFile(handle, NULL, NULL, NULL, &block, paged, 100000, &offset, NULL) ==
			      STATUS_SUCCESS &&
		      block.Information == 50011 && paged[0] == 0x33 && paged[50010] == 0x33 &&
		      paged[50011] == 0,
	      "what was written is read");
	CHECK(ZwSetInformationFile(handle, &block, &end, sizeof(end), FileEndOfFileInformation) ==
			      STATUS_SUCCESS &&
		      ZwQueryInformationFile(handle, &block, &standard, sizeof(standard),
					     FileStandardInformation) == STATUS_SUCCESS &&
		      standard.EndOfFile.QuadPart == 3,
	      "FileEndOfFileInformation cuts");
	CHECK(ZwFlushBuffersFile(handle, &block) == STATUS_SUCCESS, "ZwFlushBuffersFile");
	CHECK(open_as(L"\\??\\C:\\data.bin", &second, GENERIC_WRITE,
		      FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN,
		      FILE_SYNCHRONOUS_IO_NONALERT) == STATUS_SHARING_VIOLATION,
	      "share modes");
	ZwClose(handle);
	CHECK(open_as(L"\\??\\C:\\data.bin", &handle, GENERIC_WRITE, 0, FILE_CREATE, 0) ==
		      STATUS_OBJECT_NAME_COLLISION,
	      "FILE_CREATE of a file that is there");
	CHECK(open_as(L"\\??\\C:\\data.bin", &handle, GENERIC_WRITE | DELETE, 0, FILE_SUPERSEDE,
		      FILE_DELETE_ON_CLOSE) == STATUS_SUCCESS &&
		      block.Information == FILE_SUPERSEDED,
	      "FILE_SUPERSEDE");
	ZwClose(handle);
	CHECK(open_as(L"\\??\\C:\\data.bin", &handle, GENERIC_READ, 0, FILE_OPEN, 0) ==
		      STATUS_OBJECT_NAME_NOT_FOUND,
	      "FILE_DELETE_ON_CLOSE");
	ExFreePoolWithTag(paged, 'tseT');
}

static void names(void)
{
	HANDLE handle, root;
	UNICODE_STRING relative = RTL_CONSTANT_STRING(L"ketch.log");
	OBJECT_ATTRIBUTES attributes;
	FILE_NETWORK_OPEN_INFORMATION info;
	CHECK(open_as(L"\\??\\C:\\none\\x", &handle, GENERIC_READ, 0, FILE_OPEN, 0) ==
		      STATUS_OBJECT_PATH_NOT_FOUND,
	      "an absent folder");
	CHECK(open_as(L"\\??\\C:\\ketch.log\\x", &handle, GENERIC_READ, 0, FILE_OPEN, 0) ==
		      STATUS_OBJECT_PATH_NOT_FOUND,
	      "a file is no folder");
	CHECK(open_as(L"\\??\\C:\\..\\x", &handle, GENERIC_READ, 0, FILE_OPEN, 0) ==
		      STATUS_OBJECT_NAME_INVALID,
	      "nothing leads out of the folder");
	CHECK(open_as(L"\\??\\C:\\a/b", &handle, GENERIC_READ, 0, FILE_OPEN, 0) ==
		      STATUS_OBJECT_NAME_INVALID,
	      "/ is no separator");
	CHECK(open_as(L"\\??\\D:\\x", &handle, GENERIC_READ, 0, FILE_OPEN, 0) ==
		      STATUS_OBJECT_PATH_NOT_FOUND,
	      "there is no D:");
	CHECK(open_as(L"\\??\\C:\\", &handle, GENERIC_READ, 0, FILE_OPEN,
		      FILE_NON_DIRECTORY_FILE) == STATUS_FILE_IS_A_DIRECTORY,
	      "a folder is no file");
	CHECK(open_as(L"\\??\\C:\\ketch.log", &handle, GENERIC_READ, FILE_SHARE_READ, FILE_OPEN,
		      FILE_DIRECTORY_FILE) == STATUS_NOT_A_DIRECTORY,
	      "a file is no directory");
	CHECK(open_as(L"\\??\\C:\\ketch.log", &handle, FILE_READ_DATA, 0, FILE_OPEN,
		      FILE_SYNCHRONOUS_IO_NONALERT) == STATUS_INVALID_PARAMETER,
	      "synchronous I/O needs SYNCHRONIZE");
	CHECK(open_as(L"\\??\\C:\\", &root, FILE_LIST_DIRECTORY | SYNCHRONIZE,
		      FILE_SHARE_READ | FILE_SHARE_WRITE, FILE_OPEN,
		      FILE_DIRECTORY_FILE | FILE_SYNCHRONOUS_IO_NONALERT) == STATUS_SUCCESS,
	      "the folder is opened");
	InitializeObjectAttributes(&attributes, &relative, OBJ_CASE_INSENSITIVE, root, NULL);
	CHECK(ZwOpenFile(&handle, GENERIC_READ, &attributes, &block, FILE_SHARE_READ, 0) ==
		      STATUS_SUCCESS,
	      "a name relative to it");
	ZwClose(handle);
	ZwClose(root);
	attributes.RootDirectory = NULL;
	RtlInitUnicodeString(&relative, L"\\??\\C:\\ketch.log");
	CHECK(ZwQueryFullAttributesFile(&attributes, &info) == STATUS_SUCCESS &&
		      info.EndOfFile.QuadPart == 15 && info.FileAttributes == FILE_ATTRIBUTE_NORMAL,
	      "ZwQueryFullAttributesFile");
	CHECK(delete (L"\\??\\C:\\ketch.log") == STATUS_SUCCESS, "ZwDeleteFile");
	CHECK(delete (L"\\??\\C:\\ketch.log") == STATUS_OBJECT_NAME_NOT_FOUND,
	      "ZwDeleteFile of what is gone");
}

static VOID NTAPI apc(PVOID context, PIO_STATUS_BLOCK status, ULONG reserved)
{
	UNREFERENCED_PARAMETER(reserved);
	*(ULONG *)context = (ULONG)status->Information;
}

static void asynchronous(void)
{
	HANDLE handle, event;
	ULONG told = 0;
	LARGE_INTEGER offset = {0};
	ZwCreateEvent(&event, EVENT_ALL_ACCESS, NULL, NotificationEvent, FALSE);
	open_as(L"\\??\\C:\\later.bin", &handle, GENERIC_WRITE | DELETE, 0, FILE_OPEN_IF,
		FILE_DELETE_ON_CLOSE);
	CHECK(ZwWriteFile(handle, NULL, NULL, NULL, &block, "x", 1, NULL, NULL) ==
		      STATUS_INVALID_PARAMETER,
	      "a file without position needs an offset");
	CHECK(NT_SUCCESS(ZwWriteFile(handle, event, apc, &told, &block, "xyz", 3, &offset, NULL)),
	      "ZwWriteFile with an event and an APC routine");
	CHECK(ZwWaitForSingleObject(event, FALSE, NULL) == STATUS_SUCCESS && block.Information == 3,
	      "the event is set");
	KeEnterCriticalRegion();
	KeLeaveCriticalRegion();
	CHECK(told == 3, "the APC routine gets the status block");
	ZwClose(handle);
	ZwClose(event);
}

NTSTATUS DriverEntry(PDRIVER_OBJECT driver, PUNICODE_STRING path)
{
	HANDLE handle;
	UNREFERENCED_PARAMETER(driver);
	UNREFERENCED_PARAMETER(path);
#ifdef NO_FILES
	CHECK(open_as(L"\\??\\C:\\x", &handle, GENERIC_WRITE, 0, FILE_OPEN_IF, 0) ==
		      STATUS_OBJECT_PATH_NOT_FOUND,
	      "without a folder there are no files");
	return check_result();
#else
	UNREFERENCED_PARAMETER(handle);
#endif
	log_file();
	reads();
	writes();
	names();
	asynchronous();
	return check_result();
}
